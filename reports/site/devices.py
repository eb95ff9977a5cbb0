"""The pages of devices: the list of all, and one for each with its facts, conditions, cells and history. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reports import drawings, tables
from reports.cells import DeviceKey, Held, believable, cell_id, repeat_count, split_name
from reports.folder import key_of
from reports.numbers import ms_text
from reports.rows import Rows
from reports.site import figures, words
from reports.site.grid import Address, Grid, Heading, Shown, grid_of
from reports.site.models import failed_or
from reports.site.page import Context, Long, Page, Script, long_table
from reports.site.places import Places, relative
from reports.values import Table
from reports.view import View
from zoo.measurement import Measurement

LIST = (
    Heading("Device"),
    Heading("SoC", filter="choice"),
    Heading("Cores"),
    Heading("ABIs"),
    Heading("Numbers are", filter="choice"),
    Heading("Models", "right"),
    Heading("Measurements", "right"),
    Heading("Newest (UTC)"),
)
CELLS = (
    Heading("Model", filter="choice"),
    Heading("Strategy", filter="choice"),
    Heading("ABI", filter="choice"),
    Heading("Threads", "right", "choice"),
    Heading("Latency (ms)", "right"),
    Heading("99th percentile", "right"),
    Heading("Verdict", filter="choice"),
    Heading("Why"),
    Heading("Runs × repeats"),
    Heading("Time (UTC)"),
    Heading("Cell"),
)
MOST_MODELS = 2_000  # in the table of a device; all measurements are in the next table
MOST_HISTORIES = 240  # cells among which those that moved most are looked for
EMULATED = (
    "This device is emulated. Its numbers say that a model runs and computes the same; they say nothing about the "
    "speed of the device it imitates."
)


def provenance(cells: Sequence[Measurement]) -> tuple[str, str]:
    """How a device's numbers came about in a word, and the class of its mark."""
    kinds = {"emulated" if c.verdict.name == "emulated" else c.provenance for c in cells}
    if kinds == {"hardware"}:
        return "measured", "ok"
    names = {"hardware": "measured", "emulated": "†emulated", "published": "‡published"}
    return " and ".join(names[kind] for kind in sorted(kinds)), "second"


def brief(cells: Sequence[Measurement]) -> str:
    """A device in one line, by its newest cell."""
    newest = max(cells, key=lambda cell: (cell.time, cell.job_key)).device
    facts = dict(words.device(newest))
    cores = [value for name, value in facts.items() if name == "Cores" or name.startswith("Cluster")]
    cores = [f"{value} cores" if value.isdigit() else value for value in cores]
    parts = [facts.get("SoC"), facts.get("Model"), *cores, facts.get("Memory"), facts.get("System")]
    return "; ".join(part for part in dict.fromkeys(parts) if part) or "nothing is known of this device"


def grid(view: View, places: Places) -> Grid:
    """Every device, hardware first."""
    rows = []
    for device in view.devices:
        cells = view.cells_of(device)
        newest = max(cells, key=lambda cell: (cell.time, cell.job_key))
        kind, _ = provenance(cells)
        models = len({cell.artifact_sha256 for cell in cells})
        rows.append(
            (
                Shown(
                    view.title(device), remark=newest.device.model or "", href=places.devices[device], order=device.name
                ),
                Shown(newest.device.soc) if newest.device.soc else Shown("not known", empty=True),
                Shown(str(newest.device.cores), order=float(newest.device.cores))
                if newest.device.cores
                else Shown("not known", empty=True),
                Shown(", ".join(newest.device.abis)),
                Shown(kind),
                Shown(f"{models:,}", order=float(models)),
                Shown(f"{len(cells):,}", order=float(len(cells))),
                Shown(newest.time, order=newest.time),
            )
        )
    return Grid("devices", "Devices", LIST, tuple(rows))


def plots(
    view: View, device: DeviceKey, places: Places, page: str, stills: Collection[str], *, all_kinds: bool = True
) -> list[figures.Figure]:
    """The interactive plots of a device.

    Args:
        view: the material.
        device: whose plots.
        places: the address of every page.
        page: that the plots stand on.
        stills: names of the pictures there are under ``plots/``.
        all_kinds: all of them, or accuracy against latency alone.
    """
    slug = dict(view.slugs())[device]
    links: dict[str, str] = {}
    for digest, address in places.models.items():
        links.setdefault(view.material.by_digest[digest].artifact.name, relative(address, page))

    def still(name: str) -> str:
        return f"plots/{name}.svg" if f"{name}.svg" in stills else ""

    found = []
    for abi, drawn in drawings.trades(view, device):
        name = f"accuracy-latency-{slug}-{abi}"
        found.append(figures.trade(name, drawn, links, still(name)))
    if not all_kinds:
        return found
    for abi, scaling in drawings.scalings(view, device):
        name = f"threads-{slug}-{abi}"
        found.append(figures.scaling(name, scaling, still(name)))
    for abi, drawn in drawings.costs(view, device):
        name = f"macs-latency-{slug}-{abi}"
        found.append(figures.costs(name, drawn, links, still(name)))
    return found


def pages(view: View, device: DeviceKey, places: Places, stills: Collection[str]) -> tuple[list[Page], list[Script]]:
    """The page of a device, the further pages of its tables, and their rows as scripts."""
    cells = view.cells_of(device)
    address = places.devices[device]
    title = view.title(device)
    to_cell: Address = lambda cell: relative(places.shown.get(cell, ""), address)  # noqa: E731
    trail = [("devices.html", "Devices"), (address, title)]
    table = grid_of("summary", _measured(view, device), to_cell, ("Format",), places.odd)
    models = _with_links(table, view, places, address)
    all_models = long_table(address, models, "Devices", trail, none="No model of the zoo with a tag was measured here.")
    every_cell = _cells(device, view, to_cell, places.odd)
    all_cells = long_table(address, every_cell, "Devices", trail)
    all_cells_key = key_of(every_cell.rows)
    kind, css = provenance(cells)
    # Of many cells those that were measured last: each model's page has the history of its own.
    recent = sorted(cells, key=lambda cell: (cell.time, cell.job_key))[-MOST_HISTORIES:]

    def context() -> Context:
        drawn = plots(view, device, places, address, stills)
        past = drawings.histories(view.material.history(recent), recent)
        if past:
            moved = drawings.most_moved(past, 8)
            title_ = f"History on {title}"
            drawn.append(figures.lines("history", title_, moved, "Time (UTC)", "Latency (ms)", times=True))
        return {
            "title": f"{title}: device",
            "heading": title,
            "section": "Devices",
            "trail": trail[:1],
            "provenance": kind,
            "kind": css,
            "warning": EMULATED if "†" in kind else "",
            "key": _key(cells),
            "figures": drawn,
            "grids": [all_models.first(), all_cells.first()],
            "conditions": _conditions(view, cells),
            "setups": _setups(view, device),
            "facts": words.device(max(cells, key=lambda cell: (cell.time, cell.job_key)).device),
        }

    material = view.material
    key = key_of(
        "device", all_models.key, all_cells.key, dict(view.slugs())[device], sorted(stills), places.key, view.frame,
        all_cells_key, material.artifacts_key, [material.rounds.get(cell.job_key) for cell in recent],
    )  # fmt: skip
    pages_ = [Page(address, "device.html", context, key), *all_models.further, *all_cells.further]
    return pages_, [*all_models.scripts, *all_cells.scripts]


def _with_links(grid: Grid, view: View, places: Places, page: str) -> Grid:
    """The first column, the model, leads to its page."""
    by_name: dict[str, str] = {}
    for digest, address in places.models.items():
        name = view.material.by_digest[digest].artifact.name
        by_name.setdefault(name, relative(address, page))
        by_name[f"{name}@{digest[:8]}"] = relative(address, page)

    def linked(_: Held | None, row: tuple[Shown, ...]) -> tuple[Shown, ...]:
        return (Shown(row[0].text, href=by_name.get(row[0].text, ""), order=row[0].text), *row[1:])

    rows: Sequence[tuple[Shown, ...]]
    if isinstance(grid.rows, Rows):
        rows = grid.rows.map(linked, says=lambda item: places.models.get(item.artifact.digest, ""))
    else:
        rows = tuple(linked(None, row) for row in grid.rows)
    return Grid(grid.name, f"Models on {grid.caption}", grid.columns, rows, grid.notes, grid.legend)


def _measured(view: View, device: DeviceKey) -> Table:
    """The device's models, without those that nobody measured on it."""
    return tables.summary(view, device, most=MOST_MODELS, measured=True)


def summary(view: View, device: DeviceKey, places: Places, page: str) -> Long:
    """The table of a device's models as another page shows it."""
    to_cell: Address = lambda cell: relative(places.shown.get(cell, ""), page)  # noqa: E731
    slug = dict(view.slugs())[device]
    table = grid_of(f"summary-{slug}", _measured(view, device), to_cell, (), places.odd)
    return long_table(page, _with_links(table, view, places, page), "Overview")


def _cells(device: DeviceKey, view: View, to_cell: Address, odd: str) -> Grid:
    def row(cell: Measurement) -> tuple[Shown, ...]:
        model, strategy = split_name(cell.model)
        p99 = cell.summary.p99_ms if cell.summary else None
        return (
            Shown(model),
            Shown(strategy),
            Shown(cell.abi),
            Shown(str(cell.threads_requested), order=float(cell.threads_requested)),
            failed_or(cell, view, to_cell),
            Shown(ms_text(p99), order=p99) if p99 is not None else Shown("not known", empty=True),
            Shown(cell.verdict.name),
            Shown(tables.reason(cell)),
            Shown(f"{cell.runs:,} × {repeat_count(cell)}"),
            Shown(cell.time, order=cell.time),
            Shown(cell_id(cell), href=to_cell(cell_id(cell)), code=True),
        )

    ordered = view.ordered(device)
    signs = view.material.signs
    says = [signs[cell.job_key, cell.time] for cell in ordered]
    rows = Rows(ordered, says, row, f"{odd} {view.frame}")
    return Grid("cells", "Every measurement", CELLS, rows)


def _key(cells: Sequence[Measurement]) -> list[tuple[str, str, str]]:
    good = sum(believable(cell) for cell in cells)
    facts = dict(words.device(max(cells, key=lambda cell: (cell.time, cell.job_key)).device))
    found = [("Measurements", f"{len(cells):,}", f"{good:,} valid")]
    found.append(("Models", f"{len({cell.artifact_sha256 for cell in cells}):,}", ""))
    found += [(name, facts[name], "") for name in ("SoC", "Memory") if name in facts]
    return found


def _conditions(view: View, cells: Sequence[Measurement]) -> list[str]:
    """The device around its newest measurement, and how far conditions went while all of these ran."""
    newest = max(cells, key=lambda cell: (cell.time, cell.job_key))
    found = []
    for whole in view.material.whole([newest]):
        for repeat in whole.repeats[:1]:
            found.append(f"Before the newest measurement ({newest.time}): {words.conditions(repeat.before)}.")
        for repeat in whole.repeats[-1:]:
            found.append(f"After it: {words.conditions(repeat.after)}.")
    names = [cell.verdict.name for cell in cells]
    counted = ", ".join(
        f"{names.count(name)} {name}" for name in sorted(set(names), key=lambda n: (-names.count(n), n))
    )
    found.append(f"Verdicts: {counted}. Each measurement's page has the figures behind its verdict.")
    return found


def _setups(view: View, device: DeviceKey) -> list[str]:
    found = []
    for setup, mine in view.setups(device).items():
        letter = view.letters.get((device, setup), "")
        delegate = f", delegate {setup.delegate}" if setup.delegate else ""
        options = "".join(f", {name}={value}" for name, value in setup.options)
        found.append(
            (f"({letter}) " if letter else "")
            + f"{setup.warmup} warm-up and {setup.runs} measured runs; runner {setup.runner} {setup.version}"
            + (f", {setup.runtime}" if setup.runtime else "")
            + f"{delegate}{options}, binary SHA-256 {setup.binary_sha256[:12]}; {words.plural(len(mine), 'cell')}, "
            + f"{min(c.time for c in mine)} to {max(c.time for c in mine)}."
        )
    return found
