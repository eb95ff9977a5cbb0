"""``zoo add``."""

from __future__ import annotations

from pathlib import Path

import click

from pocketzoo import command
from zoo.commands.listing import listing_record


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--name", help="The model's name; default: the file's name.")
@click.option("--tag", default="latest", show_default=True, help="The tag that shall point to it.")
@click.option("--parent", metavar="REF", help="The entry it was made from.")
@click.option("--relation", default="derived", show_default=True, help="What it is to its parent, e.g. quantized.")
@click.option("--licence", help="The model's licence.")
@click.option("--source", help="Where it comes from.")
@command.reporting_options
def add(
    file: Path,
    name: str | None,
    tag: str,
    parent: str | None,
    relation: str,
    licence: str | None,
    source: str | None,
    as_json: bool,
) -> None:
    """Add a model made elsewhere: a .tflite file is inspected and loaded, other programs are recognised."""
    from zoo.artifact import Parent
    from zoo.foreign import describe
    from zoo.reference import check_tag
    from zoo.store import Store

    store = Store()
    check_tag(tag)
    made_from = None
    if parent:
        origin = store.get(parent).artifact
        made_from = Parent(digest=origin.digest, name=origin.name, relation=relation)
    artifact = describe(file, name or file.stem.lower(), parent=made_from, licence=licence, source=source)
    entry = store.add(artifact, {artifact.files[0].name: file}, tags=(tag,))
    if as_json:
        command.print_json(listing_record(entry))
    else:
        click.echo(f"added {artifact.name}:{tag}  sha256:{artifact.digest}  {artifact.size_bytes:,} bytes")
        command.say(f"next: harness run --device local --model {artifact.name} --publish")
