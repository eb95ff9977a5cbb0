"""The page for choosing: every latency known, measured and published, beside the accuracy of the same model. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.published import PublishedColumn, PublishedRow, PublishedTable
from reports.cells import cell_id, marks, split_name
from reports.compare import headline, metric_name
from reports.numbers import ms_text, size_text
from reports.site.grid import Address, Grid, Heading, Shown, leading_number
from reports.view import View

COLUMNS = (
    Heading("Device", filter="choice"),
    Heading("Model", filter="choice"),
    Heading("Strategy", filter="choice"),
    Heading("Top-1 (%)", "right", "least"),
    Heading("Latency (ms)", "right", "most"),
    Heading("ABI", filter="choice"),
    Heading("Threads", "right", "choice"),
    Heading("Size (MB)", "right", "most"),
    Heading("From", filter="choice"),
)
_THREADS = (1, 2, 4)  # what a published cell with three figures holds, in this order
_FIGURE = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Scores:
    """What documents say of a model and strategy: Top-1 in percent and size in MB, as printed."""

    top1: str = ""
    size: str = ""


def grid(view: View, published: Sequence[PublishedTable], models: Address, cells: Address, tables: Address) -> Grid:
    """Every latency, fastest first on each device.

    Args:
        view: what was measured.
        published: the tables of documents.
        models: from an artifact's digest to its page.
        cells: from a cell's id to its page.
        tables: from a published table's name to its page.
    """
    rows = [*_measured(view, models, cells), *_published(published, tables)]
    rows.sort(key=lambda row: (row[0].text, _order(row[4]), row[1].text, row[2].text, row[5].text, row[6].text))
    return Grid("choose", "Latency, accuracy and size of every model on every device", COLUMNS, tuple(rows))


def _order(cell: Shown) -> float:
    return cell.order if isinstance(cell.order, float | int) else float("inf")


def _measured(view: View, models: Address, cells: Address) -> Iterator[tuple[Shown, ...]]:
    for (digest, device, abi, threads), cell in view.best.items():
        if cell.summary is None:
            continue
        held = view.material.by_digest.get(digest)
        model, strategy = split_name(cell.model)
        accuracy = headline(held.artifact) if held else None
        if accuracy is None or metric_name(accuracy.metric) != "top1":
            top1 = Shown("not measured", empty=True)
        else:
            second = accuracy.provenance == "published"
            top1 = Shown(
                f"{accuracy.value:.2f}",
                remark=f"n={accuracy.samples:,}, {accuracy.dataset}",
                marks=("‡",) if second else (),
                order=accuracy.value,
                second=second,
            )
        emulated = any("†" in mark for mark in marks(cell))
        yield (
            Shown(view.title(device)),
            Shown(model, href=models(digest)),
            Shown(strategy),
            top1,
            Shown(
                ms_text(cell.summary.median_ms),
                marks=marks(cell),
                href=cells(cell_id(cell)),
                order=cell.summary.median_ms,
                second=emulated or cell.provenance == "published",
            ),
            Shown(abi),
            Shown(str(threads), order=float(threads)),
            Shown(size_text(held.artifact.size_bytes), order=held.artifact.size_bytes / 1e6)
            if held
            else Shown("not in the zoo", empty=True),
            Shown({"hardware": "measured"}.get(cell.provenance, cell.provenance) if not emulated else "emulated"),
        )


def _published(tables: Sequence[PublishedTable], address: Address) -> Iterator[tuple[Shown, ...]]:
    known = _scores(tables)
    for table in tables:
        for row in table.rows:
            for position, column in enumerate(table.columns):
                device = column.device or row.device
                if column.holds not in ("latency", "latency-by-threads") or device is None or row.name is None:
                    continue
                strategy = column.strategy or row.strategy
                scores = _own(table, row, strategy) or known.get((_document(table), row.model, strategy), Scores())
                for threads, figure in _figures(column, row.cells[position]):
                    yield (
                        Shown(device),
                        Shown(row.model),
                        Shown(strategy),
                        _printed(scores.top1),
                        Shown(
                            figure, marks=("‡published",), href=address(table.table), order=float(figure), second=True
                        ),
                        Shown(column.abi) if column.abi else Shown("not told", empty=True),
                        Shown(str(threads), order=float(threads)) if threads else Shown("not told", empty=True),
                        _printed(scores.size),
                        Shown("published"),
                    )


def _document(table: PublishedTable) -> str:
    return table.source.document


def _figures(column: PublishedColumn, printed: str) -> Iterator[tuple[int | None, str]]:
    """(threads, milliseconds) of a printed cell."""
    found = _FIGURE.findall(printed)
    if column.holds == "latency" and len(found) == 1 and printed.strip().startswith(found[0]):
        yield column.threads, found[0]
    elif column.holds == "latency-by-threads" and len(found) == len(_THREADS):
        yield from zip(_THREADS, found, strict=True)


def _printed(text: str) -> Shown:
    number = leading_number(text)
    if number is None:
        return Shown("not published", empty=True)
    return Shown(text, marks=("‡",), order=number, second=True)


def _scores(tables: Iterable[PublishedTable]) -> dict[tuple[str, str, str], Scores]:
    """Scores by document, model and strategy: a latency stands beside an accuracy of the same document only."""
    found: dict[tuple[str, str, str], Scores] = {}
    for table in tables:
        for row in table.rows:
            for strategy in sorted({row.strategy, *(column.strategy or row.strategy for column in table.columns)}):
                scores = _own(table, row, strategy)
                if scores is not None:
                    found.setdefault((_document(table), row.model, strategy), scores)
    return found


def _own(table: PublishedTable, row: PublishedRow, strategy: str) -> Scores | None:
    """What a row says of Top-1 and size itself; None where it tells no Top-1 of this strategy."""
    top1 = size = ""
    for column, cell in zip(table.columns, row.cells, strict=True):
        if (column.strategy or row.strategy) != strategy or leading_number(cell) is None:
            continue
        if column.holds == "accuracy" and "top1" in metric_name(column.means or column.heading):
            top1 = top1 or cell
        elif column.holds in ("size", "size-delta"):
            size = size or cell
    return Scores(top1, size) if top1 else None
