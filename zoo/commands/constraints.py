"""The options that tell a need, shared by every command that takes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pocketzoo import command

if TYPE_CHECKING:
    from zoo.constraints import Constraints


def constraint_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--device``, the limits, and what decides among those that fit."""
    options = [
        click.option("--device", metavar="D", help="It was measured on this device."),
        click.option("--max-latency-ms", type=float, metavar="X", help="The upper end of its 95% interval there."),
        click.option("--threads", type=int, metavar="N", help="Measured with so many threads; default: any."),
        click.option("--abi", metavar="A", help="Measured under this ABI, e.g. armv8; default: any."),
        click.option("--affinity", metavar="CPUS", help="Measured pinned to these CPUs, e.g. 4,5,6,7; default: any."),
        click.option("--option", "settings", multiple=True, metavar="K=V", help="Measured with this runner setting."),
        click.option("--min-top1", type=float, metavar="Y", help="Least top-1 accuracy in percent; as --min top1=Y."),
        click.option("--min", "least", multiple=True, metavar="M=Y", help="Least value of a metric, e.g. mAP=25."),
        click.option("--max", "most", multiple=True, metavar="M=Y", help="Largest value, where less is better."),
        click.option("--dataset", metavar="DATA[/SPLIT]", help="Accuracies on these data only."),
        click.option("--max-size-mb", type=float, metavar="Z", help="All files together, in 1,000,000 bytes."),
        click.option("--format", "format_", metavar="F", help="tflite, onnx, ..."),
        click.option(
            "--prefer",
            type=click.Choice(["accuracy", "latency", "size"]),
            default="accuracy",
            show_default=True,
            help="What decides among those that fit.",
        ),
        click.option("--allow-published", is_flag=True, help="Published figures count too, after measured ones."),
        command.inventory_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


def build_constraints(flags: dict[str, Any]) -> Constraints:
    """The constraints of a command line. Takes its own entries out of ``flags``.

    Raises:
        BadInput: a value that is none, or what is asked of a device without naming one.
    """
    from pocketzoo.errors import BadInput
    from zoo.constraints import Constraints, check_constraints, parse_limits, parse_settings

    least = parse_limits(flags.pop("least"), "--min")
    top1 = flags.pop("min_top1")
    if top1 is not None:
        if any(metric == "top1" for metric, _ in least):
            raise BadInput("--min-top1 and --min top1=... say the same thing; give one of them")
        least = (*least, ("top1", top1))
    return check_constraints(
        Constraints(
            device=flags.pop("device"),
            max_latency_ms=flags.pop("max_latency_ms"),
            threads=flags.pop("threads"),
            abi=flags.pop("abi"),
            affinity=flags.pop("affinity"),
            options=parse_settings(flags.pop("settings")),
            max_size_mb=flags.pop("max_size_mb"),
            minimum=least,
            maximum=parse_limits(flags.pop("most"), "--max"),
            dataset=flags.pop("dataset"),
            format=flags.pop("format_"),
            prefer=flags.pop("prefer"),
            allow_published=flags.pop("allow_published"),
        )
    )
