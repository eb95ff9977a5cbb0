"""``harness forecast``: ratios of instructions under a phone's identity, next to published ratios of times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketzoo import command

if TYPE_CHECKING:
    from harness.forecast import Forecast

_NOTE = "Ratios of guest instructions counted under emulation, not times. How far off they were: docs/method.md."


@click.command()
@click.option("--device", required=True, metavar="D", help="A phone of the inventory, e.g. snapdragon855.")
@command.inventory_option
@command.reporting_options
def forecast(device: str, inventory: str | None, as_json: bool) -> None:
    """How many fewer instructions a compressed model takes on a phone nobody has at hand; beside published times."""
    from devices.inventory import load_inventory
    from devices.lab.members import PREFIX, TWIN, imitating
    from harness.forecast import counted, forecasts, missing, published_ratios
    from harness.published import load, names
    from harness.results import latest
    from pocketzoo.errors import WorkFailed
    from zoo.store import Store

    device = device.removeprefix(PREFIX)
    spec = load_inventory(Path(inventory) if inventory else None).get(device)
    imitating(spec)  # says what cannot be imitated, and why
    entries = list(Store().entries())
    parents = {e.artifact.digest: e.artifact.parent.digest for e in entries if e.artifact.parent}
    named = {e.artifact.name: e.artifact.digest for e in entries if e.tags}
    published = [one for one in published_ratios([load(name) for name in names()]) if one.device == device]
    counts = counted(latest(), (f"{PREFIX}{device}", f"{PREFIX}{device}{TWIN}"))
    found = forecasts(counts, parents, published)
    lacking = missing([one for one in counts if one.abi == "armv8"], named, parents, published)
    counting = f"harness run --device {PREFIX}{device} --metric instructions" + "".join(
        f" --model {m}" for m in lacking
    )
    if as_json:
        document: dict[str, Any] = {"device": device, "lab_device": f"{PREFIX}{device}", "unit": "instructions"}
        document |= {"note": _NOTE, "forecasts": [_record(one) for one in found], "missing": lacking}
        command.print_json(document | {"next": [f"devices lab up --as {device}", counting] if lacking else []})
        return
    if found:
        click.echo(_text(found))
    if lacking:
        command.say(f"not counted yet: {', '.join(lacking)}\n  next:  devices lab up --as {device} && {counting}")
    elif not found:
        raise WorkFailed(
            f"the zoo has no model and its compressed form to forecast for {device}",
            hint="compress list, or zoo add FILE",
        )


def _record(row: Forecast) -> dict[str, Any]:
    return {
        "model": row.name,
        "of": row.base,
        "abi": row.abi,
        "of_instructions": row.base_instructions,
        "instructions": row.instructions,
        "ratio": row.ratio,
        "published": [
            {"ratio_of_times": one.ratio, "error": one.error, "abi": one.abi, "table": one.table, "source": one.source}
            for one in row.published
        ],
    }


def _text(rows: Sequence[Forecast]) -> str:
    """A line for each published figure, or one where there is none; the sources below."""
    from tabulate import tabulate

    from zoo.list_text import NO_VALUE
    from zoo.text import millions

    sources: dict[str, int] = {}
    lines = []
    for row in rows:
        head = [row.name, row.abi, millions(row.base_instructions), millions(row.instructions), f"{row.ratio:.2f}x"]
        for one in row.published:
            number = sources.setdefault(one.source + ("" if one.abi else "; ABI not told"), len(sources) + 1)
            lines.append([*head, f"{one.ratio:.2f}x [{number}]", f"{one.error:+.0%}"])
            head = [""] * len(head)
        if not row.published:
            lines.append([*head, "none", NO_VALUE])
    headers = ["Model", "ABI", "As trained", "M instr.", "Ratio", "Published", "Error"]
    align = ("left", "left", "right", "right", "right", "left", "right")
    table = tabulate(lines, headers=headers, tablefmt="simple", disable_numparse=True, colalign=align)
    notes = [f"[{number}] published ratio of times: {source}" for source, number in sources.items()]
    return "\n".join([table, "", "As trained: M instructions of the model it was made from.", *notes, _NOTE])
