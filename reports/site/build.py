"""Put the site into a report's folder: pages, the rows of long tables as scripts, assets, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable

from reports import drawings, figures
from reports.cells import CELL_ID, device_of
from reports.folder import Folder, key_of
from reports.render import plots
from reports.site import devices, measurements, models, overview
from reports.site.page import Context, Page, Script, draw
from reports.site.places import Places, places
from reports.view import View
from zoo.measurement import Measurement

TOP = "site/"
AT_ONCE = 128  # measurements whose samples are in memory


def build(view: View, folder: Folder) -> None:
    """Add the site to a report, under ``site/``: that folder alone is all that a web server or a reader needs.

    Args:
        view: what is to be shown.
        folder: of the report; what is on disk under the same key is not drawn again.
    """
    placed = places(view)
    for name, data in _assets():
        folder.add(TOP + name, key_of("asset", data), lambda data=data: data)  # type: ignore[misc]
    stills = _stills(view, folder)
    pages, scripts = _pages(view, placed, stills)
    for script in scripts:
        folder.add(TOP + script.address, script.key, script.make)
    for page in [*pages, *_model_pages(view, placed), *_measurement_pages(view, placed)]:
        folder.add(TOP + page.address, page.key, partial(draw, page))


def _stills(view: View, folder: Folder) -> frozenset[str]:
    """Accuracy against latency for readers without JavaScript, by name; what other plots show is in tables as well."""
    if not plots.available():
        return frozenset()
    found = set()

    def add(name: str, figures: object, make: Callable[[], plots.Picture]) -> None:
        folder.add(f"{TOP}plots/{name}.svg", key_of("still", figures), lambda: make()["svg"])
        found.add(f"{name}.svg")

    for device, slug in view.slugs():
        for abi, drawn in drawings.trades(view, device):
            add(f"accuracy-latency-{slug}-{abi}", drawn, partial(plots.trade, drawn))
    return frozenset(found)


def _pages(view: View, placed: Places, stills: frozenset[str]) -> tuple[list[Page], list[Script]]:
    """Every page but those of models and measurements, and the rows of long tables as scripts."""
    published = figures.tables()
    pages = [overview.overview(view, placed, stills, published), *overview.fixed()]
    scripts: list[Script] = []
    several = [
        overview.choosing(view, placed),
        overview.listing(view, placed),
        overview.comparisons(view, placed, published),
        overview.publications(published),
        overview.familiar(view, placed),
        *(devices.pages(view, device, placed, stills) for device in view.devices),
    ]
    for more, rows in several:
        pages += more
        scripts += rows
    return pages, scripts


def _model_pages(view: View, placed: Places) -> Iterator[Page]:
    made = models.children(view)
    by_model: dict[str, list[Measurement]] = {}
    for cell in view.best.values():
        by_model.setdefault(cell.artifact_sha256, []).append(cell)
    told = view.material.history(tuple(view.best.values()))
    for digest, held in view.material.by_digest.items():
        cells = sorted(by_model.get(digest, ()), key=lambda cell: (cell.job_key, cell.time))
        key = key_of(
            "model",
            held,
            [(cell, [(past.time, past.verdict) for past in told.get(cell.job_key, ())]) for cell in cells],
            [_neighbours(cell, view, placed) for cell in cells],
            [(child.name, child.digest, child.parent, placed.models[child.digest]) for child in made.get(digest, ())],
            _line(view, digest, placed),
        )
        context: Callable[[], Context] = partial(models.context, held, cells, view, placed, made, told)
        yield Page(placed.models[digest], "model.html", context, key)


def _line(view: View, digest: str, placed: Places) -> list[object]:
    """What the page of a model tells of its ancestors."""
    found: list[object] = []
    seen: set[str] = set()
    held = view.material.by_digest.get(digest)
    while held is not None and held.artifact.digest not in seen:
        one = held.artifact
        seen.add(one.digest)
        found.append((one.name, one.accuracy, one.size_bytes, one.parent, placed.models[one.digest]))
        held = view.material.by_digest.get(one.parent.digest) if one.parent else None
    return found


def _measurement_pages(view: View, placed: Places) -> Iterator[Page]:
    titles = {device: view.title(device) for device in view.devices}
    cells = sorted(view.material.measurements, key=lambda c: (c.job_key, c.time))
    reader = _Reader(view, cells)

    def context(number: int) -> Context:
        whole = reader.whole(number)
        return measurements.context(whole, titles[device_of(whole)], placed)

    for number, cell in enumerate(cells):
        key = key_of("measurement", cell, titles[device_of(cell)], _neighbours(cell, view, placed))
        yield Page(placed.cell(cell), "measurement.html", partial(context, number), key)


class _Reader:
    """Measurements with their samples, read some at a time as their pages are drawn one after the other."""

    def __init__(self, view: View, cells: Sequence[Measurement]) -> None:
        self._view, self._cells = view, cells
        self._first, self._held = 0, tuple[Measurement, ...]()

    def whole(self, number: int) -> Measurement:
        """One of the cells, by its place."""
        if not self._first <= number < self._first + len(self._held):
            self._first = number
            self._held = tuple(self._view.material.whole(self._cells[number : number + AT_ONCE]))
        return self._held[number - self._first]


def _neighbours(cell: Measurement, view: View, placed: Places) -> tuple[object, ...]:
    """Where the page of a cell, or of its model, leads to."""
    device = device_of(cell)
    return (
        placed.shown.get(cell.job_key[:CELL_ID], ""),
        placed.devices.get(device, ""),
        placed.models.get(cell.artifact_sha256, ""),
        view.title(device),
    )


def _assets() -> Iterator[tuple[str, bytes]]:
    yield from _inside(files("reports.site") / "assets", "assets")


def _inside(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _inside(item, f"{name}/{item.name}")
        else:
            yield f"{name}/{item.name}", item.read_bytes()
