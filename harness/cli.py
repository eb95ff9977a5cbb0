"""``harness``: how it is measured."""

from __future__ import annotations

from typing import NoReturn

import click

from harness.commands.compare import compare
from harness.commands.plan import plan
from harness.commands.resume import resume
from harness.commands.run import run
from pocketzoo import command


@command.version_option
@click.group()
def harness() -> None:
    """Measure models on devices: every raw sample kept, an interval and a verdict with each number."""


@harness.command("results")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only this model; repeatable.")
@click.option("--device", "devices", multiple=True, metavar="D", help="Only this device; repeatable.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@command.reporting_options
def results_(models: tuple[str, ...], devices: tuple[str, ...], format_: str, as_json: bool) -> None:
    """What was measured: the newest result of each cell, with verdict and evidence."""
    from harness.listing import cell_record, results_text
    from harness.results import Results

    found = Results().latest(models=models, devices=devices)
    if as_json or format_ == "json":
        command.print_json([cell_record(m) for m in found])
    elif found:
        click.echo(results_text(found))
    else:
        command.say("no results yet\n  next:  harness run --device local --model REF")


harness.add_command(plan)
harness.add_command(run)
harness.add_command(resume)
harness.add_command(compare)


def main() -> NoReturn:
    """Console entry point."""
    command.run(harness, "harness")
