"""Published cells measured again the way they were: the entry point ``pocketzoo.remeasure`` of the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.campaign import Report, carry_out, check_devices, state_of
from harness.commands.carrying import new_campaign
from harness.job import Protocol
from harness.progress import Board
from harness.request import Group, Request
from harness.results import Results
from harness.schedule import MOST_REPEATS
from pocketzoo.errors import Interrupted
from zoo.measurement import Measurement, Metric
from zoo.remeasure import Again
from zoo.store import Store

LEAST_REPEATS = 2
MOST_AGAIN = 1000


def remeasure(
    published: Sequence[Measurement], *, store: Store, device: str, inventory: Path | None = None
) -> list[Again]:
    """See :class:`zoo.remeasure.Remeasure`. What is measured is stored like that of any other campaign."""
    found: dict[int, Again] = {}
    metrics: tuple[Metric, ...] = ("latency", "instructions")
    for metric in metrics:
        wanted = [(number, m) for number, m in enumerate(published) if m.metric == metric]
        if not wanted:
            continue
        request = Request(
            groups=tuple(_group(m, device) for _, m in wanted),
            fresh=True,
            inventory=str(inventory.absolute()) if inventory is not None else None,
            metric=metric,
        )
        check_devices(request)
        (report,) = _carried_out(request, store)
        for number, m in wanted:
            found[number] = _again(m, report)
    return [found[number] for number in range(len(published))]


def _carried_out(request: Request, store: Store) -> list[Report]:
    results = Results()
    campaign = new_campaign(results, request)
    with Board(len(request.devices)) as board:
        reports = carry_out(request, campaign, store=store, results=results, board=board)
    results.end_campaign(campaign.id, state_of(reports))
    for report in reports:
        if report.stopped:
            raise Interrupted(
                "interrupted",
                detail=(f"{report.outcome.stored} of {report.outcome.planned} repeats were measured and are stored",),
                where=results.url,
                hint="the same command again; it measures from the start",
            )
        if report.error is not None:
            raise report.error
    return reports


def _group(m: Measurement, device: str) -> Group:
    """The cell of a measurement as a request: what decides its number is as it was."""
    return Group(
        devices=(device,),
        models=(f"{m.model}@sha256:{m.artifact_sha256}",),
        abis=(m.abi,),
        threads=(m.threads_requested,),
        affinity=m.affinity,
        options=m.options,
        protocol=Protocol(warmup=m.warmup, runs=m.runs, repeats=min(max(len(m.repeats), LEAST_REPEATS), MOST_AGAIN)),
        max_repeats=MOST_REPEATS,
    )


def _again(m: Measurement, report: Report) -> Again:
    for new in report.outcome.measurements:
        same = ("artifact_sha256", "abi", "threads_requested", "affinity", "options", "warmup", "runs", "metric")
        if all(getattr(new, field) == getattr(m, field) for field in same):
            return Again(m, new)
    reasons = [i.reason for i in report.impossible if (i.abi, i.threads) == (m.abi, m.threads_requested)]
    return Again(m, None, "; ".join(reasons) or "the device measured nothing like it")
