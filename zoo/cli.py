"""``zoo``: what exists, and getting exactly that."""

from __future__ import annotations

from typing import NoReturn

import click

from pocketzoo import command
from zoo.commands.add import add
from zoo.commands.diff import diff
from zoo.commands.gc import gc
from zoo.commands.listing import list_, show
from zoo.commands.pull import pull
from zoo.commands.push import push
from zoo.commands.remote import remote
from zoo.commands.remove import remove
from zoo.commands.verify import verify


@command.version_option
@click.group()
def zoo() -> None:
    """The model zoo: list, inspect, add, pull and verify models with their numbers."""


for each in (list_, show, add, diff, pull, push, remote, verify, gc, remove):
    zoo.add_command(each)


def main() -> NoReturn:
    """Console entry point."""
    command.run(zoo, "zoo")
