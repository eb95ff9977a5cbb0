"""The pages of models: the list of all, and one for each with its card, lineage, recipe and how to get it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from reports.cells import Held, cell_id, marks, split_name
from reports.compare import accuracy_change, headline, parent_of, score, size_change
from reports.drawings import Bar, Scaling, histories, most_sensitive
from reports.numbers import ms_text
from reports.render import wording
from reports.rows import Rows
from reports.site import figures, words
from reports.site.grid import Address, Grid, Heading, Shown, shown
from reports.site.page import Context, part
from reports.site.places import Places, relative
from reports.values import Missing, Size
from reports.view import View
from zoo.artifact import Accuracy, Artifact
from zoo.markdown import visible
from zoo.measurement import Measurement
from zoo.past import Past

Children = Mapping[str, Sequence[Artifact]]
COLUMNS = (
    Heading("Model"),
    Heading("Strategy", filter="choice"),
    Heading("Format", filter="choice"),
    Heading("Accuracy", "right", "least"),
    Heading("Δ to parent", "right"),
    Heading("Size (MB)", "right", "most"),
    Heading("Δ size", "right"),
    Heading("MACs (M)", "right", "most"),
    Heading("Parent"),
    Heading("Measured on"),
)
MOST_CURVES = 12  # of one plot
CELLS = (
    Heading("Device", filter="choice"),
    Heading("ABI", filter="choice"),
    Heading("Threads", "right", "choice"),
    Heading("Latency (ms)", "right"),
    Heading("90th percentile", "right"),
    Heading("Runner"),
    Heading("Time (UTC)"),
)


def grid(view: View, places: Places) -> Grid:
    """Every model of the zoo, each parent before what was made from it."""
    by_model: dict[str, list[str]] = {}
    for cell in view.best.values():
        if cell.summary is not None and cell.device.name not in by_model.setdefault(cell.artifact_sha256, []):
            by_model[cell.artifact_sha256].append(cell.device.name)

    def row(item: Held) -> tuple[Shown, ...]:
        artifact, parent = item.artifact, parent_of(view.material, item)
        found = headline(artifact)
        devices = sorted(by_model.get(artifact.digest, []))
        return (
            Shown(
                artifact.name,
                remark=", ".join(item.tags) or artifact.digest[:8],
                href=places.models[artifact.digest],
                order=artifact.name,
            ),
            Shown(split_name(artifact.name)[1]),
            Shown(artifact.format),
            shown(score(found, artifact.digest), _nowhere) if found else Shown("not measured", empty=True),
            shown(accuracy_change(artifact, parent), _nowhere),
            shown(Size(artifact.size_bytes), _nowhere),
            shown(size_change(artifact, parent), _nowhere),
            Shown(f"{artifact.macs / 1e6:.1f}", order=artifact.macs / 1e6)
            if artifact.macs is not None
            else Shown("not recorded", empty=True),
            _parent(artifact, places),
            Shown(", ".join(devices[:4]) + (f" and {len(devices) - 4} more" if len(devices) > 4 else ""))
            if devices
            else Shown("not measured", empty=True),
        )

    def says(item: Held) -> str:
        digest, parent = item.artifact.digest, item.artifact.parent.digest if item.artifact.parent else ""
        signs, pages = view.material.artifact_signs, places.models
        told = (signs[digest], signs.get(parent, ""), pages[digest], pages.get(parent, ""))
        return f"{told} {by_model.get(digest)}"

    rows = Rows(view.order, list(map(says, view.order)), row)
    return Grid("models", "Models of the zoo", COLUMNS, rows)


def _nowhere(_: str) -> str:
    return ""


def _parent(artifact: Artifact, places: Places) -> Shown:
    if artifact.parent is None:
        return Shown("none", empty=True)
    return Shown(artifact.parent.name, href=places.models.get(artifact.parent.digest, ""), order=artifact.parent.name)


def children(view: View) -> Children:
    """What was made from each artifact, by its digest."""
    found: dict[str, list[Artifact]] = {}
    for item in view.material.held:
        if item.artifact.parent is not None:
            found.setdefault(item.artifact.parent.digest, []).append(item.artifact)
    return found


def context(
    item: Held,
    cells: Sequence[Measurement],
    view: View,
    places: Places,
    made: Children,
    told: Mapping[str, Sequence[Past]],
) -> Context:
    """What the page of a model shows.

    Args:
        item: the model.
        cells: the cells shown for it, one per place.
        view: everything else.
        places: the address of every page.
        made: from :func:`children`.
        told: every known round of these cells, by job key.
    """
    artifact = item.artifact
    page = places.models[artifact.digest]
    found = headline(artifact)
    model, strategy = split_name(artifact.name)
    what = f"{artifact.format} model" + (f" for {artifact.task}" if artifact.task else "")
    what += f", {model} {strategy}" if strategy != "none" else ""
    key: list[tuple[str, str, str]] = []
    if found is not None:
        drawn = score(found, artifact.digest)
        key.append((found.metric, wording.figure(drawn), f"{wording.basis(drawn)} {' '.join(drawn.marks)}".strip()))
    key += [(label, value, "") for label, value in words.key_figures(artifact)]
    change = accuracy_change(artifact, parent_of(view.material, item))
    if not isinstance(change, Missing):
        key.append(("Δ to parent", wording.figure(change), "points"))
    drawn_figures = _bars(artifact, cells)
    past = histories(told, cells)
    if past:
        title = f"History of {artifact.name}"
        drawn_figures.append(figures.lines("history", title, past, "Time (UTC)", "Latency (ms)", times=True))
    searched = [
        figures.sensitivity(f"sensitivity-{number}", most_sensitive(drawn, MOST_CURVES))
        for number, drawn in enumerate(view.material.curves.get(artifact.digest, ()), 1)
    ]
    return {
        "title": artifact.name,
        "section": "Models",
        "trail": [("models.html", "Models")],
        "name": artifact.name,
        "what": what,
        "tags": item.tags,
        "key": key,
        "pull": _pull(item),
        "file": artifact.files[0].name,
        "digest": artifact.digest,
        "figures": [*drawn_figures, *searched],
        "plots": drawn_figures,
        "curves": searched,
        "grids": [part(_cells(cells, view, places, page))] if cells else [],
        "accuracy": [_accuracy(artifact, one) for one in artifact.accuracy],
        "chain": _chain(item, view, places),
        "children": [
            (child.name, places.models.get(child.digest, ""), child.parent.relation if child.parent else "")
            for child in sorted(made.get(artifact.digest, ()), key=lambda child: (child.name, child.digest))
        ],
        "recipe": artifact.recipe,
        "versions": words.versions(artifact.versions, artifact.seed),
        "facts": _facts(artifact),
        "tensors": [("input", words.tensor(t)) for t in artifact.inputs]
        + [("output", words.tensor(t)) for t in artifact.outputs],
        "operators": sorted(((n, name) for name, n in artifact.operators.items()), key=lambda o: (-o[0], o[1])),
        "notes": artifact.notes,
    }


def _pull(item: Held) -> str:
    name = item.artifact.name
    wanted = name if not item.tags or "latest" in item.tags else f"{name}:{item.tags[0]}"
    exact = wanted if item.tags else f"{name}@sha256:{item.artifact.digest}"
    quoted = shlex.quote(visible(exact))
    return f"zoo pull {quoted} --to out\nharness run --device local --model {quoted}"


def _cells(cells: Sequence[Measurement], view: View, places: Places, page: str) -> Grid:
    address: Address = lambda cell: relative(places.shown.get(cell, ""), page)  # noqa: E731
    rows = []
    for cell in sorted(cells, key=lambda c: (c.device.name, c.device.fingerprint, c.abi, c.threads_requested)):
        device = next(d for d in view.devices if (d.name, d.fingerprint) == (cell.device.name, cell.device.fingerprint))
        p90 = cell.summary.p90_ms if cell.summary else None
        rows.append(
            (
                Shown(view.title(device), href=relative(places.devices[device], page), order=device.name),
                Shown(cell.abi),
                Shown(str(cell.threads_requested), order=float(cell.threads_requested)),
                failed_or(cell, view, address),
                Shown(ms_text(p90), order=p90) if p90 is not None else Shown("not known", empty=True),
                Shown(f"{cell.runner.name} {cell.runner.version}"),
                Shown(cell.time, order=cell.time),
            )
        )
    return Grid("cells", "Latency by device, ABI and threads", CELLS, tuple(rows))


def failed_or(cell: Measurement, view: View, address: Address) -> Shown:
    """The latency of a cell; where it failed why, with the way to its page as well."""
    value = view.latency(cell)
    if isinstance(value, Missing):
        return Shown(value.why, href=address(cell_id(cell)), marks=marks(cell), empty=True)
    return shown(value, address)


def _bars(artifact: Artifact, cells: Sequence[Measurement]) -> list[figures.Figure]:
    groups: dict[str, list[Bar]] = {}
    for cell in sorted(cells, key=lambda c: (c.device.name, c.device.fingerprint, c.abi, c.threads_requested)):
        if cell.summary is not None:
            good = marks(cell) == ("✓",)
            bar = Bar(cell.threads_requested, cell.summary.median_ms, cell.summary.ci95_ms, good, words.mark(cell))
            groups.setdefault(f"{cell.device.name}, {cell.abi}", []).append(bar)
    if not groups:
        return []
    drawn = figures.scaling("threads", Scaling(artifact.name, tuple((name, tuple(b)) for name, b in groups.items())))
    kinds = words.plural(len(groups), "device and ABI") if len(groups) == 1 else f"{len(groups)} devices and ABIs"
    return [figures.Figure("threads", f"Latency of {visible(artifact.name)} by threads", f"{kinds}.", drawn.data)]


def _accuracy(artifact: Artifact, one: Accuracy) -> tuple[str, ...]:
    drawn = score(one, artifact.digest)
    ends = f"{drawn.low:.1f} to {drawn.high:.1f}" if drawn.low is not None and drawn.high is not None else "none"
    if one.provenance == "published":
        on = "‡published, not measured here"
    else:
        on = "this file" if one.measured_on == artifact.digest else f"another file, {one.measured_on[:12]}"
    value = f"{drawn.value:.2f}{drawn.unit}"
    return one.metric, value, ends, f"{one.samples:,}", f"{one.dataset}/{one.split}", on


def _chain(item: Held, view: View, places: Places) -> list[tuple[str, str, str, bool]]:
    """The line of ancestors down to this model: (name, page, relation to the one before, whether it is this one)."""
    found: list[tuple[str, str, str, bool]] = []
    artifact, seen = item.artifact, {item.artifact.digest}
    while True:
        parent = artifact.parent
        here = artifact.digest == item.artifact.digest
        found.append((artifact.name, places.models.get(artifact.digest, ""), parent.relation if parent else "", here))
        if parent is None:
            break
        held = view.material.by_digest.get(parent.digest)
        # A record can claim any parent, so a circle is possible.
        if held is None or parent.digest in seen:
            found.append((parent.name, places.models.get(parent.digest, ""), "", False))
            break
        seen.add(parent.digest)
        artifact = held.artifact
    return found[::-1]


def _facts(artifact: Artifact) -> list[tuple[str, str]]:
    found: list[tuple[str, Any]] = [
        (file.name, f"{file.size:,} bytes, SHA-256 {file.sha256}") for file in artifact.files
    ]
    found += [("Data set", artifact.dataset), ("Licence", artifact.licence), ("Source", artifact.source)]
    found.append(("Made", artifact.created))
    if artifact.preprocessing is not None:
        p = artifact.preprocessing
        resize = f"shorter side to {p.resize}, " if p.resize is not None else ""
        mean, std = (", ".join(f"{n:g}" for n in numbers) for numbers in (p.mean, p.std))
        fitted = f"stretched to {p.crop} x {p.crop}" if p.fit == "stretch" else f"{resize}crop {p.crop}"
        found.append(("Input from a photo", f"{fitted}, mean {mean}, std {std}, {p.layout}"))
    return [(name, value) for name, value in found if value]
