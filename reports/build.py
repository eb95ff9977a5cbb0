"""Write a report into a folder: the same material gives the same bytes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.published import load
from pocketzoo.command import say
from pocketzoo.errors import BadInput
from pocketzoo.files import write_atomically
from reports import beside, pages, tables
from reports.cells import DeviceKey, Material, cell_id
from reports.compare import Interval
from reports.render import markdown
from reports.view import View

CELLS = "cells.json"
# The published tables that stand beside ours; all of them: ``reports published``.
LATENCY = ("paddlex-classification-latency", "paddlex-segmentation-latency")
SPEED_UP = "pocketflow-quantization-speedup"
ACCURACY = (
    "paddlex-classification-quantization",
    "paddlex-classification-cropping",
    "pocketflow-quantization-accuracy",
    "amc-mobilenets",
)
_OUR_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(?:md|json|svg|png)")


@dataclass(frozen=True)
class Built:
    """A report on disk, and its summary for a terminal."""

    out: Path
    files: tuple[str, ...]
    cells: int
    summary: str


def build(material: Material, out: Path, interval: Interval) -> Built:
    """Write README.md, latency.md, quantization.md, accuracy.md, cells.json and, with matplotlib, the plots.

    Files that an earlier build wrote and this one does not are removed; nothing else in the folder is touched.

    Args:
        material: what :func:`reports.gather.gather` found.
        out: the folder; made where it is missing.
        interval: the ratio of medians with its interval.

    Raises:
        BadInput: ``out`` is a file.
    """
    if out.exists() and not out.is_dir():
        raise BadInput("a file, where the report's folder should be", where=str(out), hint="choose another --out")
    view = View(material)
    interval = cache(interval)  # the same pair stands in several tables; its bootstrap is what costs time
    plots, pictures = _plots(view)
    files: dict[str, bytes] = {
        "README.md": pages.readme(view, interval, pictures).encode(),
        "latency.md": pages.latency_page(view, [beside.latency_rows(load(name)) for name in LATENCY]).encode(),
        "quantization.md": _quantization(view, interval).encode(),
        "accuracy.md": pages.accuracy_page(view, [beside.as_table(load(name)) for name in ACCURACY]).encode(),
        **plots,
    }
    names = tuple(sorted({*files, CELLS}))
    files[CELLS] = cells_json(view, names)
    _remove_left_over(out, names)
    for name, data in sorted(files.items()):
        path = out / name
        # An unchanged file keeps its time, so that what watches the folder sees only what changed.
        if not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data, durable=False)
    return Built(out, names, len(material.measurements), summary_text(view, interval))


def _quantization(view: View, interval: Interval) -> str:
    published = load(SPEED_UP)
    return pages.quantization_page(view, interval, beside.quantization_rows(published), beside.notes(published))


def summary_text(view: View, interval: Interval) -> str:
    """The summary tables for a terminal."""
    if not view.devices:
        return markdown.terminal(tables.accuracy(view)) if view.material.held else pages.NEXT_STEPS
    parts = []
    for device in view.devices:
        table = tables.brief(view, device, interval)
        parts.append(f"{table.title}\n\n{markdown.terminal(table)}")
    return "\n\n".join(parts)


def cells_json(view: View, files: tuple[str, ...]) -> bytes:
    """Every cell with all raw samples, a line each; and the names of the report's files."""
    import msgspec

    chosen = {(cell.job_key, cell.time) for cell in view.best.values()}
    lines = []
    for cell in sorted(view.material.measurements, key=lambda c: (c.job_key, c.time)):
        head = {"cell": cell_id(cell), "shown": (cell.job_key, cell.time) in chosen}
        body = msgspec.json.encode({**head, **msgspec.to_builtins(cell)}, order=None)
        lines.append(body)
    listed = json.dumps(list(files)).encode()
    inside = b",\n".join(lines)
    return b'{"files": ' + listed + b',\n"cells": [' + (b"\n" + inside + b"\n" if lines else b"") + b"]}\n"


def _plots(view: View) -> tuple[dict[str, bytes], dict[DeviceKey, list[tuple[str, str]]]]:
    from reports import drawings
    from reports.render import plots

    if not view.devices:
        return {}, {}
    if not plots.available():
        say("warning: no plots, matplotlib is not installed; pip install 'pocketzoo[reports]'")
        return {}, {}
    files: dict[str, bytes] = {}
    pictures: dict[DeviceKey, list[tuple[str, str]]] = {}

    def add(device: DeviceKey, name: str, title: str, picture: plots.Picture) -> None:
        for kind, data in picture.items():
            files[f"{name}.{kind}"] = data
        pictures.setdefault(device, []).append((title, f"{name}.svg"))

    for device, slug in pages.devices_named(view):
        for abi, trade in drawings.trades(view, device):
            add(
                device, f"accuracy-latency-{slug}-{abi}", f"Accuracy against latency: {trade.title}", plots.trade(trade)
            )
        for abi, scaling in drawings.scalings(view, device):
            add(device, f"threads-{slug}-{abi}", f"Latency by threads: {scaling.title}", plots.scaling(scaling))
        spreads = drawings.spreads(view, device)
        for start in range(0, len(spreads), plots.MOST_PANELS):
            number = start // plots.MOST_PANELS + 1
            many = f" ({number})" if len(spreads) > plots.MOST_PANELS else ""
            title = f"Samples of every cell: {view.title(device)}{many}"
            panels = spreads[start : start + plots.MOST_PANELS]
            add(device, f"samples-{slug}-{number}", title, plots.spread(panels, title))
    return files, pictures


def _remove_left_over(out: Path, names: tuple[str, ...]) -> None:
    """Remove what an earlier build listed and this one does not write; only plain names of our kinds of file."""
    try:
        listed = json.loads((out / CELLS).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in listed if isinstance(listed, list) else ():
        if isinstance(name, str) and _OUR_FILE.fullmatch(name) and name not in names:
            (out / name).unlink(missing_ok=True)
