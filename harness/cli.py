"""``harness``: how it is measured."""

from __future__ import annotations

from typing import NoReturn

import click

from harness.commands.compare import compare
from harness.commands.farm import farm
from harness.commands.forecast import forecast
from harness.commands.plan import plan
from harness.commands.results import results
from harness.commands.resume import resume
from harness.commands.run import run
from harness.commands.runner import runner
from pocketzoo import command


@command.version_option
@click.group()
def harness() -> None:
    """Measure models on devices: every raw sample kept, an interval and a verdict with each number."""


for each in (plan, run, resume, results, compare, forecast, runner, farm):
    harness.add_command(each)


def main() -> NoReturn:
    """Console entry point."""
    command.run(harness, "harness")
