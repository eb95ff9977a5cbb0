"""``zoo list`` and ``zoo show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketzoo import command
from pocketzoo.errors import PocketzooError

if TYPE_CHECKING:
    from zoo.store import Entry


@click.command("list")
@command.reporting_options
def list_(as_json: bool) -> None:
    """All models in the local zoo."""
    from zoo.store import Store
    from zoo.text import list_table

    problems: list[PocketzooError] = []
    entries = list(Store().entries(problems.append))
    if as_json:
        command.print_json([listing_record(entry) for entry in entries])
    elif entries:
        command.tell(list_table(entries))
        command.say(f"\nnext: zoo show {entries[-1].artifact.name}")
    elif not problems:
        command.say("the zoo is empty\n  next:  compress list, or zoo add FILE --name NAME")
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
