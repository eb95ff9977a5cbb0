"""The page for choosing: every latency known, measured and published, beside the accuracy of the same model. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reports import figures
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


def grid(view: View, models: Address, cells: Address, tables: Address) -> Grid:
    """Every latency, fastest first on each device.

    Args:
        view: what was measured.
        models: from an artifact's digest to its page.
        cells: from a cell's id to its page.
        tables: from a published table's name to its page.
    """
    rows = [*_measured(view, models, cells), *_published(tables)]
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


def _sizes() -> dict[tuple[str, str, str], str]:
    """Sizes as printed, by document, model and strategy: a document often tells size and latency in two tables."""
    found: dict[tuple[str, str, str], str] = {}
    for table in figures.tables():
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if column.holds == "size" and cell not in figures.EMPTY:
                    found.setdefault((figures.whose(table), row.model, column.strategy or row.strategy), cell)
    return found


def _published(address: Address) -> Iterator[tuple[Shown, ...]]:
    sizes = _sizes()
    for one in figures.latencies():
        size = one.size or sizes.get((one.whose, one.model, one.strategy))
        top1 = Shown(one.accuracy or "", marks=("‡",), order=one.top1, second=True)
        yield (
            Shown(one.device),
            Shown(one.model),
            Shown(one.strategy),
            Shown("not published", empty=True) if one.top1 is None else top1,
            Shown(one.printed, marks=("‡published",), href=address(one.table), order=one.ms, second=True),
            Shown(one.abi) if one.abi else Shown("not told", empty=True),
            Shown(str(one.threads), order=float(one.threads)) if one.threads else Shown("not told", empty=True),
            Shown(size, marks=("‡",), order=leading_number(size), second=True)
            if size
            else Shown("not published", empty=True),
            Shown("published", remark=one.whose),
        )
