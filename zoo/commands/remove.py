"""``zoo remove``."""

from __future__ import annotations

import click

from pocketzoo import command


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--force", is_flag=True, help="Also where others were made from it, or a lock file pins it.")
@command.reporting_options
def remove(reference: str, force: bool, as_json: bool) -> None:
    """Remove NAME:TAG, that tag alone; or NAME or NAME@sha256:DIGEST, the entry it means with all its tags.

    Files and measurements stay until zoo gc, at least its grace period: adding or pulling it again brings all back.
    """
    from zoo.removal import remove as remove_entry
    from zoo.store import Store

    removed = remove_entry(Store(), reference, force=force)
    if as_json:
        command.print_json(
            {
                "name": removed.name,
                "digest": f"sha256:{removed.digest}",
                "tags": removed.tags,
                "entry": removed.entry,
            }
        )
        return
    of_entry = f"sha256:{removed.digest}"
    if removed.entry:
        tags = f", tags {', '.join(removed.tags)}" if removed.tags else ""
        click.echo(f"removed {removed.name}@{of_entry}{tags}")
        command.say("next: zoo gc frees its files when its grace period is over")
    else:
        click.echo(f"removed {removed.name}:{removed.tags[0]}, which stood for {of_entry}")
        command.say(f"next: zoo remove {removed.name}@{of_entry} removes the entry, too")
