"""``zoo diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketzoo import command

if TYPE_CHECKING:
    from zoo.diff import Inside
    from zoo.store import Entry, Store


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--device", "devices", multiple=True, metavar="D", help="Latencies on this device only; repeatable.")
@click.option("--all", "every", is_flag=True, help="Also what is the same.")
@click.option("--offline", is_flag=True, help="Ask no remote: only what the local zoo holds.")
@command.reporting_options
def diff(first: str, second: str, devices: tuple[str, ...], every: bool, offline: bool, as_json: bool) -> None:
    """What is different between two models: file, operators, quantization, accuracy, and latency per device.

    A and B are references, also REMOTE/NAME: of a remote the manifest and the numbers are read, not the files. A
    difference is called one where it is significant; where the numbers cannot tell, that is said.
    """
    from zoo.diff import diff as compare
    from zoo.diff_text import diff_record, diff_text
    from zoo.published import see
    from zoo.store import Store

    store = Store()
    a, b = (see(reference, store=store, offline=offline) for reference in (first, second))
    for warning in (*a.warnings, *b.warnings):
        command.say(f"warning: {warning}")
    found = compare(
        a.entry, b.entry, inside_a=_inside(store, a.entry), inside_b=_inside(store, b.entry), devices=devices
    )
    if as_json:
        command.print_json(diff_record(found))
    else:
        command.tell(diff_text(found, _name(first, a.source), _name(second, b.source), every=every))


def _name(reference: str, source: str) -> str:
    return reference if "/" in reference or source == "local" else f"{source}/{reference}"


def _inside(store: Store, entry: Entry) -> Inside | None:
    """What the file says, where it is here and can be read; a damaged one is for ``zoo verify`` to report."""
    from pocketzoo.errors import PocketzooError
    from zoo.diff import Inside

    if entry.artifact.format != "tflite":
        return None
    try:
        path = store.file(entry.artifact.files[0])
        from zoo.quantization import quantization_text
        from zoo.tflite import inspect

        facts = inspect(path)
    except PocketzooError:
        return None
    return Inside(quantization_text(facts.layers), tuple(facts.operator_counts.items()))
