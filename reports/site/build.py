"""Put the site into a report's folder: pages, the rows of long tables as scripts, assets, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable

from reports import drawings, figures
from reports.cells import CELL_ID, device_of
from reports.folder import Folder, key_of
from reports.render import plots
from reports.site import devices, measurements, models, overview, sample_page
from reports.site.page import Page, Script, draw
from reports.site.places import Places, places
from reports.view import View
from zoo.measurement import Measurement
from zoo.past import Past

TOP = "site/"
AT_ONCE = 64  # measurements whose samples are in memory, models whose histories are


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
    for pages, scripts in _pages(view, placed, stills):
        # Rows of a long table are in both: what is drawn for the one is soon drawn for the other.
        both: list[Page | Script] = [*scripts, *pages]
        for one in sorted(both, key=lambda one: one.rows):
            make = one.make if isinstance(one, Script) else partial(draw, one)
            folder.add(TOP + one.address, one.key, make)
    leads = _leads(view, placed)
    _models(view, placed, folder, leads)
    _measurements(view, placed, folder, leads)


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


def _pages(view: View, placed: Places, stills: frozenset[str]) -> list[tuple[list[Page], list[Script]]]:
    """Every page but those of models and measurements, and the rows of long tables as scripts."""
    published = figures.tables()
    return [
        ([overview.overview(view, placed, stills, published), *overview.fixed()], []),
        overview.choosing(view, placed),
        overview.listing(view, placed),
        overview.comparisons(view, placed, published),
        overview.publications(published),
        overview.familiar(view, placed),
        *(devices.pages(view, device, placed, stills) for device in view.devices),
    ]


def _models(view: View, placed: Places, folder: Folder, leads: Mapping[tuple[str, str], str]) -> None:
    """The page of each model; histories are read for those that are drawn, some at a time."""
    made = models.children(view)
    material = view.material
    signs, of_model, rounds = material.signs, material.artifact_signs, material.rounds
    by_model: dict[str, list[Measurement]] = {}
    for cell in sorted(view.best.values(), key=lambda cell: (cell.job_key, cell.time)):
        by_model.setdefault(cell.artifact_sha256, []).append(cell)

    def page(digest: str, told: dict[str, tuple[Past, ...]]) -> bytes:
        context = partial(models.context, material.by_digest[digest], cells_of(digest), view, placed, made, told)
        return draw(Page(placed.models[digest], "model.html", context, ""))

    def cells_of(digest: str) -> list[Measurement]:
        return by_model.get(digest, [])

    def key_of_page(digest: str) -> str:
        # Rounds that are shown nowhere else are points of the history.
        told = ["model", of_model[digest], material.sign_of(digest), *_line(view, digest, placed)]
        for cell in cells_of(digest):
            key = (cell.job_key, cell.time)
            told.append(f"{signs[key]} {rounds.get(cell.job_key)} {leads[key]}")
        told += [f"{of_model[child.digest]} {placed.models[child.digest]}" for child in made.get(digest, ())]
        if digest in material.curves:
            told.append(key_of(material.curves[digest]))
        return "\x1f".join(told)

    digests = list(material.by_digest)

    def draw_some(numbers: Sequence[int]) -> Iterator[bytes]:
        batch = [digests[number] for number in numbers]
        told = material.history([cell for digest in batch for cell in cells_of(digest)])
        return (page(digest, told) for digest in batch)

    folder.add_series(((TOP + placed.models[d], key_of_page(d)) for d in digests), draw_some, AT_ONCE)


def _line(view: View, digest: str, placed: Places) -> list[str]:
    """What the page of a model tells of itself and its ancestors."""
    found: list[str] = []
    seen: set[str] = set()
    held = view.material.by_digest.get(digest)
    while held is not None and held.artifact.digest not in seen:
        one = held.artifact
        seen.add(one.digest)
        found.append(f"{view.material.artifact_signs[one.digest]} {placed.models[one.digest]}")
        held = view.material.by_digest.get(one.parent.digest) if one.parent else None
    return found


def _measurements(view: View, placed: Places, folder: Folder, leads: Mapping[tuple[str, str], str]) -> None:
    """The page of each measurement; samples are read for those that are drawn, some at a time."""
    titles = {device: view.title(device) for device in view.devices}
    material = view.material
    cells = material.measurements

    def draw_some(numbers: Sequence[int]) -> Iterator[bytes]:
        batch = [cells[number] for number in numbers]
        for cell, whole in zip(batch, material.whole(batch), strict=True):
            yield sample_page.html(placed.cell(cell), measurements.context(whole, titles[device_of(whole)], placed))

    at, signs = placed.cells, material.signs
    keys = ((cell.job_key, cell.time) for cell in cells)
    folder.add_series(((TOP + at[key], f"measurement {signs[key]} {leads[key]}") for key in keys), draw_some, AT_ONCE)


def _leads(view: View, placed: Places) -> dict[tuple[str, str], str]:
    """Where the page of each cell, or that of its model, leads to, and what it calls the device."""
    by_device = {device: key_of(placed.devices[device], view.title(device)) for device in view.devices}
    models, shown = placed.models, placed.shown
    found = {}
    for (digest, device, _, _), cells in view.material.by_place.items():
        end = f"{models.get(digest, '')} {by_device[device]}"
        for cell in cells:
            found[cell.job_key, cell.time] = f"{shown.get(cell.job_key[:CELL_ID], '')} {end}"
    return found


def _assets() -> Iterator[tuple[str, bytes]]:
    yield from _inside(files("reports.site") / "assets", "assets")


def _inside(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _inside(item, f"{name}/{item.name}")
        else:
            yield f"{name}/{item.name}", item.read_bytes()
