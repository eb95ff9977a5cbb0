"""A page of the site before it is drawn, and the machine that draws it: Jinja with everything escaped."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

import msgspec
from markupsafe import Markup, escape

from reports.folder import key_of
from reports.site.grid import CELLS, Grid, Shown, cell_text, mark_html, numeric, order_text, seen, wraps
from reports.site.places import relative
from zoo.markdown import visible

if TYPE_CHECKING:
    from jinja2 import Environment

Context = Mapping[str, Any]
NAV = (
    ("index.html", "Overview"),
    ("choose.html", "Choose"),
    ("models.html", "Models"),
    ("devices.html", "Devices"),
    ("compare.html", "Compare"),
    ("published.html", "Published"),
)
FURTHER = 7  # links to pages of a long table, besides the first and the last


# A table and one of its rows.
Place = tuple[str, int]
NOWHERE: Place = ("", 0)


@dataclass(frozen=True)
class Page:
    """A page: its address, its template, what it holds, and the key of that.

    ``key`` is a digest of everything ``context`` is made from; it is called only where the key has changed. ``rows``
    is where a piece of a long table begins.
    """

    address: str
    template: str
    context: Callable[[], Context]
    key: str
    rows: Place = NOWHERE


def fixed_page(address: str, template: str, context: Context) -> Page:
    """A page whose content is at hand; its key is a digest of it."""
    told = json.dumps(context, sort_keys=True, ensure_ascii=False, default=vars)
    return Page(address, template, lambda: context, key_of(template, told))


@dataclass(frozen=True)
class Script:
    """A file of rows."""

    address: str
    key: str
    make: Callable[[], bytes]
    rows: Place = NOWHERE


def lines(text: str) -> str:
    """Text in several lines in which nothing is hidden."""
    return "\n".join(visible(line.replace("\t", "    ")) for line in text.split("\n")).strip("\n")


@cache
def environment() -> Environment:
    """Templates of the package; every value is escaped, an unknown name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("reports.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"at": _link, "visible": _visible, "lines": lines, "mark": mark_html}
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "ensure_ascii": False, "separators": (",", ":")}
    return made


# The same words, checks and links stand on tens of thousands of pages.
def _visible(text: object) -> Markup:
    return Markup(seen(str(text)))  # noqa: S704  escaped there


@lru_cache(maxsize=1 << 14)
def _at(address: str, page: str) -> Markup:
    return escape(relative(address, page))


def _link(address: str, page: str) -> Markup:
    """An address from the top of the site as a page links to it, which depends on how deep the page lies alone."""
    return _at(address, "/" * page.count("/"))


def relative_to(address: str, depth: str) -> str:
    """An address as pages link to it that lie so many slashes deep, escaped."""
    return str(_at(address, depth))


def draw(page: Page) -> bytes:
    """The page as HTML."""
    context = with_defaults({"page": page.address, **page.context()})
    return environment().get_template(page.template).render(context).encode()


def with_defaults(context: Context) -> Context:
    """A context with everything that the frame of a page looks for."""
    return {
        **{"grids": (), "figures": (), "trail": (), "section": "", "lede": "", "lines": (), "links": ()},
        **{"nav": NAV},
        **context,
    }


# Of a cell its markup, what it is sorted by, and whether it may take several lines.
Drawn = list[tuple[str, str | None, bool]]


def draw_row(row: Sequence[Shown]) -> Drawn:
    """The cells of a row, for a page and for a script."""
    return [(cell_text(cell), order_text(cell), wraps(cell)) for cell in row]


class _Twice:
    """The rows of a long table: each is drawn for its page and for a script, and made once where that is soon.

    Args:
        rows: of the table.
    """

    MOST = 1_000
    """Rows that wait for their second use; where more are drawn between the two, a row is made again."""

    def __init__(self, rows: Sequence[Sequence[Shown]]) -> None:
        self._rows = rows
        self._kept: OrderedDict[int, Drawn] = OrderedDict()

    def drawn(self, start: int, stop: int) -> Iterator[Drawn]:
        """These rows; the second time each is given away."""
        kept = self._kept
        for number in range(start, min(stop, len(self._rows))):
            found = kept.pop(number, None)
            if found is None:
                found = kept[number] = draw_row(self._rows[number])
                if len(kept) > self.MOST:
                    kept.popitem(last=False)
            yield found


def _row(drawn: Drawn, right: Sequence[bool]) -> Markup:
    cells = []
    for (text, order, is_long), is_right in zip(drawn, right, strict=True):
        told = "" if order is None else f' data-order="{seen(order)}"'
        cells.append(f"<td{_CLASSES[is_right, is_long]}{told}>{text}</td>")
    # Words of ours, numbers and what was escaped: nothing else comes into this markup.
    return Markup("".join(cells))  # noqa: S704


_CLASSES = {
    (False, False): "",
    (True, False): ' class="right"',
    (False, True): ' class="words"',
    (True, True): ' class="right words"',
}


def part(
    grid: Grid, *, none: str = "Nothing yet.", drawn: Iterable[Drawn] | None = None, **more: object
) -> dict[str, Any]:
    """A table as the template draws it; ``drawn`` are its rows where they are drawn already."""
    columns = [
        {"text": column.text, "align": column.align, "filter": column.filter, "numeric": numeric(grid, position)}
        for position, column in enumerate(grid.columns)
    ]
    right = [column.align == "right" for column in grid.columns]
    rows = [_row(row, right) for row in (map(draw_row, grid.rows) if drawn is None else drawn)]
    return {
        **{"name": grid.name, "caption": grid.caption, "columns": columns, "rows": rows, "none": none},
        **{"notes": grid.notes, "legend": grid.legend, "many": False, "script": "", "heading": grid.caption},
        **more,
    }


@dataclass(frozen=True)
class Long:
    """A table that may be too long for one page: its first piece, the further pages, and its rows as a script.

    ``first`` makes the piece as the template draws it; ``key`` is a digest of what it is made from.
    """

    first: Callable[[], dict[str, Any]]
    key: str
    further: tuple[Page, ...] = ()
    scripts: tuple[Script, ...] = ()


def sheet(address: str, template: str, context: Context, longs: Sequence[Long]) -> Page:
    """A page whose content is at hand but for its tables, which are made when it is drawn."""
    told = json.dumps(context, sort_keys=True, ensure_ascii=False, default=vars)
    key = key_of(template, told, [long.key for long in longs])
    return Page(address, template, lambda: {**context, "grids": [long.first() for long in longs]}, key)


def long_table(address: str, grid: Grid, section: str, trail: Sequence[tuple[str, str]] = (), none: str = "") -> Long:
    """A table on ``address``; from its second piece on it has pages of its own beside it.

    A reader without JavaScript turns the pages. With it the script brings every row at once, to sort and to filter.
    """
    pieces = grid.parts()
    if len(pieces) == 1:
        return Long(lambda: part(grid, none=none or "Nothing yet."), key_of(grid, none))
    stem = address.removesuffix(".html")
    addresses = [address, *(f"{stem}-{grid.name}-{number}.html" for number in range(2, len(pieces) + 1))]
    most = max(1, CELLS // len(grid.columns))
    starts = range(0, len(grid.rows), most)
    twice = _Twice(grid.rows)
    scripts = tuple(
        Script(
            f"data/{stem.replace('/', '-')}-{grid.name}-{number}.js",
            key_of(replace(grid, rows=grid.rows[start : start + most])),
            partial(_script, grid.name, twice, start, start + most),
            (grid.name, start),
        )
        for number, start in enumerate(starts, 1)
    )
    total, size = len(grid.rows), len(pieces[0].rows)
    # What a column is sorted by is told by all of its rows, not by those of one page.
    numbers = [numeric(grid, position) for position in range(len(grid.columns))]
    head = key_of(replace(grid, rows=()), section, trail, total, numbers, address)

    def piece(number: int) -> dict[str, Any]:
        made = part(
            pieces[number],
            drawn=twice.drawn(number * size, number * size + len(pieces[number].rows)),
            many=True,
            first=number * size + 1,
            last=number * size + len(pieces[number].rows),
            total=total,
            script=" ".join(relative(script.address, address) for script in scripts),
            pages=list(_page_links(addresses, number)),
        )
        for column, is_number in zip(made["columns"], numbers, strict=True):
            column["numeric"] = is_number
        return made

    def context(number: int) -> Context:
        title = f"{grid.caption}, page {number + 1}"
        return {"title": title, "section": section, "trail": trail, "grids": [piece(number)]}

    keys = [key_of(head, number, one.rows) for number, one in enumerate(pieces)]
    further = tuple(
        Page(addresses[number], "sheet.html", partial(context, number), keys[number], (grid.name, number * size))
        for number in range(1, len(pieces))
    )
    return Long(partial(piece, 0), keys[0], further, scripts)


def _page_links(addresses: Sequence[str], here: int) -> Iterator[tuple[str, str]]:
    """(address or nothing, number) of the pages near this one, the first and the last."""
    count = len(addresses)
    near = {0, count - 1, *range(max(0, here - FURTHER // 2), min(count, here + FURTHER // 2 + 1))}
    last = -1
    for number in sorted(near):
        if number != last + 1:
            yield "", "…"
        name = addresses[number].rsplit("/", 1)[-1]
        yield ("" if number == here else name), str(number + 1)
        last = number


def _script(name: str, rows: _Twice, start: int, stop: int) -> bytes:
    return rows_script(name, rows.drawn(start, stop))


def rows_script(name: str, drawn: Iterable[Drawn]) -> bytes:
    """Rows of a table as a script: pages opened from disk may not fetch, but may load scripts."""
    rows = [[(text, order) for text, order, _ in row] for row in drawn]
    return b"window.pocketzooRows(%s,%s);\n" % (msgspec.json.encode(name), msgspec.json.encode(rows))
