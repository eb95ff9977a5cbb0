"""The pages that set our models beside the rows of the five documents. A view in, parts out."""

from __future__ import annotations

from collections.abc import Sequence

from harness.published import load
from reports import beside, familiar, figures, status, steps, tables
from reports.render import markdown
from reports.values import Ratio, Table, Text
from reports.view import View

Parts = tuple[str | Table, ...]

SPEED_UP = "pocketflow-quantization-speedup"
PRUNED = ("torch-pruning-resnet56", "torch-pruning-vgg19")
OTHER_PRUNED = (
    "pocketflow-channel-pruning",
    "pocketflow-weight-sparsification",
    "paddleslim-uniform-pruning",
    "paddleslim-sensitivity-iterative",
    "paddleslim-sensitivity-one-step",
    "paddleslim-sensitivity-stepwise",
    "paddlex-classification-cropping",
    "paddlex-detection-cropping",
    "paddlex-segmentation-cropping",
)
ON_GPU = (
    "paddlex-classification-quantization",
    "paddlex-classification-cropping",
    "paddlex-detection-cropping",
    "paddlex-segmentation-cropping",
)
THEIRS = (
    "Figures of documents are as printed, in *italic* and marked `‡published`: they were measured by others, on their "
    "devices and data, and none of them was checked here."
)


def quantization(view: View) -> Parts:
    """32-bit against 8-bit: measured here, then as documents published it; and where ours stand among them."""
    published = load(SPEED_UP)
    table = speed_ups(view)
    notes = "\n".join(f"- {markdown.escape(note)}" for note in beside.notes(published))
    return (
        f"# {table.title}",
        where_ours_stand(table),
        table,
        f"About the published rows:\n\n{notes}",
        "## The largest first",
        familiar.ranked(table),
    )


def speed_ups(view: View) -> Table:
    """Our speed-ups by quantization, and below them those that PocketFlow published."""
    return view.remember("speed-ups", lambda: tables.quantization(view, beside.quantization_rows(load(SPEED_UP))))


def where_ours_stand(speed_ups: Table) -> str:
    """One sentence: the range of our speed-ups that can be believed on hardware, and that of the document."""
    where = [column.heading for column in speed_ups.columns].index("Speed-up")
    ours = [row[where] for row in speed_ups.rows]
    good = [value.value for value in ours if isinstance(value, Ratio) and not value.caveats]
    theirs = [float(value.text.rstrip("x×")) for value in ours if isinstance(value, Text)]
    told = f"PocketFlow published {min(theirs):.2f}x to {max(theirs):.2f}x on its phones."
    if not good:
        return f"No speed-up was measured on hardware yet without a mark against it. {told}"
    among = sum(one < max(good) for one in theirs)
    return (
        f"Measured here on hardware, with no mark against it: {min(good):.2f}× to {max(good):.2f}×. {told} "
        f"Our largest is above {among} of its {len(theirs)}. Another device, another runtime: the ratio is what can be "
        "compared, and that with care."
    )


def pruning(view: View) -> Parts:
    """Method, base, pruned, delta, speed-up; then the pruning tables of other form."""
    parts: list[str | Table] = ["# Pruning", _SPEED_UP_WORDS, THEIRS]
    for table in familiar.pruning(view, [load(name) for name in PRUNED]):
        parts += [f"## {markdown.escape(table.title)}", table]
    return (*parts, *_tables(OTHER_PRUNED))


def stepped(view: View) -> list[Table]:
    """Networks pruned step by step and measured at each, as Torch-Pruning's latency test does it."""
    return [steps.table(drawn) for drawn in view.material.pruned]


STEPPED = (
    "All layers of a network lose the same share of their channels, step by step, and every step is measured as it is, "
    "untrained: what a network takes is decided by its structure. `compress curve RECIPE --device D --out FILE.json` "
    "measures one, `reports build --curve FILE.json` shows it here."
)
_SPEED_UP_WORDS = (
    "Speed Up is MACs before over MACs after, as Torch-Pruning counts it; it is no latency. Δ is in points; ours has "
    "its 95% interval (Newcombe). Measured latencies of the same models are in [latency.md](latency.md)."
)


def threads(view: View) -> Parts:
    """Thread1/Thread2/Thread4 lines, by device and ABI."""
    parts: list[str | Table] = ["# Latency by threads", THEIRS]
    for table in familiar.by_threads(view):
        parts += [f"## {markdown.escape(table.title)}", table]
    return tuple(parts)


def gpu(view: View) -> Parts:
    """GPU latency and images a second."""
    table = familiar.gpu(view, [load(name) for name in ON_GPU])
    words = (
        "TensorRT on a V100 as PaddleX published it: latency for quantized models, images a second (FPS) for cropped "
        "ones; the batch size is not told. `harness run --device v100` measures on such a server."
    )
    return (f"# {table.title}", words, THEIRS, table)


def amc(view: View) -> Parts:
    """AMC's table with ours below."""
    table = familiar.amc(view, load("amc-mobilenets"))
    return (f"# {table.title}", THEIRS, table, *_tables(("amc-converted",)))


def fastest(view: View) -> Parts:  # noqa: ARG001  a page like the others
    """Published latencies by device, the shortest first, with the accuracy of the same document."""
    table = familiar.fastest(familiar.chosen(figures.latencies()))
    words = (
        "To find the fastest model for a phone: its rows, read downwards until the accuracy suffices. The same on the "
        "command line: `reports published --device kirin970 --min-top1 70`; of what was measured here: "
        "`zoo pull MODEL --device D --min-top1 70`."
    )
    return (f"# {table.title}", words, THEIRS, table)


def everything_published() -> Parts:
    """Every table of the documents as printed, with its source and its mistakes."""
    found = figures.tables()
    words = (
        f"The {len(found)} tables of five documents, every value as printed. Mistakes of a document stay as they are, "
        "with a note below the table. `reports published TABLE --json` gives one as data."
    )
    return ("# The published tables", words, *_tables([table.table for table in found]))


def status_page(view: View) -> Parts:
    """Every row of the documents: recipe, run, data, hardware, published, ours."""
    from compressors.recipe import shipped

    found = status.status(view, figures.tables(), shipped())
    words = (
        "Every row of the five documents. Recipe: what builds it here (`compress run NAME`); a name with `-fashion` is "
        "the same on Fashion-MNIST, whose accuracy cannot be compared with the published one. Run: entries of the zoo, "
        "and trainings recorded in docs/data. Ours names the data and the number of samples of each figure, and the "
        "cell of each latency; `cells.json` has its raw samples."
    )
    parts: list[str | Table] = ["# Status of every published row", status.summary(found), words]
    for table in found:
        parts += [f"## {markdown.escape(table.title)}", table]
    return tuple(parts)


def _tables(names: Sequence[str]) -> Parts:
    return tuple(
        part
        for name in names
        for table in [beside.as_table(load(name))]
        for part in (f"## {markdown.escape(table.title)}", table)
    )
