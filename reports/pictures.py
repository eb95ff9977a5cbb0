"""Which plots a report has, and under which names; each is drawn again only when its figures have changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from pocketzoo.command import say
from reports import drawings, steps
from reports.cells import DeviceKey
from reports.drawings import most_sensitive
from reports.folder import Folder, key_of
from reports.render import curves, plots
from reports.view import View

# A picture of hundreds of models shows nothing, and takes gigabytes to draw.
MOST_DRAWN = 240  # cells of a device: 40 models with two ABIs and three thread counts
# Of one device; with more, distributions are drawn for none of its cells, and README.md says so.
MOST_SPREADS = 60

Pictures = dict[DeviceKey, list[tuple[str, str]]]


def add(folder: Folder, view: View) -> Pictures:
    """Draw what is to be drawn; for each device the (title, SVG file name) of its plots; empty without matplotlib."""
    if not view.devices:
        return {}
    if not plots.available():
        say("warning: no plots, matplotlib is not installed; pip install 'pocketzoo[reports]'")
        return {}
    pictures: Pictures = {}

    def draw(device: DeviceKey, name: str, title: str, figures: object, make: Callable[[], plots.Picture]) -> None:
        key = key_of("plot", _version(), title, figures)
        folder.add_group(
            [f"{name}.svg", f"{name}.png"], key, lambda: {f"{name}.{kind}": data for kind, data in make().items()}
        )
        pictures.setdefault(device, []).append((title, f"{name}.svg"))

    for device, slug in view.slugs():
        if len(view.cells_of(device)) > MOST_DRAWN:
            continue
        for abi, trade in drawings.trades(view, device):
            title = f"Accuracy against latency: {trade.title}"
            draw(device, f"accuracy-latency-{slug}-{abi}", title, trade, lambda trade=trade: plots.trade(trade))  # type: ignore[misc]
        for abi, scaling in drawings.scalings(view, device):
            title = f"Latency by threads: {scaling.title}"
            draw(device, f"threads-{slug}-{abi}", title, scaling, lambda scaling=scaling: plots.scaling(scaling))  # type: ignore[misc]
        for abi, cost in drawings.costs(view, device):
            title = f"MACs against latency: {cost.title}"
            draw(device, f"macs-latency-{slug}-{abi}", title, cost, lambda cost=cost: curves.cost(cost))  # type: ignore[misc]
        cells = view.cells_of(device)
        moved = drawings.most_moved(drawings.histories(view.material.history(cells), cells), curves.MOST_LINES)
        if moved:
            title = f"History: {view.title(device)}"
            draw(
                device,
                f"history-{slug}",
                title,
                moved,
                lambda moved=moved, title=title: curves.history(moved, title),  # type: ignore[misc]
            )
        if len(view.cells_of(device)) > MOST_SPREADS:
            continue
        spreads = drawings.spreads(view, device)
        for start in range(0, len(spreads), plots.MOST_PANELS):
            number = start // plots.MOST_PANELS + 1
            many = f" ({number})" if len(spreads) > plots.MOST_PANELS else ""
            title = f"Samples of every cell: {view.title(device)}{many}"
            panels = spreads[start : start + plots.MOST_PANELS]
            draw(
                device,
                f"samples-{slug}-{number}",
                title,
                panels,
                lambda panels=panels, title=title: plots.spread(panels, title),  # type: ignore[misc]
            )
    return pictures


def sensitivities(folder: Folder, view: View) -> list[tuple[str, str]]:
    """Draw the curves of the searches that made models; the (title, SVG file name) of each."""
    found: list[tuple[str, str]] = []
    if not plots.available():
        return found
    for item in view.order:
        digest = item.artifact.digest
        for number, whole in enumerate(view.material.curves.get(digest, ()), 1):
            drawn = replace(most_sensitive(whole, curves.MOST_LINES), title=f"{item.artifact.name}: {whole.title}")
            name = f"sensitivity-{digest[:12]}-{number}"
            folder.add_group(
                [f"{name}.svg", f"{name}.png"],
                key_of("plot", _version(), drawn),
                lambda drawn=drawn, name=name: {f"{name}.{k}": data for k, data in curves.sensitivity(drawn).items()},  # type: ignore[misc]
            )
            found.append((f"Sensitivity: {drawn.title}", f"{name}.svg"))
    return found


def pruned(folder: Folder, view: View) -> list[tuple[str, str]]:
    """Draw the networks that were pruned step by step; the (title, SVG file name) of each plot."""
    found: list[tuple[str, str]] = []
    if not plots.available():
        return found
    for measure, lines in steps.lines(view.material.pruned).items():
        name = f"steps-{measure.split(' ')[0].lower()}"
        title = f"Pruned step by step: {measure.lower()} against MACs"
        folder.add_group(
            [f"{name}.svg", f"{name}.png"],
            key_of("plot", _version(), title, lines),
            lambda lines=lines, measure=measure, title=title, name=name: {  # type: ignore[misc]
                f"{name}.{kind}": data for kind, data in curves.steps(lines, measure, title).items()
            },
        )
        found.append((title, f"{name}.svg"))
    return found


def _version() -> str:
    try:
        return version("matplotlib")
    except PackageNotFoundError:
        return ""
