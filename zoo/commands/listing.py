"""``zoo list`` and ``zoo show``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketzoo import command
from pocketzoo.errors import BadInput, PocketzooError
from zoo.commands.constraints import build_constraints, constraint_options

if TYPE_CHECKING:
    from zoo.candidate import Candidate
    from zoo.constraints import Constraints
    from zoo.index import Listed
    from zoo.store import Entry


@click.command("list")
@click.argument("pattern", required=False)
@click.option("--task", metavar="T", help="Of this task only, e.g. image-classification.")
@click.option("--remote", metavar="REMOTE", help="What that remote holds instead; its name or URL.")
@click.option("--pareto", metavar="AXES", help="Those no other beats, e.g. latency,top1; the options below narrow it.")
@constraint_options
@command.reporting_options
def list_(
    pattern: str | None, task: str | None, remote: str | None, pareto: str | None, as_json: bool, **flags: Any
) -> None:
    """All models in the local zoo, or in a remote; PATTERN as for files, e.g. 'mobilenet*'.

    With --pareto only those are shown that no other equals on every axis and beats on one. An axis is latency (of
    --device, the upper end of its 95% interval), size, or a metric such as top1.
    """
    import gc

    gc.disable()  # a short process with a hundred thousand small records: looking for cycles takes a tenth of its time
    inventory = flags.pop("inventory")
    if pareto is not None:
        if remote is not None:
            raise BadInput("--pareto looks at the local zoo", hint="zoo pull REMOTE/NAME first, then zoo list --pareto")
        _list_front(pareto, pattern, task, build_constraints(flags), inventory, as_json)
        return
    wanted_format = flags.pop("format_")
    if flags.pop("prefer") != "accuracy" or any(flags.values()):
        raise BadInput(
            "limits and devices choose one model, or go with --pareto",
            hint="zoo list --pareto latency,top1 --device D, or zoo pull NAME --device D --max-latency-ms X",
        )
    problems: list[PocketzooError] = []
    if remote is None:
        from pocketzoo.home import home
        from zoo.index import Index

        everything = Index(home() / "zoo").listing(problems.append)
        empty, where = "the zoo is empty\n  next:  compress list, or zoo add FILE --name NAME", ""
        next_command, verify = "zoo show ", "\n  next:  zoo verify"
    else:
        everything, where, prefix = _remote_rows(remote, problems)
        empty = f"nothing is published at {where}\n  next:  zoo push NAME --to {prefix}"
        next_command, verify = f"zoo pull {prefix}/", ""
    rows = everything
    if (pattern, task, wanted_format) != (None, None, None):
        rows = [row for row in everything if _shown(row, pattern, task) and wanted_format in (None, row.format)]
    if as_json:
        command.print_json([_record(row) for row in rows])
    elif rows:
        from zoo.list_text import list_table

        # Names, tags, formats and digests follow a grammar without control characters; the rest are numbers.
        click.echo(list_table(rows, measured="Measured cells" if remote is None else "Measurements"))
        command.say(f"\nnext: {next_command}{rows[-1].name}")
    elif everything:
        command.say(f"none of {len(everything)} models is one of these\n  next:  zoo list")
    elif not problems:
        command.say(empty)
    for problem in problems:
        command.say(f"warning: left out: {problem.what}\n  where: {problem.where}{verify}")


def _shown(row: Listed | Candidate, pattern: str | None, task: str | None) -> bool:
    return (pattern is None or fnmatchcase(row.name, pattern)) and (task is None or row.task == task)


def _record(row: Listed) -> dict[str, object]:
    from msgspec import Raw

    return {
        "name": row.name,
        "digest": f"sha256:{row.digest}",
        "tags": row.tags,
        "size_bytes": row.size_bytes,
        "format": row.format,
        "accuracy": Raw(row.accuracy.encode()),
        "measurements": row.measurements,
    }


def _remote_rows(name: str, problems: list[PocketzooError]) -> tuple[list[Listed], str, str]:
    """What a remote lists, its address, and its name."""
    from contextlib import closing

    from zoo.browse import remote_listing
    from zoo.indexrows import listed
    from zoo.remotes import open_remote, which

    config = which(name)
    with closing(open_remote(config)) as remote:
        found = remote_listing(remote, problems.append)
        return [listed(each.artifact, each.tags, each.measurements) for each in found], remote.address, config.name


def _list_front(
    axes: str, pattern: str | None, task: str | None, wanted: Constraints, inventory: str | None, as_json: bool
) -> None:
    from zoo.commands.front import tell_front
    from zoo.store import Store

    problems: list[PocketzooError] = []
    candidates = [c for c in Store().candidates(on_problem=problems.append) if _shown(c, pattern, task)]
    tell_front(axes, wanted, candidates, inventory=Path(inventory) if inventory else None, as_json=as_json)
    for problem in problems:
        command.say(f"warning: left out: {problem.what}\n  where: {problem.where}\n  next:  zoo verify")


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--card", "as_card", is_flag=True, help="Print its README.md as a remote would show it.")
@command.reporting_options
def show(reference: str, as_card: bool, as_json: bool) -> None:
    """One model: files, inputs, accuracy, lineage and every latency with its verdict."""
    from zoo.store import Store
    from zoo.text import entry_text

    entry = Store().get(reference)
    if as_card:
        from zoo.card import card

        text = card(entry.artifact, entry.measurements, tags=entry.tags)
        if as_json:
            command.print_json({"name": entry.artifact.name, "digest": f"sha256:{entry.artifact.digest}", "card": text})
        else:
            click.echo(text, nl=False)
    elif as_json:
        command.print_json({**listing_record(entry), "artifact": entry.artifact, "measurements": entry.measurements})
    else:
        command.tell(entry_text(entry))
    for problem in entry.problems:
        command.say(f"warning: left out: {problem.what}\n  where: {problem.where}\n  next:  zoo verify")


def listing_record(entry: Entry) -> dict[str, object]:
    """What ``zoo list --json`` gives for each entry."""
    artifact = entry.artifact
    return {
        "name": artifact.name,
        "digest": f"sha256:{artifact.digest}",
        "tags": entry.tags,
        "size_bytes": artifact.size_bytes,
        "format": artifact.format,
        "accuracy": artifact.accuracy,
        "measurements": len(entry.measurements),
    }
