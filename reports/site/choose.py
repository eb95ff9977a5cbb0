"""The page for choosing: every latency known, measured and published, beside the accuracy of the same model. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import lru_cache

from reports import figures
from reports.cells import Held, cell_id, device_of, marks, split_name
from reports.compare import headline, metric_name
from reports.numbers import ms_text, size_text
from reports.rows import Rows, Standing
from reports.site.grid import Address, Grid, Heading, Shown, leading_number
from reports.view import View
from zoo.measurement import Measurement

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

BY_LATENCY = 1_000  # rows of a device that stand fastest first; more are by model


def grid(view: View, models: Address, cells: Address, tables: Address, odd: str = "") -> Grid:
    """Every latency, fastest first on each device; by model where a device has more than :data:`BY_LATENCY`.

    Nobody reads thousands of rows from the top, and one new latency would move all rows between its old place and its
    new one: half of the pages of the table would be made again (docs/decisions/0323).

    Args:
        view: what was measured.
        models: from an artifact's digest to its page.
        cells: from a cell's id to its page.
        tables: from a published table's name to its page.
        odd: a digest of the addresses of cells that do not follow from their ids.
    """
    long = {view.title(device) for device in view.devices if len(view.cells_of(device)) > BY_LATENCY}
    rows = [*_measured(view, models, long), *_published(tables, long)]
    rows.sort(key=lambda row: row[0])

    # Four and more cells of each model, and every cell of a device, have these in common.
    @lru_cache(maxsize=1024)
    def of_model(digest: str) -> tuple[Shown, Shown]:
        return _of_model(view.material.by_digest.get(digest))

    def row(cell: Measurement) -> tuple[Shown, ...]:
        digest = cell.artifact_sha256
        return _row(cell, view.title(device_of(cell)), models(digest), cells, of_model(digest))

    made = Rows([about for _, about, _ in rows], [says for _, _, says in rows], row, odd)
    return Grid("choose", "Latency, accuracy and size of every model on every device", COLUMNS, made)


# Device, latency in ms (0 where a device has many), model, strategy, ABI, threads: the order of the rows.
_Key = tuple[str, float, str, str, str, int]
_Row = tuple[_Key, Measurement | Standing, str]  # order, what the row is about, what it is made from


def _measured(view: View, models: Address, long: Set[str]) -> Iterator[_Row]:
    signs, of_model = view.material.signs, view.material.artifact_signs
    for device in view.devices:
        title = view.title(device)
        for cell in view.ordered(device):
            if cell.summary is not None:
                digest = cell.artifact_sha256
                says = f"{title} {of_model.get(digest)} {models(digest)} {signs[cell.job_key, cell.time]}"
                model, strategy = split_name(cell.model)
                ms = 0.0 if title in long else cell.summary.median_ms
                yield (title, ms, model, strategy, cell.abi, cell.threads_requested), cell, says


def _of_model(held: Held | None) -> tuple[Shown, Shown]:
    """What a row tells of its model: top-1 and size."""
    size = (
        Shown(size_text(held.artifact.size_bytes), order=held.artifact.size_bytes / 1e6)
        if held
        else Shown("not in the zoo", empty=True)
    )
    accuracy = headline(held.artifact) if held else None
    if accuracy is None or metric_name(accuracy.metric) != "top1":
        return Shown("not measured", empty=True), size
    second = accuracy.provenance == "published"
    top1 = Shown(
        f"{accuracy.value:.2f}",
        remark=f"n={accuracy.samples:,}, {accuracy.dataset}",
        marks=("‡",) if second else (),
        order=accuracy.value,
        second=second,
    )
    return top1, size


@lru_cache(maxsize=1024)
def _word(text: str) -> Shown:
    return Shown(text)


def _row(
    cell: Measurement, title: str, address: str, cells: Address, of_model: tuple[Shown, Shown]
) -> tuple[Shown, ...]:
    """A latency that was measured here."""
    assert cell.summary is not None  # noqa: S101  others have no row
    model, strategy = split_name(cell.model)
    top1, size = of_model
    found = marks(cell)
    emulated = any("†" in mark for mark in found)
    return (
        _word(title),
        Shown(model, href=address),
        _word(strategy),
        top1,
        Shown(
            ms_text(cell.summary.median_ms),
            marks=found,
            href=cells(cell_id(cell)),
            order=cell.summary.median_ms,
            second=emulated or cell.provenance == "published",
        ),
        _word(cell.abi),
        Shown(str(cell.threads_requested), order=float(cell.threads_requested)),
        size,
        _word({"hardware": "measured"}.get(cell.provenance, cell.provenance) if not emulated else "emulated"),
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


def _published(address: Address, long: Set[str]) -> Iterator[_Row]:
    sizes = _sizes()
    for one in figures.latencies():
        size = one.size or sizes.get((one.whose, one.model, one.strategy))
        top1 = Shown(one.accuracy or "", marks=("‡",), order=one.top1, second=True)
        row = (
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
        ms = 0.0 if one.device in long else one.ms
        key = (one.device, ms, one.model, one.strategy, one.abi or "not told", one.threads or 0)
        printed = Standing(row)
        yield key, printed, printed.says
