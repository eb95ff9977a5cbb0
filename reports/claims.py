"""Do the deltas and speed-ups that a published table states follow from its own columns? Pure.

A claim fits where the figure recomputed from the columns as printed rounds to the figure printed: it is at most half a
unit of the last printed place away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness.published import Claim, PublishedRow, PublishedTable

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_IN_BRACKETS = re.compile(r"\(([-+]?\d+(?:\.\d+)?)%?\)")
_PERCENT = re.compile(r"([-+]?\d+(?:\.\d+)?)%")
_MEGABYTES = re.compile(r"(\d+(?:\.\d+)?) ?M")


@dataclass(frozen=True)
class Checked:
    """A stated figure and the one its columns give. ``row`` counts from 1."""

    table: str
    row: int
    column: str
    printed: str
    computed: float

    @property
    def fits(self) -> bool:
        """Whether the computed figure rounds to the printed one."""
        decimals: int = len(self.printed.partition(".")[2])
        # The slack is far below any printed place: it is there for binary fractions alone.
        return abs(self.computed - float(self.printed)) <= 0.5 * 0.1**decimals + 1e-9


def check(table: PublishedTable) -> tuple[Checked, ...]:
    """Every claim of a table, recomputed; cells without figures (``-``) claim nothing."""
    return tuple(result for claim in table.claims for result in _check(table, claim))


def _check(table: PublishedTable, claim: Claim) -> Iterator[Checked]:
    column = table.position(claim.column)
    for number, row in enumerate(table.rows, 1):
        for printed, computed in _figures(table, claim, row, row.cells[column]):
            yield Checked(table.table, number, claim.column, printed, computed)


def _figures(table: PublishedTable, claim: Claim, row: PublishedRow, cell: str) -> Iterator[tuple[str, float]]:
    """(printed, computed) of one cell."""
    match claim.kind:
        case "delta":
            printed = _IN_BRACKETS.search(cell)
            base = _base(table, claim, row)
            value = _first(cell)
            if printed and base is not None and value is not None:
                yield printed[1], value - base
        case "difference":
            of, minus = _at(table, row, claim.of), _at(table, row, claim.minus)
            stated = _NUMBER.search(cell)
            if stated and of is not None and minus is not None:
                yield stated[0], of - minus
        case "difference-pair":
            values = _NUMBER.findall(row.cells[table.position(claim.of or "")])
            for stated_text, value_text, base in zip(
                _NUMBER.findall(cell), values, claim.against_values or [], strict=True
            ):
                yield stated_text, float(value_text) - base
        case "share":
            percent, size, base = _PERCENT.search(cell), _MEGABYTES.search(cell), _base(table, claim, row)
            if percent and size and base:
                yield percent[1], 100 * (float(size[1]) / base - 1)
        case "speed-up":
            of, over = _at(table, row, claim.of), _at(table, row, claim.over)
            stated = _NUMBER.search(cell)
            if stated and of is not None and over:
                yield stated[0], of / over


def _base(table: PublishedTable, claim: Claim, row: PublishedRow) -> float | None:
    if claim.against_value is not None:
        return claim.against_value
    if claim.against is not None:
        return _at(table, row, claim.against)
    for other in table.rows:
        if (other.model, other.dataset, other.strategy) == (row.model, row.dataset, claim.against_strategy):
            return _at(table, other, claim.column)
    return None


def _at(table: PublishedTable, row: PublishedRow, heading: str | None) -> float | None:
    return _first(row.cells[table.position(heading)]) if heading else None


def _first(cell: str) -> float | None:
    found = _NUMBER.search(cell)
    return float(found[0]) if found else None
