"""Tables of the site as typed cells: what a cell shows, what it is sorted by, where it leads. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from markupsafe import Markup, escape
from msgspec import Struct

from pocketzoo.decodable import decodable
from reports.render import wording
from reports.rows import Rows
from reports.values import Align, Change, Latency, Line, Missing, Ratio, Score, Size, Table, Text, Value
from zoo.markdown import visible

# How a reader narrows a column down: by one of its values, by a smallest or by a largest number.
Filter = Literal["", "choice", "least", "most"]
# (cell id) -> address of its page, relative to the page that is written; empty where it has none.
Address = Callable[[str], str]

# The sign alone, where the same row has it in words.
_SHORT = {"†": "†emulated", "‡": "‡published"}
SHORT = 80  # characters of a text that is likely to come again
LONG = 34  # characters; a longer text may take several lines
ROWS = 300  # of a table on one page; a longer table goes on further pages
CELLS = 6000  # of a table on one page and in one script: at 300 bytes for each, below 2 MB


class Shown(Struct, frozen=True, gc=False):
    """A cell: its words, a remark set smaller, marks, where it leads, and what it is sorted by."""

    text: str
    remark: str = ""
    marks: tuple[str, ...] = ()
    href: str = ""
    order: float | str | None = None
    empty: bool = False
    second: bool = False
    code: bool = False


decodable(Shown)


@dataclass(frozen=True)
class Heading:
    """A column's heading, how it is aligned and how it is narrowed down."""

    text: str
    align: Align = "left"
    filter: Filter = ""
    numeric: bool = False  # sorted by number though it stands left; in a long table those that stand right are


@dataclass(frozen=True)
class Grid:
    """A table of the site. ``name`` is its id on the page."""

    name: str
    caption: str
    columns: tuple[Heading, ...]
    rows: Sequence[tuple[Shown, ...]]
    notes: tuple[str, ...] = ()
    legend: tuple[str, ...] = ()

    def parts(self) -> list[Grid]:
        """The table in pieces of :data:`ROWS` rows, fewer where there are many columns; one where it is empty."""
        size = min(ROWS, max(1, CELLS // len(self.columns)))
        cut: list[Sequence[tuple[Shown, ...]]] = [
            self.rows[start : start + size] for start in range(0, len(self.rows), size)
        ] or [()]
        return [Grid(self.name, self.caption, self.columns, rows, self.notes, self.legend) for rows in cut]


def grid_of(name: str, table: Table, address: Address, filters: Sequence[str] = (), odd: str = "") -> Grid:
    """A report's table as a table of the site.

    Args:
        name: id on the page.
        table: typed values; every latency leads to the page of its cell.
        address: of a cell's page.
        filters: headings of the columns that can be narrowed down to one of their values.
        odd: a digest of the addresses that do not follow from the ids of their cells.
    """
    columns = tuple(
        Heading(column.heading, column.align, "choice" if column.heading in filters else "", column.numeric)
        for column in table.columns
    )
    rows: Sequence[tuple[Shown, ...]]
    if isinstance(table.rows, Rows) and len(table.rows) > ROWS:
        rows = table.rows.map(lambda _, row: tuple([shown(value, address) for value in row]), odd)
        marks = wording.whole_legend()
    else:
        table = replace(table, rows=tuple(table.rows))
        rows = tuple(tuple(shown(value, address) for value in row) for row in table.rows)
        marks = wording.legend(table)
    legend = tuple(line.replace("see README.md", "see the page of the device") for line in marks)
    return Grid(name, table.title, columns, rows, table.notes, legend)


def shown(value: Value, address: Address) -> Shown:
    """A value of a table: the same words as in Markdown, and what they are sorted by."""
    if isinstance(value, Missing):  # the most frequent values first
        return _missing(value.why)
    words = wording.figure(value)
    if isinstance(value, Size):
        return Shown(words, order=float(value.size))
    marks, second = wording.marks_of(value), wording.second_hand(value)
    match value:
        case Latency():
            return Shown(words, marks=marks, href=address(value.cell), order=value.median_ms, second=second)
        case Ratio():
            return Shown(words, marks=marks, order=value.value, second=second)
        case Score():
            return Shown(words, remark=wording.basis(value), marks=marks, order=value.value, second=second)
        case Change():
            return Shown(words, order=value.value)
        case Line():
            latencies = [part for part in value.parts if isinstance(part, Latency)]
            href = address(latencies[0].cell) if latencies else ""
            order = latencies[0].median_ms if latencies else leading_number(words)
            return Shown(words, marks=marks, href=href, order=order, second=second)
        case Text():
            return Shown(words, marks=marks, order=leading_number(words), second=second, code=value.code)
    raise TypeError(f"not a value of a table: {value!r}")


@lru_cache(maxsize=1024)
def _missing(why: str) -> Shown:
    return Shown(visible(why), empty=True)


@lru_cache(maxsize=1 << 15)
def leading_number(text: str) -> float | None:
    """The number that a printed figure begins with (``70.18% (-0.81%)`` gives 70.18); None for words."""
    digits = ""
    for place, char in enumerate(text.strip()):
        if char.isascii() and (char.isdigit() or char == "." or (char in "+-" and place == 0)):
            digits += char
        elif char != ",":
            rest = text.strip()[place]
            # A word that begins with digits (resnet50 does not, 3x3 would) is no figure unless a unit follows.
            if rest.isalpha() and rest not in "xMGK":
                return None
            break
    try:
        return float(digits)
    except ValueError:
        return None


def cell_html(cell: Shown) -> Markup:
    """The inside of a ``<td>``. Everything that is not markup of ours is escaped, and nothing in it is invisible."""
    return Markup(cell_text(cell))  # noqa: S704  every piece is escaped there


def cell_text(cell: Shown) -> str:
    """:func:`cell_html` as plain text: a large report has millions of cells, and most of them repeat words of others.

    Pieces are escaped one by one; Markup would take most of the time.
    """
    words = seen(cell.text)
    if cell.code:
        words = f"<code>{words}</code>"
    if cell.href:
        words = f'<a href="{seen(cell.href)}">{words}</a>'
    if cell.second:
        words = f"<i>{words}</i>"
    if cell.empty:
        words = f'<span class="empty">{words}</span>'
    if cell.marks:
        words += _marks_text(cell.marks)
    if cell.remark:
        words += f' <small class="remark">{seen(cell.remark)}</small>'
    return words


def seen(text: str) -> str:
    """Text with everything visible and escaped."""
    # Words and names come again and again; long texts are told once, and would only fill the memory.
    return _seen(text) if len(text) < SHORT else str(escape(visible(text)))


@lru_cache(maxsize=1 << 15)
def _seen(text: str) -> str:
    return str(escape(visible(text)))


@lru_cache(maxsize=1024)
def _marks_text(marks: tuple[str, ...]) -> str:
    return "".join(f" {mark_html(mark)}" for mark in marks)


@lru_cache(maxsize=1024)
def mark_html(mark: str) -> Markup:
    """A mark as a word with a sign, coloured as well: colour alone would say nothing to some readers."""
    if mark in _SHORT:
        return Markup('<span class="mark second" title="{}"><span aria-hidden="true">{}</span>{}</span>').format(
            wording.MEANING[_SHORT[mark]], mark, Markup('<span class="unseen">{}</span>').format(_SHORT[mark][1:])
        )
    kind = "ok" if mark == "✓" else "second" if "†" in mark or "‡" in mark else "warn" if "!" in mark else "plain"
    meaning = next((says for known, says in wording.MEANING.items() if known in mark), "")
    if mark == "✓":
        return Markup('<span class="mark ok" title="{}"><span aria-hidden="true">✓</span>{}</span>').format(
            meaning, Markup('<span class="unseen">valid</span>')
        )
    return Markup('<span class="mark {}" title="{}">{}</span>').format(kind, meaning, visible(mark))


def order_text(cell: Shown) -> str | None:
    """What a script sorts a cell by: a number, text in lower case, or nothing where there is no value."""
    if cell.empty:
        return ""
    if isinstance(cell.order, float | int):
        return f"{cell.order:.9g}"
    return cell.order


def wraps(cell: Shown) -> bool:
    """Whether a cell may take several lines."""
    return len(cell.text) > LONG


def numeric(grid: Grid, position: int) -> bool:
    """Whether a column is sorted by number: it has numbers, and words only where a value is missing.

    The rows of a long table are not looked at: there it is what its heading says.
    """
    heading = grid.columns[position]
    if isinstance(grid.rows, Rows):
        return heading.numeric or heading.align == "right"
    column = [row[position] for row in grid.rows]
    values = [cell for cell in column if not cell.empty]
    return bool(values) and all(isinstance(cell.order, float | int) for cell in values)
