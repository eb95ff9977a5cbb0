"""The pages that gather: overview, choosing, comparisons, published tables, how to read, licences. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.resources import files
from typing import Any

from harness.published import PublishedTable
from reports import beside, documents, steps, tables
from reports.cells import believable
from reports.folder import key_of
from reports.pages import COMMANDS
from reports.render.wording import MEANING
from reports.site import choose, devices, figures, models, words
from reports.site.grid import Grid, Heading, Shown, grid_of
from reports.site.page import Context, Page, Script, fixed_page, long_table, part, sheet
from reports.site.places import Places, slug
from reports.values import Ratio, Table, Value
from reports.view import View

MOST_DEVICES = 4  # shown in full on the overview; the others in a list
VENDORED = (
    ("Chart.js", "4.6.1", "Draws the plots. MIT licence.", "chart.LICENSE.txt"),
    ("DataTables", "3.1.5", "Sorts and filters the tables. MIT licence.", "dataTables.LICENSE.txt"),
)

Pages = tuple[list[Page], list[Script]]


def overview(view: View, places: Places, stills: Collection[str], published: Sequence[PublishedTable]) -> Page:
    """What there is, and the devices with what was measured on them."""

    def context() -> Context:
        sections, others = [], []
        slugs = dict(view.slugs())
        for number, device in enumerate(view.devices):
            cells = view.cells_of(device)
            provenance, kind = devices.provenance(cells)
            one: dict[str, Any] = {
                "id": f"device-{slugs[device]}",
                "address": places.devices[device],
                "title": view.title(device),
                "provenance": provenance,
                "kind": kind,
                "facts": devices.brief(cells),
            }
            if number < MOST_DEVICES:
                hardware = kind == "ok"
                one["figures"] = (
                    devices.plots(view, device, places, "index.html", stills, all_kinds=False) if hardware else []
                )
                long = devices.summary(view, device, places, "index.html")
                # A long table stands on the page of its device.
                one["grid"] = None if long.further else long.first()
                sections.append(one)
            else:
                others.append(one)
        material = view.material
        speed_ups = documents.speed_ups(view)
        good = sum(believable(cell) for cell in material.measurements)
        return {
            "title": "Models, measured",
            "section": "Overview",
            "newest": words.moment(max((cell.time for cell in material.measurements), default=""), "minutes"),
            "stand": documents.where_ours_stand(speed_ups) if any(_is_ratio(row) for row in speed_ups.rows) else "",
            "empty": not material.held and not material.measurements,
            "commands": COMMANDS,
            "tiles": [
                (f"{len(material.held):,}", "models in the zoo", "models.html"),
                (
                    f"{len(view.devices):,}",
                    "device measured" if len(view.devices) == 1 else "devices measured",
                    "devices.html",
                ),
                (f"{len(material.measurements):,}", f"measurements, {good:,} valid", "choose.html"),
                (f"{sum(len(t.rows) for t in published):,}", "published rows beside them", "published.html"),
            ],
            "documents": f"{len(published)} tables of {len({t.source.document for t in published})} documents",
            "devices": sections,
            "others": others,
            "grids": [one["grid"] for one in sections if one.get("grid")],
            "figures": [figure for one in sections for figure in one["figures"]],
        }

    material = view.material
    key = key_of(
        "index", list(material.signs.values()), list(material.artifact_signs.values()),
        view.frame, places.key, places.odd, sorted(stills),
        [(table.table, table.source.document, len(table.rows)) for table in published],
    )  # fmt: skip
    return Page("index.html", "index.html", context, key)


def _is_ratio(row: Sequence[Value]) -> bool:
    return any(isinstance(value, Ratio) for value in row)


def choosing(view: View, places: Places) -> Pages:
    """Every latency with accuracy and size."""
    grid = choose.grid(
        view,
        lambda digest: places.models.get(digest, ""),
        lambda cell: places.shown.get(cell, ""),
        published_address,
        places.odd,
    )
    long = long_table("choose.html", grid, "Choose")
    lede = (
        "Every latency there is, measured here or published, beside the model's accuracy and size. Choose a device, "
        "say what Top-1 you need, and sort by latency. A published latency has the accuracy of its own document."
    )
    context = {"title": "Choose a model", "section": "Choose", "lede": lede}
    page = sheet("choose.html", "sheet.html", context, [long])
    return [page, *long.further], list(long.scripts)


def listing(view: View, places: Places) -> Pages:
    """The lists of models and of devices."""
    pages: list[Page] = []
    scripts: list[Script] = []
    for address, title, grid, lede in (
        (
            "models.html",
            "Models",
            models.grid(view, places),
            "The models of the zoo, each after what it was made from.",
        ),
        ("devices.html", "Devices", devices.grid(view, places), "What models were measured on, real hardware first."),
    ):
        none = "Nothing yet. `compress list` shows what can be built, `harness run --device local` measures it."
        long = long_table(address, grid, title, none=none)
        pages.append(sheet(address, "sheet.html", {"title": title, "section": title, "lede": lede}, [long]))
        pages += long.further
        scripts += long.scripts
    return pages, scripts


def comparisons(view: View, places: Places, published: Sequence[PublishedTable]) -> Pages:
    """Speed-ups measured here beside published ones; latency and accuracy as their readers know them."""
    speed_up = documents.speed_ups(view)
    to_cell = _to_cell(places)
    filters = ("Device", "Model", "Strategy", "ABI", "Threads", "CPU")
    pages: list[Page] = []
    scripts: list[Script] = []
    longs = []
    for name, table in (
        ("speed-up", speed_up),
        ("latency", tables.latency(view)),
        ("accuracy", tables.accuracy(view)),
    ):
        long = long_table("compare.html", grid_of(name, table, to_cell, filters, places.odd), "Compare")
        longs.append(long)
        pages += long.further
        scripts += long.scripts
    drawn = figures.ratios("speed-ups", "8-bit against 32-bit: measured here and published", speed_up, -1, (0, 1, 3, 4))
    lines = [documents.where_ours_stand(speed_up)]
    page = sheet(
        "compare.html",
        "sheet.html",
        {
            "title": "Ours next to theirs",
            "section": "Compare",
            "lede": "How much faster and smaller a compressed model is than its parent, here and in published tables.",
            "lines": lines,
            "figures": [drawn] if drawn else [],
            "links": [(f"tables/{name}.html", title, says) for name, title, _, says in FAMILIAR]
            + [
                (published_address(table.table), table.title, f"published: {table.source.document}")
                for table in published
            ],
        },
        longs,
    )
    return [page, *pages], scripts


def publications(published: Sequence[PublishedTable]) -> Pages:
    """A page for each published table, and the list of them."""
    columns = (Heading("Table"), Heading("Document", filter="choice"), Heading("Heading"), Heading("Rows", "right"))
    rows = tuple(
        (
            Shown(table.title, href=published_address(table.table), order=table.title),
            Shown(table.source.document),
            Shown(table.source.heading),
            Shown(str(len(table.rows)), order=float(len(table.rows))),
        )
        for table in published
    )
    grid = Grid("tables", "Published tables", columns, rows)
    lede = (
        "Tables that others published, every value as it is printed, with notes where the figures do not fit together."
    )
    pages = [
        fixed_page(
            "published.html",
            "sheet.html",
            {"title": "Published tables", "section": "Published", "lede": lede, "grids": [part(grid)]},
        )
    ]
    pages += [_publication(table) for table in published]
    return pages, []


def _publication(table: PublishedTable) -> Page:
    drawn = beside.as_table(table)
    grid = grid_of("published", drawn, lambda _: "")
    return fixed_page(
        published_address(table.table),
        "sheet.html",
        {
            "title": table.title,
            "section": "Published",
            "trail": [("published.html", "Published tables")],
            "lede": f"{table.source.document}, {table.source.heading}.",
            "grids": [part(grid)],
        },
    )


def published_address(name: str) -> str:
    """The page of a published table."""
    return f"published/{slug(name)}.html"


# Tables as the readers of the documents know them, ours beside theirs.
FAMILIAR = (
    (
        "pruning",
        "Pruning",
        documents.pruning,
        "Method, base, pruned, difference, speed-up, as Torch-Pruning has it.",
    ),
    ("threads", "Latency by threads", documents.threads, "Thread 1 / 2 / 4 lines, as PaddleX prints them."),
    ("gpu", "On a GPU", documents.gpu, "Milliseconds and images a second."),
    ("amc", "AMC", documents.amc, "Accuracy, latency and MACs, as AMC prints them."),
    (
        "status",
        "Status of every published row",
        documents.status_page,
        "Each row of the documents: what builds it here, whether and on what it was run, published, ours.",
    ),
)
_FILTERS = frozenset(
    {"Device", "Model", "Strategy", "Method", "Document", "Status", "Run", "Hardware", "Data", "ABI", "Threads", "CPU"}
)


def familiar(view: View, places: Places) -> Pages:
    """A page for each form of table that readers of the documents know."""
    pages: list[Page] = []
    scripts: list[Script] = []
    for name, title, make, lede in FAMILIAR:
        address = f"tables/{name}.html"
        trail = [("compare.html", "Ours next to theirs")]
        longs = []
        parts = [*make(view), *(documents.stepped(view) if name == "pruning" else ())]
        for number, table in enumerate((item for item in parts if isinstance(item, Table)), 1):
            filters = [column.heading for column in table.columns if column.heading in _FILTERS]
            grid = grid_of(f"{name}-{number}", table, _to_cell(places, "../"), filters, places.odd)
            longs.append(long_table(address, grid, "Compare", trail))
        context = {
            "title": title,
            "section": "Compare",
            "trail": trail,
            "lede": lede,
            **(_stepped(view) if name == "pruning" else {}),
        }
        pages.append(sheet(address, "sheet.html", context, longs))
        pages += [page for long in longs for page in long.further]
        scripts += [script for long in longs for script in long.scripts]
    return pages, scripts


def _stepped(view: View) -> Context:
    """The plots of networks pruned step by step; their figures stand in the last tables of the page."""
    drawn = [
        figures.lines(
            f"steps-{measure.split(' ')[0].lower()}",
            f"Pruned step by step: {measure.lower()} against MACs",
            lines,
            "MACs (M) of one sample",
            measure,
        )
        for measure, lines in steps.lines(view.material.pruned).items()
    ]
    return {"figures": drawn, "lines": [documents.STEPPED.replace("`", "")]} if drawn else {}


def _to_cell(places: Places, up: str = "") -> Any:
    return lambda cell: f"{up}{places.shown[cell]}" if cell in places.shown else ""


def fixed() -> list[Page]:
    """How to read the marks, and the licences of what is vendored."""
    folder = files("reports.site") / "assets" / "vendor"
    vendored = [(name, version, says, (folder / file).read_text("utf-8")) for name, version, says, file in VENDORED]
    return [
        fixed_page("reading.html", "reading.html", {"title": "How to read it", "meaning": list(MEANING.items())}),
        fixed_page("licences.html", "licences.html", {"title": "Licences", "vendored": vendored}),
    ]
