"""``zoo list`` and ``zoo show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketzoo import command
from pocketzoo.errors import PocketzooError

if TYPE_CHECKING:
    from zoo.store import Entry


@click.command("list")
@click.option("--remote", metavar="REMOTE", help="What that remote holds instead; its name or URL.")
@command.reporting_options
def list_(remote: str | None, as_json: bool) -> None:
    """All models in the local zoo, or in a remote."""
    if remote is not None:
        _list_remote(remote, as_json)
        return
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


def _list_remote(name: str, as_json: bool) -> None:
    from contextlib import closing

    from zoo.browse import remote_listing
    from zoo.remotes import open_remote, which

    problems: list[PocketzooError] = []
    config = which(name)
    with closing(open_remote(config)) as remote:
        address = remote.address
        listed = remote_listing(remote, problems.append)
    if as_json:
        command.print_json(
            [
                {
                    "name": each.artifact.name,
                    "digest": f"sha256:{each.artifact.digest}",
                    "tags": each.tags,
                    "size_bytes": each.artifact.size_bytes,
                    "format": each.artifact.format,
                    "accuracy": each.artifact.accuracy,
                    "measurements": each.measurements,
                }
                for each in listed
            ]
        )
    elif listed:
        from zoo.text import remote_table

        command.tell(remote_table(listed))
        command.say(f"\nnext: zoo pull {config.name}/{listed[-1].artifact.name}")
    elif not problems:
        command.say(f"nothing is published at {address}\n  next:  zoo push NAME --to {config.name}")
    for problem in problems:
        command.say(f"warning: left out: {problem.what}\n  where: {problem.where}")


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
