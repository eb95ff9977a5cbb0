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
@click.option(
    "--file",
    "beside",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A further file of the entry, e.g. its labels. Repeatable.",
)
@click.option("--task", help="What it does, e.g. image-classification.")
@click.option("--dataset", metavar="NAME[/SPLIT]", help="The data set it was trained or evaluated on.")
@click.option(
    "--published",
    multiple=True,
    metavar="METRIC=PERCENT",
    help="An accuracy as its publication gives it, e.g. top1=70.9. Repeatable.",
)
@click.option("--samples", type=click.IntRange(1), help="How many samples the published accuracy was taken on.")
@command.reporting_options
def add(
    file: Path,
    name: str | None,
    tag: str,
    parent: str | None,
    relation: str,
    licence: str | None,
    source: str | None,
    beside: tuple[Path, ...],
    task: str | None,
    dataset: str | None,
    published: tuple[str, ...],
    samples: int | None,
    as_json: bool,
) -> None:
    """Add a model made elsewhere: a .tflite file is inspected and loaded, .onnx and .safetensors files are inspected,
    other programs are recognised. No pickle is opened."""
    from zoo.adding import add_file

    entry = add_file(
        file, name, tag=tag, parent=parent, relation=relation, licence=licence, source=source, beside=beside,
        task=task, dataset=dataset, published=published, samples=samples,
    )  # fmt: skip
    artifact = entry.artifact
    if as_json:
        command.print_json(listing_record(entry))
    else:
        command.tell(f"added {artifact.name}:{tag}  sha256:{artifact.digest}  {artifact.size_bytes:,} bytes")
        for note in artifact.notes:
            command.say(f"note: {note}")
        measurable = artifact.format == "tflite"
        run = f"harness run --device local --model {artifact.name} --publish"
        command.say(f"next: {run if measurable else f'zoo show {artifact.name}'}")
