"""``zoo gc``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketzoo import command

if TYPE_CHECKING:
    from zoo.collect import Plan, Thing

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option(
    "--grace", default="24h", show_default=True, metavar="TIME", help="Keep what changed since: 90s, 24h, 7d."
)
@click.option("--untagged", is_flag=True, help="Also entries that no tag, lock file or child needs.")
@command.reporting_options
def gc(dry_run: bool, grace: str, untagged: bool, as_json: bool) -> None:
    """Delete files that no entry, lock file or running command needs, and what broken pulls left.

    Removed entries, and tags that moved on, leave files behind; they go when nobody has touched them for the grace
    period. Other commands may run meanwhile.
    """
    from zoo.collect import collect
    from zoo.store import Store

    plan = collect(Store(), grace_s=seconds(grace), untagged=untagged, dry_run=dry_run)
    if as_json:
        command.print_json(_record(plan, dry_run))
        return
    for line in _lines(plan, dry_run):
        click.echo(line)


def seconds(text: str) -> float:
    """``90s``, ``24h`` or ``7d`` in seconds; a bare number is seconds.

    Raises:
        BadInput: it is none of these.
    """
    import re

    from pocketzoo.errors import BadInput

    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text.strip())
    if found is None:
        raise BadInput(f"not a time: {text!r}", hint="write a number with s, m, h or d, e.g. --grace 24h")
    return float(found[1]) * _UNITS[found[2] or "s"]


def _kinds(plan: Plan) -> list[tuple[str, tuple[Thing, ...]]]:
    return [
        ("file", plan.blobs),
        ("broken download", plan.partials),
        ("folder of measurements", plan.measurements),
        ("signature", plan.signatures),
        ("leftover of killed commands", plan.leftovers),
    ]


def _many(what: str) -> str:
    first, of, rest = what.partition(" of ")
    return f"{first}s{of}{rest}"


def _lines(plan: Plan, dry_run: bool) -> list[str]:
    did = "would delete" if dry_run else "deleted"
    lines = [f"{did} {name}@sha256:{digest}" for name, digest in plan.entries]
    for what, things in _kinds(plan):
        if things:
            many = what if len(things) == 1 else _many(what)
            lines.append(f"{did} {len(things)} {many}, {sum(thing.size for thing in things):,} bytes")
    if not lines:
        lines.append("nothing to delete")
    kept = [
        f"{count} {why}"
        for count, why in ((plan.in_use, "in use"), (plan.pinned, "pinned by lock files"), (plan.young, "too young"))
        if count
    ]
    if kept:
        lines.append(f"kept of what no entry needs: {', '.join(kept)}")
    return lines


def _record(plan: Plan, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "entries": [{"name": name, "digest": f"sha256:{digest}"} for name, digest in plan.entries],
        "deleted": [
            {"what": what, "path": str(thing.path), "bytes": thing.size}
            for what, things in _kinds(plan)
            for thing in things
        ],
        "bytes": plan.size,
        "kept": {"in_use": plan.in_use, "pinned": plan.pinned, "young": plan.young},
    }
