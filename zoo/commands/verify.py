"""``zoo verify``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketzoo import command
from pocketzoo.errors import BadInput, PocketzooError
from zoo.commands.signing import chosen_trust, trust_options

if TYPE_CHECKING:
    from zoo.remeasure import Reproduction
    from zoo.sign import Identity, PublicKey
    from zoo.store import Entry, Store
    from zoo.verify import Finding


@click.command()
@click.argument("reference", metavar="[REF]", required=False)
@trust_options
@click.option("--remeasure", is_flag=True, help="Measure REF again as it was published on --device; pass or fail.")
@click.option("--device", metavar="D", help="With --remeasure: where it was and is measured.")
@click.option("--threads", metavar="N,N", help="With --remeasure: only figures with so many threads.")
@click.option("--abi", metavar="A,B", help="With --remeasure: only figures of these ABIs.")
@click.option(
    "--tolerance", metavar="P%", default="5%", show_default=True, help="With --remeasure: no difference below it."
)
@command.inventory_option
@command.reporting_options
def verify(
    reference: str | None,
    require_signature: bool,
    public_key: Path | None,
    identity: str | None,
    identity_provider: str | None,
    remeasure: bool,
    device: str | None,
    threads: str | None,
    abi: str | None,
    tolerance: str,
    inventory: str | None,
    as_json: bool,
) -> None:
    """Check hashes, manifests, tags, lineage, and that the runtime loads each model. Exit 1 if anything is wrong.

    With --remeasure REF's published figures on a device are measured again, in the same way. A figure is reproduced
    where both intervals overlap or the ratio is within the tolerance; slower, faster and doubtful are exit 1.
    """
    from zoo.gate import parse_percent
    from zoo.remeasure import reproduce
    from zoo.store import Store
    from zoo.verify import Finding, lineages, unreadable, verify_entry, verify_tags

    if not remeasure and (device or threads or abi):
        raise BadInput("--device, --threads and --abi say what to measure again", hint="add --remeasure")
    if remeasure and (reference is None or device is None):
        raise BadInput("--remeasure needs a model and a device", hint="zoo verify REF --remeasure --device local")
    limit = parse_percent(tolerance, "--tolerance")
    store = Store()
    trust = chosen_trust(require_signature, public_key, identity, identity_provider)
    problems: list[PocketzooError] = []
    entries = [store.get(reference)] if reference else list(store.entries(problems.append))
    problems = unreadable(problems, entries)
    findings = [Finding("-", "manifest", False, f"{p.what}: {p.where}") for p in problems]
    parents = lineages(store)
    for entry in entries:
        for finding in (*verify_entry(store, entry, parents), *_signature(store, entry, trust)):
            findings.append(finding)
            _tell(finding, as_json)
    for finding in verify_tags(store, entries[0].artifact.name if reference else None):
        findings.append(finding)
        _tell(finding, as_json)
    wrong = sum(not finding.ok for finding in findings)
    if not as_json:
        for problem in problems:
            command.tell(f"FAIL  manifest: {problem.what}: {problem.where}")
        command.tell(f"{len(findings)} checks of {len(entries)} models, {wrong} failed")
    again: list[Reproduction] = []
    if remeasure and not wrong:
        again = reproduce(
            entries[0],
            str(device),
            store=store,
            threads=_counts(threads) if threads else (),
            abis=tuple(part.strip() for part in abi.split(",") if part.strip()) if abi else (),
            tolerance=limit,
            inventory=Path(inventory) if inventory else None,
        )
    if as_json:
        command.print_json(
            {
                "ok": wrong == 0 and all(each.ok for each in again),
                "findings": [{"entry": f.entry, "check": f.check, "ok": f.ok, "says": f.says} for f in findings],
                **({"remeasured": [_record(each) for each in again]} if remeasure else {}),
            }
        )
    else:
        for each in again:
            _tell_again(each)
    if wrong or not all(each.ok for each in again):
        raise click.exceptions.Exit(1)


def _tell(finding: Finding, as_json: bool) -> None:
    if not as_json:
        command.tell(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.entry}  {finding.check}: {finding.says}")


def _signature(store: Store, entry: Entry, trust: PublicKey | Identity | None) -> Iterator[Finding]:
    if trust is not None:
        from zoo.signatures import signature_finding

        yield signature_finding(store, entry, trust)


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise BadInput(f"not thread counts: {text!r}", hint="write numbers of 1 or more, e.g. --threads 1,4")
    return counts


def _tell_again(each: Reproduction) -> None:
    from zoo.text import milliseconds
    from zoo.timings import threads_text

    old, new = each.again.published, each.again.measured
    pinned = f", CPUs {old.affinity}" if old.affinity else ""
    where = f"{old.model} on {old.device.name}, {old.abi}, {threads_text(old.threads_requested)}{pinned}"
    command.tell(f"{'ok  ' if each.ok else 'FAIL'}  {where}: {each.outcome}")
    for name, m in (("published", old), ("measured", new)):
        if m is not None and m.summary is not None:
            low, high = (milliseconds(end) for end in m.summary.ci95_ms)
            command.tell(f"      {name:<9} {milliseconds(m.summary.median_ms)} ms ({low} to {high}), {m.verdict.name}")
    command.tell("\n".join(f"      {line}" for line in (each.says, *each.notes)))


def _record(each: Reproduction) -> dict[str, object]:
    old, new = each.again.published, each.again.measured
    return {
        "device": old.device.name,
        "abi": old.abi,
        "threads": old.threads_requested,
        "affinity": old.affinity,
        "metric": old.metric,
        "outcome": each.outcome,
        "ok": each.ok,
        "says": each.says,
        "notes": each.notes,
        "ratio": each.ratio,
        "published": {"job_key": old.job_key, "time": old.time, "summary": old.summary, "verdict": old.verdict.name},
        "measured": None
        if new is None
        else {"job_key": new.job_key, "time": new.time, "summary": new.summary, "verdict": new.verdict.name},
    }
