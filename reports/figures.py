"""Published rows as figures that can stand beside ours: latencies by ABI and threads, accuracies, sizes. Pure.

A document tells of one model in several tables; what it says of its accuracy in one belongs to its latency in another,
as long as both are of the same document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from harness.published import PublishedColumn, PublishedRow, PublishedTable, every

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
THREADS_IN_A_LINE = (1, 2, 4)
EMPTY = ("", "-", "--")


@dataclass(frozen=True)
class Published:
    """A latency that a document states, with the accuracy and size it states for the same model.

    ``abi`` and ``threads`` are None where the document does not tell them. ``printed`` is the latency as printed,
    ``accuracy`` and ``size`` likewise, None where it gives none; ``top1`` is the top-1 accuracy in percent.
    """

    table: str
    whose: str
    device: str
    model: str
    strategy: str
    abi: str | None
    threads: int | None
    printed: str
    ms: float
    accuracy: str | None
    top1: float | None
    size: str | None
    dataset: str | None


def whose(table: PublishedTable) -> str:
    """The short name of a document: PaddleX, PaddleSlim, PocketFlow, Torch-Pruning, AMC."""
    return re.split(r"[ :]", table.source.document, maxsplit=1)[0]


def tables() -> tuple[PublishedTable, ...]:
    """Every published table, by name."""
    return every()


@cache
def latencies() -> tuple[Published, ...]:
    """Every latency on a device that the documents state, in the order of the tables."""
    found = []
    for table in tables():
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                device = column.device or row.device
                if device is None or column.holds not in ("latency", "latency-by-threads") or cell in EMPTY:
                    continue
                strategy = column.strategy or row.strategy
                accuracy, top1 = _accuracy(table, row, strategy)
                size = _of_row(table, row, "size")
                for printed, threads in _times(column, cell):
                    found.append(
                        Published(
                            table.table, whose(table), device, row.model, strategy, column.abi, threads, printed,
                            float(printed), accuracy, top1, size, row.dataset,
                        )
                    )  # fmt: skip
    return tuple(found)


def _times(column: PublishedColumn, cell: str) -> list[tuple[str, int | None]]:
    if column.holds == "latency-by-threads":
        return list(zip(cell.split("/"), THREADS_IN_A_LINE, strict=True))
    return [(cell, column.threads)]


def _of_row(table: PublishedTable, row: PublishedRow, holds: str) -> str | None:
    for column, cell in zip(table.columns, row.cells, strict=True):
        if column.holds == holds and cell not in EMPTY:
            return cell
    return None


def _accuracy(table: PublishedTable, row: PublishedRow, strategy: str) -> tuple[str | None, float | None]:
    """The accuracy as printed and top-1 in percent, from the row or else from another table of the same document."""
    for candidate in (table, *(t for t in tables() if t.source.document == table.source.document and t is not table)):
        for other in candidate.rows:
            if candidate is table and other is not row:
                continue
            if other.model != row.model or (other.dataset or row.dataset) != (row.dataset or other.dataset):
                continue
            for column, cell in zip(candidate.columns, other.cells, strict=True):
                if column.holds == "accuracy" and (column.strategy or other.strategy) == strategy:
                    if cell in EMPTY or "op-5" in column.heading or "op5" in column.heading:
                        continue
                    number = _NUMBER.search(cell)
                    is_top1 = re.search(r"top-?1", column.heading, re.IGNORECASE) is not None
                    return _told(cell, column), float(number[0]) if number and is_top1 else None
    return None, None


def _told(cell: str, column: PublishedColumn) -> str:
    unit = column.unit or ""
    return cell if unit in ("", "%") and "%" in cell else f"{cell} {unit}".strip()
