"""The status page: every row of the documents, its recipe, whether it was run, what was published and what we found.

A row of a document may hold several models (a column for each way to quantize); each is a line of its own. A recipe
belongs to a line by its name: ``MODEL-STRATEGY``, with the table's own name for the strategy where one is given
(``recipes`` in the table's YAML) and the method in it where the line has one; a model that the documents give for
several data sets has the data set behind its name (``mobilenetv1-yolov3-voc``). ``MODEL-fashion-...`` is the twin that
trains on Fashion-MNIST, ``MODEL-shapes-...`` on made scenes; what they give is told, and told apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.published import PublishedRow, PublishedTable
from reports import figures
from reports.beside import FIGURES
from reports.cells import Held, device_of, marks
from reports.compare import headline, score
from reports.numbers import ms_text
from reports.render.wording import basis, figure, marks_of
from reports.trained import Trained
from reports.values import Column, Missing, Table, Text, Value
from reports.view import View

_DATASET = re.compile(r"-(?:cifar10|cifar100)$")
_BESIDE = {"Pascal VOC": "-voc"}  # data sets that a model's recipe is told apart by
_TIMES = re.compile(r"(\d+(?:\.\d+)?)x")
MOST_LATENCIES = 6


@dataclass(frozen=True)
class Line:
    """One model of one row: what the document calls it, what it is in our names, and its figures as printed."""

    table: str
    row: int
    label: str
    model: str
    strategy: str
    method: str | None
    device: str | None
    told: tuple[str, ...]
    times: float | None
    suffix: str
    data: str = ""


def lines(table: PublishedTable) -> list[Line]:
    """The lines of a table, in its order."""
    return [line for number, row in enumerate(table.rows, 1) for line in _lines(table, number, row)]


def _lines(table: PublishedTable, number: int, row: PublishedRow) -> list[Line]:
    units: dict[tuple[str, str | None], list[str]] = {}
    label = [cell for column, cell in zip(table.columns, row.cells, strict=True) if not _is_figure(column.holds)]
    times = None
    for column, cell in zip(table.columns, row.cells, strict=True):
        if not _is_figure(column.holds):
            continue
        # The base that a row is compared with is told beside the row, not as a line of its own.
        base = column.strategy == "none" and row.strategy != "none"
        unit = (row.strategy if base else column.strategy or row.strategy, column.method or row.method or table.method)
        heading = column.means or column.heading
        units.setdefault(unit, []).append(f"{heading}: {cell if cell not in figures.EMPTY else 'not published'}")
        if column.holds == "speed-up" and (found := re.match(r"\d+(?:\.\d+)?", cell)):
            times = float(found[0])
    return [
        Line(
            table.table,
            number,
            " ".join(label),
            row.model,
            strategy,
            table.recipes.get(method, method) if method else None,
            row.device,
            tuple(told),
            times,
            table.recipes.get(strategy, strategy),
            _BESIDE.get(row.dataset or "", ""),
        )
        for (strategy, method), told in units.items()
    ]


def _is_figure(holds: str) -> bool:
    return holds in FIGURES


def recipes_for(line: Line, known: Collection[str]) -> tuple[str, ...]:
    """The recipes of a line among the known ones: those on its own data, then the twins on small data."""
    plain = _DATASET.sub("", line.model)
    models = (line.model + line.data, f"{plain}-fashion", f"{plain}-shapes")
    # Where our other name for a strategy has no recipe of this model, its own has: mobilenetv2-quant is post-training.
    for suffix in dict.fromkeys((line.suffix, line.strategy)):
        found = tuple(name for model in models for name in sorted(known) if _is_recipe(line, suffix, model, name))
        if found:
            return found
    return ()


def _is_recipe(line: Line, suffix: str, model: str, name: str) -> bool:
    if line.strategy == "none":
        return name == model
    if not name.startswith(f"{model}-"):
        return False
    rest = name.removeprefix(f"{model}-")
    if line.method is None:
        return rest == suffix
    parts = _TIMES.findall(rest)
    if parts and line.times is not None and abs(float(parts[0]) / line.times - 1) > 0.02:
        return False
    plain = rest.replace("_", "-")
    return plain.startswith(suffix) and plain.endswith(f"-{line.method}")


def status(view: View, tables: Sequence[PublishedTable], known: Collection[str]) -> list[Table]:
    """A table for each published one.

    Args:
        view: the zoo and what was measured, and what training gave.
        tables: the published tables.
        known: names of the recipes that are shipped.
    """
    columns = (
        Column("Row", "right"), Column("As printed"), Column("In our names"), Column("Published"), Column("Recipe"),
        Column("Run"), Column("Data"), Column("Hardware"), Column("Ours"),
    )  # fmt: skip
    by_recipe = _by_recipe(view)
    found = []
    for table in tables:
        rows = tuple(_row(view, line, known, by_recipe) for line in lines(table))
        note = f"{table.source.document}, {table.source.heading}, table {table.source.number}: {table.table}."
        found.append(Table(table.title, columns, rows, (note,)))
    return found


def summary(tables: Sequence[Table]) -> str:
    """How many lines there are, have a recipe, were run, were measured."""
    rows = [row for table in tables for row in table.rows]
    recipe, ran = (sum(not isinstance(row[place], Missing) for row in rows) for place in (4, 5))
    hardware = sum(not isinstance(row[7], Missing) for row in rows)
    return (
        f"{len(rows)} lines in {len(tables)} tables: {recipe} have a recipe, {ran} were run (on the data each line "
        f"names), {hardware} have a latency measured here."
    )


def _by_recipe(view: View) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = {}
    for item in view.material.held:
        recipe = item.artifact.recipe.name if item.artifact.recipe else item.artifact.name
        for name in {recipe, item.artifact.name}:
            found.setdefault(name, []).append(item)
    return found


def _row(view: View, line: Line, known: Collection[str], by_recipe: dict[str, list[Held]]) -> tuple[Value, ...]:
    recipes = recipes_for(line, known)
    name = line.model if line.strategy == "none" else f"{line.model}-{line.strategy}"
    wanted = dict.fromkeys([*recipes, *([name] if line.method is None else [])])
    held = {item.artifact.digest: item for wish in wanted for item in by_recipe.get(wish, [])}
    trained = [one for one in view.material.trained if one.recipe in wanted]
    data = dict.fromkeys(
        [
            *(entry.dataset for item in held.values() for entry in item.artifact.accuracy),
            *(one.dataset for one in trained if one.dataset),
        ]
    )
    cells = [cell for digest in held for cell in view.material.by_artifact(digest) if cell.summary]
    hardware = dict.fromkeys(
        f"{view.title(device_of(cell))}{'' if marks(cell) == ('✓',) else ' ' + ' '.join(marks(cell))}"
        for cell in sorted(cells, key=lambda cell: (cell.provenance != "hardware", cell.device.name, cell.time))
    )
    whats = f"{name}, {line.method}" if line.method else name
    return (
        Text(str(line.row)),
        Text(line.label),
        Text(f"{whats} on {line.device}" if line.device else whats),
        Text("; ".join(line.told), published=True),
        Text(", ".join(recipes)) if recipes else Missing(_why_no_recipe(line)),
        Text(_ran(list(held.values()), trained)) if held or trained else Missing("not run"),
        Text(", ".join(data)) if data else Missing("none"),
        Text(", ".join(hardware)) if hardware else Missing("not measured"),
        Text("; ".join(_ours(view, list(held.values()), trained))) if held or trained else Missing("not run"),
    )


def _why_no_recipe(line: Line) -> str:
    if re.search(r"\[\d+\]$", line.label):
        return "quoted by the document from others"
    return "no recipe"


def _ran(held: Sequence[Held], trained: Sequence[Trained]) -> str:
    names = sorted({item.artifact.name for item in held} | {one.recipe for one in trained})
    return f"yes: {', '.join(names)}"


def _ours(view: View, held: Sequence[Held], trained: Sequence[Trained]) -> list[str]:
    told = []
    for item in held:
        artifact = item.artifact
        found = headline(artifact)
        if found:
            value = score(found, artifact.digest)
            words = " ".join((figure(value), *marks_of(value)))
            told.append(f"{artifact.name}: {found.metric} {words}, {basis(value)}")
        else:
            told.append(f"{artifact.name}: no accuracy")
        shown = [cell for cell in view.material.by_artifact(artifact.digest) if cell.summary]
        shown.sort(key=lambda c: (c.provenance != "hardware", c.device.name, c.abi, c.threads_requested, c.time))
        for cell in shown[:MOST_LATENCIES]:
            assert cell.summary is not None  # noqa: S101  kept above
            told.append(
                f"{ms_text(cell.summary.median_ms)} ms {' '.join(marks(cell))} on {view.title(device_of(cell))}, "
                f"{cell.abi}, T{cell.threads_requested} (cell {cell.job_key[:12]})"
            )
        if len(shown) > MOST_LATENCIES:
            told.append(f"{len(shown) - MOST_LATENCIES} more cells in latency.md")
    return [*told, *(f"{one.recipe}: {one.words()}" for one in trained)]
