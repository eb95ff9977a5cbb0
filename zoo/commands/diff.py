"""``zoo diff``."""

from __future__ import annotations

import click

from pocketzoo import command


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
    from zoo.inside import inside
    from zoo.published import see
    from zoo.store import Store

    store = Store()
    a, b = (see(reference, store=store, offline=offline) for reference in (first, second))
    for warning in (*a.warnings, *b.warnings):
        command.say(f"warning: {warning}")
    found = compare(a.entry, b.entry, inside_a=inside(store, a.entry), inside_b=inside(store, b.entry), devices=devices)
    if as_json:
        command.print_json(diff_record(found))
    else:
        command.tell(diff_text(found, _name(first, a.source), _name(second, b.source), every=every))


def _name(reference: str, source: str) -> str:
    return reference if "/" in reference or source == "local" else f"{source}/{reference}"
