"""The options that hold a push against what is published."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from zoo.gate import Gate


def gate_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--max-regression``, ``--max-accuracy-drop``, ``--require-device`` and ``--against``."""
    options = [
        click.option(
            "--max-regression", metavar="P%", help="Refuse if it is significantly slower there by more than P%."
        ),
        click.option(
            "--max-accuracy-drop", type=float, metavar="P", help="Refuse if an accuracy is lower by more than P points."
        ),
        click.option(
            "--require-device",
            "require_devices",
            multiple=True,
            metavar="D",
            help="Refuse if it was not compared on D.",
        ),
        click.option(
            "--against", metavar="REF", help="Compare with REF; default: what the tag points at, or the parent."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def build_gate(flags: dict[str, Any], against: str | None) -> Gate:
    """The gate of a command line.

    Args:
        flags: of :func:`gate_options`, without ``against``.
        against: what it is held against instead of the tag or the parent.

    Raises:
        BadInput: a limit that is none, or ``--against`` without a gate.
    """
    from pocketzoo.errors import BadInput
    from zoo.gate import Gate, parse_percent

    regression, drop = flags.pop("max_regression"), flags.pop("max_accuracy_drop")
    if drop is not None and not (math.isfinite(drop) and drop >= 0):
        raise BadInput(f"--max-accuracy-drop takes points of 0 or more, not {drop:g}")
    gate = Gate(
        max_regression=parse_percent(regression, "--max-regression") if regression is not None else None,
        max_accuracy_drop=drop,
        devices=tuple(dict.fromkeys(flags.pop("require_devices"))),
    )
    if against and not gate.asks:
        raise BadInput(
            "--against says what a gate is held against, and there is no gate", hint="add --max-regression 5%"
        )
    return gate
