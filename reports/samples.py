"""``cells.json``: every cell with all of its raw samples, under the id by which the tables name it."""

from __future__ import annotations

from collections.abc import Set

import msgspec

from reports.cells import cell_id
from reports.folder import Folder, key_of
from reports.view import View
from zoo.measurement import Measurement

CELLS = "cells.json"
# About as many cells as one file may hold before it is a burden to open.
MANY = 500


def digits_for(cells: int) -> int:
    """How many hex digits of a cell's id name the file it is in: none while one file holds them all."""
    digits = 0
    while cells > MANY * 16**digits and digits < 3:
        digits += 1
    return digits


def add(folder: Folder, view: View) -> None:
    """Write every cell: into ``cells.json``, or where there are many, into ``cells/``, as ``cells.json`` then says."""
    cells = view.material.measurements  # by key, then by time
    digits = digits_for(len(cells))
    groups: dict[str, list[Measurement]] = {}
    for cell in cells:
        groups.setdefault(cell.job_key[:digits], []).append(cell)
    chosen, signs = view.chosen, view.material.signs
    for start, group in groups.items() or [("", [])]:
        name = f"cells/{start}.json" if digits else CELLS
        keys = [(cell.job_key, cell.time) for cell in group]
        key = key_of([(key in chosen, signs[key]) for key in keys])
        folder.add(name, key, lambda group=group: _document(view, group, chosen))  # type: ignore[misc]
    if digits:
        head = {"digits": digits, "says": f"cell ID is in cells/, in the file named by its first {digits} digits"}
        folder.add(CELLS, key_of(head), lambda: msgspec.json.encode(head) + b"\n")


def _document(view: View, cells: list[Measurement], chosen: Set[tuple[str, str]]) -> bytes:
    lines = []
    for cell in view.material.whole(cells):
        shown = b"true" if (cell.job_key, cell.time) in chosen else b"false"
        lines.append(b'{"cell":"%s","shown":%s,' % (cell_id(cell).encode(), shown) + msgspec.json.encode(cell)[1:])
    return b'{"digits":0,"cells":[' + b",".join(b"\n" + line for line in lines) + b"\n]}\n"
