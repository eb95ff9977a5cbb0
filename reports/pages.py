"""The Markdown pages: tables with the words around them. A view in, parts out; the renderer makes text of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from harness.published import load
from reports import beside, documents, familiar, tables
from reports.cells import DeviceKey, Setup, repeat_count
from reports.documents import Parts
from reports.pictures import MOST_DRAWN, Pictures
from reports.render import markdown
from reports.values import Ratio, Table
from reports.view import View
from zoo.markdown import visible
from zoo.measurement import Measurement

MOST_ROWS = 500  # of a table on one page
MOST_SUMMARY = 200  # models of a device in README.md
MOST_NAMED = 40  # models of one command line that is to be copied

# The published tables that stand beside ours; all of them: ``reports published``.
LATENCY = (
    "paddlex-classification-latency",
    "paddlex-segmentation-latency",
    "paddlex-classification-cropping",
    "paddlex-detection-cropping",
    "paddlex-segmentation-cropping",
)
ACCURACY = (
    "paddlex-classification-quantization",
    "paddlex-classification-cropping",
    "paddlex-detection-quantization",
    "paddlex-segmentation-quantization",
    "pocketflow-quantization-accuracy",
    "paddleslim-quantization-accuracy",
    "paddleslim-quantization-size",
    "paddleslim-distillation",
    "paddleslim-distil-quant",
    "paddleslim-prune-quant",
)

LEGEND = """\
- Every latency carries a mark. `✓` stands only on a number measured on the hardware named, with nothing found against
  it; `!...` says what was found. Such a number is shown and never hidden, but not to be relied on.
- Numbers in *italic* were not measured on the hardware named: `†emulated` ran in an emulator, `‡published` is taken
  from a document.
- An empty cell says why it is empty.
- Latency is the median of all samples ± the half-width of its 95% interval (a bootstrap over repeats, then samples).
  T1, T2, T4 are the threads asked for. 1 MB = 1,000,000 bytes."""

_NOTHING = "Nothing to report yet: the zoo is empty and nothing was measured. What to do next:"
COMMANDS = """\
compress list                        # what can be built
compress run mobilenetv2-quant       # build a model
harness run --device local           # measure every model of the zoo on this machine
reports build                        # then build this report again"""
NEXT_STEPS = f"{_NOTHING}\n\n{COMMANDS}"


def all_pages(
    view: View, pictures: Pictures, curves: Sequence[tuple[str, str]] = (), stepped: Sequence[tuple[str, str]] = ()
) -> dict[str, Parts]:
    """Every page by its file name; one whose tables are long goes on in others.

    Args:
        view: what is to be shown.
        pictures: for each device the (title, SVG file name) of its plots; empty without matplotlib.
        curves: the (title, SVG file name) of each plot of a search's sensitivity curves.
        stepped: the same of networks pruned step by step.
    """
    whole = {
        "README.md": readme(view, pictures),
        "latency.md": latency_page(view),
        "quantization.md": quantization_page(view),
        "accuracy.md": accuracy_page(view),
        "pruning.md": (*documents.pruning(view), *_stepped(view, stepped), *_sensitivity(curves)),
        "threads.md": documents.threads(view),
        "gpu.md": documents.gpu(view),
        "amc.md": documents.amc(view),
        "fastest.md": documents.fastest(view),
        "status.md": documents.status_page(view),
        "published.md": documents.everything_published(),
    }
    return {name: page for first, parts in whole.items() for name, page in split(first, parts).items()}


def split(name: str, parts: Parts) -> dict[str, Parts]:
    """A page, and those it goes on in: a table of more than :data:`MOST_ROWS` rows keeps its first ones.

    A code host shows no Markdown file of more than half a megabyte, and no reader reads one.
    """
    stem = name.removesuffix(".md")
    pages: dict[str, Parts] = {}
    kept: list[str | Table] = []
    for part in parts:
        if isinstance(part, str) or len(part.rows) <= MOST_ROWS:
            kept.append(part)
            continue
        rows = len(part.rows)
        starts = range(0, rows, MOST_ROWS)
        names = [f"{stem}-{len(pages) + number + 1}.md" for number in range(1, len(starts))]
        for number, start in enumerate(starts):
            told = f"Rows {start + 1:,} to {min(start + MOST_ROWS, rows):,} of {rows:,}."
            links = [
                f"[{word}]({target})"
                for word, target in (("before", [name, *names][number - 1]), ("next", [*names, ""][number]))
                if target and (number or word == "next")
            ]
            piece = replace(part, rows=part.rows[start : start + MOST_ROWS])
            text = " ".join([told, *links])
            if number == 0:
                kept += [text, piece]
            else:
                pages[names[number - 1]] = (f"# {markdown.escape(part.title)}", text, piece)
    return {name: tuple(kept), **pages}


def _stepped(view: View, stepped: Sequence[tuple[str, str]]) -> Parts:
    if not view.material.pruned:
        return ()
    tables_ = documents.stepped(view)
    told = tuple(part for table in tables_ for part in (f"### {markdown.escape(table.title)}", table))
    pictures_ = (f"![{markdown.escape(title)}]({file})" for title, file in stepped)
    return ("## Pruned step by step", documents.STEPPED, *pictures_, *told)


def _sensitivity(curves: Sequence[tuple[str, str]]) -> Parts:
    if not curves:
        return ()
    words = (
        "Top-1 on the held-out split while one group of channels after the other is pruned and nothing is trained: "
        "what the search by sensitivity measured before it chose."
    )
    return ("## Sensitivity", words, *(f"![{markdown.escape(title)}]({file})" for title, file in curves))


def readme(view: View, pictures: Pictures) -> Parts:
    """The overview.

    Args:
        view: what is to be shown.
        pictures: for each device the (title, SVG file name) of its plots; empty without matplotlib.
    """
    parts: list[str | Table] = ["# Models, measured"]
    if not view.material.held and not view.material.measurements:
        return (*parts, _NOTHING, f"```sh\n{COMMANDS}\n```")
    parts.append(_contents(view))
    if any(isinstance(value, Ratio) for row in documents.speed_ups(view).rows for value in row):
        stand = documents.where_ours_stand(documents.speed_ups(view))
        parts.append(f"**8-bit against 32-bit.** {stand} [All of them, the largest first](quantization.md).")
    if not view.devices:
        parts.append("No latency was measured yet. `harness run --device local` measures every model of the zoo here.")
        parts += ["## Accuracy and size", tables.accuracy(view, most=MOST_ROWS)]
    for device in view.devices:
        table = tables.summary(view, device, most=MOST_SUMMARY)
        parts += [f"## {markdown.escape(table.title)}", _facts(view, device), table]
        if len(view.cells_of(device)) > MOST_DRAWN:
            parts.append(f"No plots: they would show more than {MOST_DRAWN} cells.")
        for title, file in pictures.get(device, []):
            parts.append(f"![{markdown.escape(title)}]({file})")
    if view.devices:
        parts += ["## How to read it", f"{LEGEND}\n{_speed_up_words()}"]
    parts += [_how_measured(view), _where(view), _again(view)]
    return tuple(part for part in parts if part)


def latency_page(view: View) -> Parts:
    """Latency by device, model, strategy, ABI and threads, ours and theirs; every cell and what it is traced by."""
    beside_each_other = [
        part for table in familiar.side_by_side(view) for part in (f"## {markdown.escape(table.title)}", table)
    ]
    notes = "\n".join(f"- {markdown.escape(note)}" for name in LATENCY for note in beside.notes(load(name)))
    return (
        "# Latency (ms), median ± half-width of the 95% interval",
        *beside_each_other,
        "## How to read it",
        LEGEND,
        f"About the published rows:\n\n{notes}",
        "## Every cell",
        _cells_words(),
        tables.every_cell(view),
    )


def quantization_page(view: View) -> Parts:
    """Quantization, and how to read it."""
    return (*documents.quantization(view), "## How to read it", f"{LEGEND}\n{_speed_up_words()}")


def accuracy_page(view: View) -> Parts:
    """Accuracy, size and strategy with the differences to the parent."""
    table = tables.accuracy(view)
    words = (
        "Δ to parent is in points, with Newcombe's 95% interval for two independent shares; both files answered the "
        "same samples, so the true interval is narrower. An interval that holds 0 shows no difference. "
        "1 MB = 1,000,000 bytes."
    )
    published = _published([beside.as_table(load(name)) for name in ACCURACY])
    return (f"# {table.title}", "## In the zoo", table, words, *published)


def _published(published: Sequence[Table]) -> Parts:
    return tuple(part for table in published for part in (f"## {markdown.escape(table.title)}", table))


def _contents(view: View) -> str:
    models, cells, devices = len(view.material.held), len(view.material.measurements), len(view.devices)
    counted = f"{_plural(models, 'model')}, {_plural(cells, 'cell')} measured, {_plural(devices, 'device')}."
    return (
        f"{counted} Beside the published figures: [latency by ABI and threads, and every cell](latency.md), "
        "[latency by threads](threads.md), [quantization speed-up](quantization.md), [accuracy and size](accuracy.md), "
        "[pruning](pruning.md), [GPU](gpu.md), [AMC](amc.md). [The fastest published](fastest.md), [every published "
        "table](published.md), and [the status of each of their rows here](status.md)."
    )


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _facts(view: View, device: DeviceKey) -> str:
    """The device as probed, by its newest cell."""
    newest = max(view.cells_of(device), key=lambda cell: (cell.time, cell.job_key))
    facts = newest.device
    found = []
    if facts.soc:
        found.append(facts.soc)
    if facts.model and facts.model != facts.soc:
        found.append(facts.model)
    clusters = [cluster for cluster in facts.clusters if cluster.core or cluster.max_mhz]
    if facts.cores and not clusters:
        found.append(_plural(facts.cores, "core"))
    for cluster in clusters:
        speed = f" at up to {cluster.max_mhz:g} MHz" if cluster.max_mhz else ""
        found.append(f"{_plural(len(cluster.cpus), 'core')}{f' {cluster.core}' if cluster.core else ''}{speed}")
    if facts.ram_bytes:
        found.append(f"{facts.ram_bytes / 2**30:.1f} GiB memory")
    if facts.os_build:
        found.append(facts.os_build)
    if facts.kernel:
        found.append(f"kernel {facts.kernel}")
    if facts.abis:
        found.append(f"ABIs {', '.join(facts.abis)}")
    text = markdown.escape("; ".join(found) or "nothing is known of this device")
    return f"{text}. Fingerprint {markdown.code(device.fingerprint[:12])}."


def _speed_up_words() -> str:
    return (
        "- Speed-up is the parent's median over the model's, both measured alike (device, ABI, threads, affinity, "
        "runner, protocol), with the 95% interval that follows from those of the two medians. A mark behind it names "
        "the cell that is not valid; where the two were not measured alike there is no speed-up."
    )


def _cells_words() -> str:
    return (
        "A cell is named by the first 12 hex digits of its job key; `cells.json` holds it under that name with every "
        "raw sample in nanoseconds. Where a cell was measured more than once the newest valid one is shown in the "
        "tables (hardware before emulated); the others are listed here too."
    )


def _how_measured(view: View) -> str:
    if not view.devices:
        return ""
    parts = ["## How it was measured"]
    for device in view.devices:
        lines = [f"- {_setup(view, device, setup, mine)}" for setup, mine in view.setups(device).items()]
        parts.append(f"On {markdown.escape(view.title(device))}:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _setup(view: View, device: DeviceKey, setup: Setup, cells: Sequence[Measurement]) -> str:
    letter = view.letters[device, setup]
    repeats = sorted({repeat_count(cell) for cell in cells if cell.summary}) or [0]
    counted = str(repeats[0]) if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    runner = f"{setup.runner} {setup.version}" + (f", {setup.runtime}" if setup.runtime else "")
    delegate = f", delegate {setup.delegate}" if setup.delegate else ""
    return (
        (f"({letter}) " if letter else "")
        + f"{setup.warmup} warm-up and {setup.runs} measured runs, {counted} repeats each in a process of its own; "
        + f"runner {markdown.escape(runner)}{markdown.escape(delegate)}, "
        + f"binary SHA-256 {markdown.code(setup.binary_sha256[:12])}"
        + "".join(f", {markdown.code(f'{name}={value}')}" for name, value in setup.options)
        + "; "
        + f"{_plural(len(cells), 'cell')}, {min(c.time for c in cells)} to {max(c.time for c in cells)}."
    )


def _where(view: View) -> str:
    if not view.material.measurements:
        return ""
    return "## Where the numbers come from\n\n" + _cells_words() + " [The list of cells](latency.md#every-cell)."


def _again(view: View) -> str:
    """Commands that measure the same again, one per device and set-up."""
    lines = []
    for device in view.devices:
        for cells in view.setups(device).values():
            ours = [cell for cell in cells if cell.provenance != "published"]
            if ours:
                lines.append(_command(device, ours))
    names = sorted({item.artifact.name for item in view.material.held})
    if names:
        lines.append(f"zoo pull {shlex.quote(names[0])} --to out    # the file itself; sha256sum gives its digest")
    lines.append("reports build")
    return "## Do it again\n\n```sh\n" + "\n".join(dict.fromkeys(lines)) + "\n```"


def _command(device: DeviceKey, cells: Sequence[Measurement]) -> str:
    models = sorted({cell.model for cell in cells})
    threads = ",".join(str(count) for count in sorted({cell.threads_requested for cell in cells}))
    abis = ",".join(sorted({cell.abi for cell in cells}))
    repeats = max(repeat_count(cell) for cell in cells)
    argv = ["harness", "run", "--device", device.name]
    for model in models[:MOST_NAMED]:
        argv += ["--model", model]
    argv += ["--abi", abis, "--threads", threads, "--warmup", str(cells[0].warmup), "--runs", str(cells[0].runs)]
    if repeats:
        argv += ["--repeats", str(repeats)]
    for name, value in cells[0].options:
        argv += ["--option", f"{name}={value}"]
    # Quoted for the shell; a name that could end the fenced block cannot: names have no backticks or newlines, and a
    # device's name is checked by the inventory, but records of others are not trusted here.
    line = " ".join(shlex.quote(visible(part).replace("`", "?")) for part in [*argv, "--fresh"])
    more = len(models) - MOST_NAMED
    return f"{line}  # and {_plural(more, 'more model')}: those of latency.md" if more > 0 else line
