"""What ``run`` and ``resume`` have in common: a campaign carried out, told, and ended with the right exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click
import msgspec

from harness.campaign import Report, carry_out, publish, state_of
from harness.job import Cell
from harness.listing import cell_record, results_text
from harness.progress import Board
from harness.request import Request
from harness.results import Campaign, Results
from pocketzoo import command
from pocketzoo.errors import BadInput, DeviceUnavailable, Interrupted
from pocketzoo.names import did_you_mean
from zoo.measurement import Measurement
from zoo.store import Store
from zoo.timings import threads_text


def new_campaign(results: Results, request: Request) -> Campaign:
    """Store a request as a campaign."""
    made = results.create_campaign(msgspec.to_builtins(request), seed=request.seed)
    return chosen(results, made)


def chosen(results: Results, name: str | None) -> Campaign:
    """A stored campaign; the last one without a name.

    Raises:
        BadInput: there is none, or none of that name.
    """
    found = results.campaign(name)
    if found is not None:
        return found
    known = [one.id for one in results.campaigns()]
    if name is None or not known:
        raise BadInput("there is no campaign yet", hint="harness run --device local --model REF")
    close = did_you_mean(name, known)
    raise BadInput(
        f"no campaign {name!r}" + (f"; {close}" if close else ""),
        detail=(f"the last ones: {', '.join(known[:5])}",),
        hint="harness resume",
    )


def ended_in(campaign: Campaign, wanted: Sequence[Cell], results: Results, request: Request) -> dict[str, Measurement]:
    """The newest ended measurement of each cell that a campaign wants, failed ones included, by job key."""
    keys = {cell.key for cell in wanted}
    if not keys:
        return {}
    found = {m.job_key: m for m in results.latest(devices=request.devices) if m.job_key in keys}
    return {
        key: m
        for key, m in found.items()
        if m.time >= campaign.started or (m.verdict.name != "failed" and not request.fresh)
    }


def carry(
    request: Request,
    campaign: Campaign,
    results: Results,
    *,
    as_json: bool,
    failed: Mapping[str, Measurement] | None = None,
    farm: FarmOptions | None = None,
) -> None:
    """Measure what a campaign lacks, tell it, and set its state.

    Args:
        request: of the campaign, with its models pinned.
        campaign: as stored.
        results: where it is stored.
        as_json: print one JSON document.
        failed: cells that failed in it and are not tried again, by job key.
        farm: how a farm is asked, where the request names one.

    Raises:
        Interrupted: Ctrl-C; what was measured is stored.
        PocketzooError: the only device could not be used.
        BadInput: nothing that was asked for can run.
        click.exceptions.Exit: with 3 where a device was lost, with 1 where a cell failed.
    """
    store = Store()
    with Board(len(request.devices), "repeats" if request.farm is None else "cells") as board:
        if request.farm is None:
            reports = carry_out(request, campaign, store=store, results=results, board=board, failed=failed)
        else:
            reports = _on_farm(request, campaign, results, board, failed or {}, farm or FarmOptions())
    results.end_campaign(campaign.id, state_of(reports))
    if any(report.stopped for report in reports):
        raise _interrupted(reports, campaign, results.url)
    lost = [report.error for report in reports if report.error is not None]
    if len(request.devices) == 1 and lost:
        stored = reports[0].outcome.stored
        if stored:
            command.say(f"{stored} repeats were measured and are stored; harness resume {campaign.id} goes on")
        raise lost[0]
    measured = [m for report in reports for m in report.outcome.measurements]
    _tell_problems(reports, bool(measured), campaign)
    measured.sort(key=lambda m: (m.device.name, m.model, m.abi, m.threads_requested, m.affinity or ""))
    reused = {key for report in reports for key in report.outcome.reused}
    published = publish(store, measured) if request.publish else 0
    if as_json:
        command.print_json([cell_record(m, reused=m.job_key in reused) for m in measured])
    else:
        click.echo(results_text(measured, reused=reused))
    if request.publish:
        command.say(f"published {published} new measurements to the zoo\nnext: reports build")
    elif measured:
        command.say(f"next: zoo show {measured[0].model}, or run with --publish to add the numbers to the zoo")
    if lost:
        code = DeviceUnavailable.exit_code if any(isinstance(e, DeviceUnavailable) for e in lost) else 1
        raise click.exceptions.Exit(code)
    if any(m.verdict.name == "failed" for m in measured) or any(report.changed for report in reports):
        raise click.exceptions.Exit(1)


@dataclass(frozen=True)
class FarmOptions:
    """How a farm is asked: this machine's certificates, the cells of a turn, and how long to wait (s).

    ``wait_s`` is for devices that nobody offers, ``away_s`` for those that were offered when the campaign began.
    """

    certs: str | None = None
    wait_s: float = 0.0
    away_s: float | None = None
    turn: int | None = None


def _on_farm(
    request: Request,
    campaign: Campaign,
    results: Results,
    board: Board,
    failed: Mapping[str, Measurement],
    farm: FarmOptions,
) -> list[Report]:
    """As :func:`harness.campaign.carry_out`, on the farm that the request names.

    Raises:
        Interrupted: Ctrl-C; the farm goes on without this process.
    """
    from harness.farm.client import AWAY_S, TURN, Watched

    watched = Watched(
        request, campaign, results, board, command.say,
        certs=farm.certs, failed=failed, wait_s=farm.wait_s,
        away_s=AWAY_S if farm.away_s is None else farm.away_s, turn=farm.turn or TURN,
    )  # fmt: skip
    try:
        reports = watched.carry_out()
    except KeyboardInterrupt:
        raise Interrupted(
            "this command ends; what was sent to the farm is measured without it",
            where=results.url,
            hint=f"harness resume {campaign.id} watches again; harness farm cancel {campaign.id} --farm {request.farm} "
            "takes it from the queue",
        ) from None
    ended = watched.settled(lambda: ended_in(campaign, results.wanted(campaign.id), results, request))
    for report in reports:
        report.outcome.measurements = [m for m in ended.values() if m.device.name == report.device]
        report.outcome.reused = {m.job_key for m in report.outcome.measurements if m.time < campaign.started}
    return reports


def _interrupted(reports: Sequence[Report], campaign: Campaign, url: str) -> Interrupted:
    stored = sum(report.outcome.stored for report in reports)
    planned = sum(report.outcome.planned for report in reports)
    detail = [f"{stored} of {planned} repeats were measured and are stored"]
    if len(reports) > 1:
        detail += [f"{r.device}: {r.outcome.stored} of {r.outcome.planned}" for r in reports]
    return Interrupted(
        "interrupted",
        detail=tuple(detail),
        where=url,
        hint=f"harness resume {campaign.id}   measures what is missing",
    )


def _tell_problems(reports: Sequence[Report], measured: bool, campaign: Campaign) -> None:
    """Devices that were lost, cells that cannot run, cells that are no longer what they were."""
    cannot = [
        f"{i.model} on {i.device}, {i.abi}, {threads_text(i.threads)}: {i.reason}"
        for report in reports
        for i in report.impossible
    ]
    lost = [report for report in reports if report.error is not None]
    if cannot and not measured and not lost:
        raise BadInput("none of the cells can run", detail=tuple(cannot), hint="harness plan")
    for case in cannot:
        command.say(f"cannot run: {case}")
    for report in reports:
        if report.changed:
            command.say(
                f"{report.device}: {len(report.changed)} cells of this campaign cannot be measured any more, because "
                "the device, its system or the runner has changed\n  next:  harness run, as a new campaign"
            )
    for report in lost:
        if report.error is not None:
            command.say(report.error.as_text())
            left = report.outcome.planned - report.outcome.stored
            command.say(f"{report.device}: {report.outcome.stored} repeats stored, {left} missing")
    if lost:
        command.say(f"next: harness resume {campaign.id}")
