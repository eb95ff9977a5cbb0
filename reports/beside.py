"""Published tables as rows for a report: values as printed, every one of them marked as published. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from harness.published import PublishedTable
from reports.claims import check
from reports.values import Column, Missing, Table, Text, Value

FIGURES = frozenset(
    {
        "accuracy",
        "accuracy-pair",
        "delta",
        "delta-pair",
        "latency",
        "latency-by-threads",
        "fps",
        "size-delta",
        "delta-size",
        "speed-up",
        "size",
        "macs",
        "parameters",
    }
)


def as_table(published: PublishedTable, *, marked: bool = True) -> Table:
    """A published table with its headings, conditions and notes.

    Args:
        published: the table.
        marked: mark every figure as published; off where nothing else stands beside it.
    """
    columns = tuple(
        Column(
            f"{column.means or column.heading}{_unit(column.means or column.heading, column.unit)}",
            "right" if column.holds in FIGURES else "left",
        )
        for column in published.columns
    )
    rows = tuple(
        tuple(
            as_value(cell, marked=column.holds in FIGURES) if marked else Text(cell)
            for cell, column in zip(row.cells, published.columns, strict=True)
        )
        for row in published.rows
    )
    return Table(f"Published: {published.title}", columns, rows, notes(published))


def notes(published: PublishedTable) -> tuple[str, ...]:
    """Source, conditions, notes, and the stated figures that do not follow from the table's own columns."""
    source = published.source
    found = [f"Source: {source.document}, {source.heading}, table {source.number}."]
    if published.conditions:
        found.append(f"Conditions: {published.conditions}.")
    found += published.notes
    said = {row.note for row in published.rows if row.note}
    found += [f"Row {number}: {row.note}." for number, row in enumerate(published.rows, 1) if row.note]
    for result in check(published):
        if not result.fits and not any(result.printed in note for note in (*said, *published.notes)):
            found.append(
                f"Row {result.row}: {result.column} says {result.printed}, its columns give {result.computed:+.2f}."
            )
    return tuple(found)


def latency_rows(published: PublishedTable) -> Table:
    """A table of latencies by ABI and threads with devices, models and strategies in our names."""
    where = [i for i, column in enumerate(published.columns) if column.holds == "latency"]
    columns = [Column("Device"), Column("Model"), Column("Strategy")]
    columns += [Column(f"{published.columns[i].abi} T{published.columns[i].threads}", "right") for i in where]
    rows = tuple(
        (
            Text(row.device or ""),
            Text(row.model),
            Text(row.strategy),
            *(as_value(row.cells[i], marked=True) for i in where),
        )
        for row in published.rows
    )
    return Table(f"Published: {published.title} (ms)", tuple(columns), rows, notes(published))


def quantization_rows(published: PublishedTable) -> list[tuple[Value, ...]]:
    """PocketFlow's speed-up table as rows of ours: neither ABI nor threads are told there."""
    cpu, slow = published.position("CPU"), published.position("Time (32-bit)")
    fast, ratio = published.position("Time (8-bit)"), published.position("Speed-up")
    return [
        (
            Text(row.model),
            Text(row.device or ""),
            Text(row.cells[cpu]),
            Missing("not told"),
            Missing("not told"),
            *(as_value(row.cells[i], marked=True) for i in (slow, fast, ratio)),
        )
        for row in published.rows
    ]


def listing(tables: Sequence[PublishedTable]) -> Table:
    """The tables there are."""
    columns = (Column("Table"), Column("Rows", "right"), Column("Title"), Column("Document"))
    rows = tuple(
        (Text(table.table), Text(str(len(table.rows))), Text(table.title), Text(table.source.document))
        for table in tables
    )
    return Table("Published tables", columns, rows)


def as_value(cell: str, *, marked: bool) -> Value:
    """A published cell; ``marked`` as taken from a document."""
    if cell in ("-", "--", ""):
        return Missing("not published")
    return Text(cell, published=marked)


def _unit(heading: str, unit: str | None) -> str:
    if unit is None or "," in unit or unit in heading or f"({unit}" in heading:
        return ""
    return f" ({unit})"
