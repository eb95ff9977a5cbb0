"""The card of an entry, its README.md: what it is, what was measured, how to run it. Pure: records in, text out.

The manifest and the measurement files beside it are what counts; a card is generated from them and can be again.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

from zoo.artifact import Accuracy, Artifact, TensorSpec
from zoo.card_data import front_matter, metadata
from zoo.list_text import NO_VALUE, accuracy_text, megabytes
from zoo.markdown import code, escape, fenced
from zoo.measurement import Measurement
from zoo.text import latest_per_cell, millions, milliseconds


def card(
    artifact: Artifact, measurements: Sequence[Measurement] = (), *, tags: Sequence[str] = (), url: str | None = None
) -> str:
    """The README.md of an entry.

    Args:
        artifact: the entry.
        measurements: all that is published for it; of each cell the newest is shown. Those of another file are not.
        tags: that point to it.
        url: of the remote it is published to, as ``zoo remote add`` takes it.
    """
    cells = latest_per_cell(tuple(m for m in measurements if m.artifact_sha256 == artifact.digest))
    sections = [
        front_matter(metadata(artifact, cells)) + f"\n# {escape(artifact.name)}",
        _what(artifact, tags),
        _files(artifact),
        _accuracy(artifact),
        _latency([m for m in cells if m.metric == "latency"]),
        _instructions([m for m in cells if m.metric == "instructions"]),
        _lineage(artifact),
        _run(artifact),
        _get(artifact, url),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what(artifact: Artifact, tags: Sequence[str]) -> str:
    task = f" for {escape(artifact.task)}" if artifact.task else ""
    parent = artifact.parent
    made = f", made from {code(parent.name)} ({escape(parent.relation)})" if parent else ""
    tagged = f" Tags: {', '.join(code(tag) for tag in tags)}." if tags else ""
    lines = [f"A {artifact.format} model{task}, {megabytes(artifact.size_bytes)}{made}.{tagged}"]
    facts = [("Licence", artifact.licence), ("Source", artifact.source), ("Made", artifact.created)]
    lines += [f"- {label}: {escape(value)}" for label, value in facts if value]
    lines += [f"- Note: {escape(note)}" for note in artifact.notes]
    return "\n".join([lines[0], *(["", *lines[1:]] if lines[1:] else [])])


def _files(artifact: Artifact) -> str:
    rows = [[code(file.name), f"{file.size:,}", code(file.sha256)] for file in artifact.files]
    parts = ["## File", table(["File", "Bytes", "SHA-256"], rows, right=(1,))]
    tensors = [("input", t) for t in artifact.inputs] + [("output", t) for t in artifact.outputs]
    if tensors:
        named = [[kind, code(t.name), code(_shape(t)), code(t.dtype), _quantization(t)] for kind, t in tensors]
        parts.append(table(["", "Name", "Shape", "Type", "Quantization"], named))
    counts = [("MACs", artifact.macs), ("parameters", artifact.parameters), ("non-zero weights", artifact.nonzeros)]
    if any(count is not None for _, count in counts):
        parts.append(", ".join(f"{count:,} {label}" for label, count in counts if count is not None) + ".")
    if artifact.operators:
        listed = sorted(artifact.operators.items(), key=lambda item: (-item[1], item[0]))
        parts.append("Operators: " + ", ".join(f"{count} {code(name)}" for name, count in listed) + ".")
    return "\n\n".join(parts)


def _shape(tensor: TensorSpec) -> str:
    return " x ".join("?" if n < 0 else str(n) for n in tensor.shape) or "scalar"


def _quantization(tensor: TensorSpec) -> str:
    q = tensor.quantization
    if q is None:
        return NO_VALUE
    if len(q.scales) > 1:
        return f"{len(q.scales)} scales along axis {q.axis}"
    return ", ".join([*(f"scale {s:.6g}" for s in q.scales), *(f"zero point {z}" for z in q.zero_points[:1])])


def _accuracy(artifact: Artifact) -> str:
    if not artifact.accuracy:
        return "## Accuracy\n\nNot evaluated."
    rows = [_accuracy_row(artifact, accuracy) for accuracy in artifact.accuracy]
    headers = ["Metric", "Value", "95% interval", "n", "Data set", "Measured on"]
    return "## Accuracy\n\n" + table(headers, rows, right=(1, 2, 3))


def _accuracy_row(artifact: Artifact, accuracy: Accuracy) -> list[str]:
    interval = f"{accuracy.ci95[0]:.1f} to {accuracy.ci95[1]:.1f}" if accuracy.ci95 else NO_VALUE
    value = escape(accuracy_text(accuracy))
    on = "this file" if accuracy.measured_on == artifact.digest else code(f"sha256:{accuracy.measured_on[:12]}")
    if accuracy.provenance == "published":
        value, on = f"*{value}*", "published, not measured here"
    where = escape(f"{accuracy.dataset}/{accuracy.split}")
    return [escape(accuracy.metric), value, interval, f"{accuracy.samples:,}", where, on]


_HOW = {"hardware": "measured", "emulated": "**emulated**", "published": "*published by others*"}


def _latency(cells: Sequence[Measurement]) -> str:
    if not cells:
        return "## Latency\n\nNot measured yet; see below how to."
    rows = [_latency_row(m) for m in cells]
    headers = ["Device", "ABI", "Threads", "ms", "95% interval", "p90 ms", "Verdict", "Provenance", "Setting"]
    notes = ["Median milliseconds of one inference with seeded random input; the interval is a hierarchical bootstrap."]
    if any(m.summary and m.summary.centre == "mean" for m in cells):
        notes.append("*mean*: the tool prints no median.")
    if any(m.provenance == "emulated" for m in cells):
        notes.append("**Emulated** figures say nothing of a real device's speed.")
    if any(m.provenance == "published" for m in cells):
        notes.append("*Published* figures are others' and were not measured here.")
    if any(m.verdict.name != "valid" for m in cells):
        notes.append("Only cells whose verdict is valid count; the others say what was wrong.")
    return "\n\n".join(["## Latency", table(headers, rows, right=(2, 3, 4, 5)), " ".join(notes)])


def _latency_row(m: Measurement) -> list[str]:
    s = m.summary
    figures = [NO_VALUE] * 3
    if s is not None:
        mean = " *mean*" if s.centre == "mean" else ""
        ends = f"{milliseconds(s.ci95_ms[0])} to {milliseconds(s.ci95_ms[1])}"
        p90 = milliseconds(s.p90_ms) if s.p90_ms is not None else NO_VALUE
        figures = [milliseconds(s.median_ms) + mean, ends, p90]
        if m.provenance != "hardware":
            figures = [f"*{figure}*" if figure != NO_VALUE else figure for figure in figures]
    ran = "" if m.threads_actual in (None, m.threads_requested) else f" (ran {m.threads_actual})"
    return [*_where(m), f"{m.threads_requested}{ran}", *figures, _verdict(m), _HOW[m.provenance], _setting(m)]


def _where(m: Measurement) -> list[str]:
    soc = f" ({escape(m.device.soc)})" if m.device.soc else ""
    return [f"{code(m.device.name)}{soc}", escape(m.abi)]


def _verdict(m: Measurement) -> str:
    reason = f": {escape(m.verdict.reason)}" if m.verdict.reason else ""
    return f"{m.verdict.name}{reason}"


def _setting(m: Measurement) -> str:
    parts = [f"{m.runner.name} {m.runner.version}", f"{m.warmup} + {m.runs} runs x {len(m.repeats) or '?'}"]
    parts += [f"CPUs {m.affinity}"] if m.affinity else []
    parts += [m.runner.delegate] if m.runner.delegate else []
    parts += [f"{name}={value}" for name, value in m.options]
    return escape(", ".join(parts))


def _instructions(cells: Sequence[Measurement]) -> str:
    if not cells:
        return ""
    rows = []
    for m in cells:
        s = m.instructions
        figures = [millions(s.median), f"{millions(s.min)} to {millions(s.max)}"] if s else [NO_VALUE, NO_VALUE]
        rows.append([*_where(m), str(m.threads_requested), *figures, _verdict(m), _setting(m)])
    headers = ["Device", "ABI", "Threads", "M instructions", "From to", "Verdict", "Setting"]
    text = "Guest instructions of one inference, counted under emulation: a count, no time, and none follows from it."
    return "\n\n".join(["## Instructions", table(headers, rows, right=(2, 3, 4)), text])


def _lineage(artifact: Artifact) -> str:
    parts = []
    if artifact.parent:
        parent = artifact.parent
        whole = code(f"{parent.name}@sha256:{parent.digest}")
        parts.append(f"Made from {whole}. Relation: {escape(parent.relation)}.")
    if artifact.recipe:
        parts.append(f"Recipe {code(artifact.recipe.name)}, sha256 {code(artifact.recipe.digest)}:")
        parts.append(fenced(artifact.recipe.text, "yaml"))
    if artifact.versions:
        made = ", ".join(f"{escape(name)} {escape(version)}" for name, version in sorted(artifact.versions.items()))
        parts.append(f"Made with {made}{f', seed {artifact.seed}' if artifact.seed is not None else ''}.")
    return "\n\n".join(["## Lineage", *parts]) if parts else ""


def _run(artifact: Artifact) -> str:
    if artifact.format != "tflite":
        return ""
    lines = program(artifact)
    needs = "ai-edge-litert pillow" if _on_photo(artifact) else "ai-edge-litert"
    return f"## Run it\n\n`pip install {needs}`, then, beside the file:\n\n{fenced(lines, 'python')}"


def program(artifact: Artifact) -> str:
    """Python that runs the file on ``photo.jpg``, or on noise where it is not known how a photo becomes its input.

    Nothing in it is a text of others: the file's name is one plain component, all else are numbers and known words.
    """
    lines = _on_photo(artifact) or [
        "import numpy as np",
        "from ai_edge_litert.interpreter import Interpreter",
        "",
        *_loading(artifact),
        "for tensor in model.get_input_details():",
        '    noise = np.random.default_rng(0).random(tensor["shape"])',
        '    noise *= 1 if np.issubdtype(tensor["dtype"], np.floating) else 100',
        '    model.set_tensor(tensor["index"], noise.astype(tensor["dtype"]))',
    ]
    found = 'model.get_tensor(model.get_output_details()[0]["index"]).ravel()'
    best = ".argsort()[::-1][:5])  # the five likeliest classes, best first"
    answer = f"print({found}{best if artifact.task == 'image-classification' else ')'}"
    if len(artifact.outputs) > 1:
        answer = 'print([model.get_tensor(tensor["index"]).shape for tensor in model.get_output_details()])'
    return "\n".join([*lines, "model.invoke()", answer])


def _loading(artifact: Artifact) -> list[str]:
    return [f'model = Interpreter("{artifact.files[0].name}", num_threads=1)', "model.allocate_tensors()"]


def _on_photo(artifact: Artifact) -> list[str] | None:
    """Load, prepare a photo as the accuracy was taken, and set the input; None where that is not known."""
    how = artifact.preprocessing
    if how is None or len(artifact.inputs) != 1 or not all(map(math.isfinite, (*how.mean, *how.std))):
        return None
    tensor = artifact.inputs[0]
    quantized = tensor.quantization
    if tensor.dtype not in _LIMITS or (quantized is None) != (_LIMITS[tensor.dtype] is None):
        return None
    grey = len(how.mean) == 1
    if len(how.mean) not in (1, 3) or len(how.std) != len(how.mean):
        return None
    if grey:
        turned = "[None]" if how.layout == "NCHW" else "[..., None]"
    else:
        turned = ".transpose(2, 0, 1)" if how.layout == "NCHW" else ""
    box = f"left, top, left + {how.crop}, top + {how.crop}"
    lines = ["import numpy as np", "from PIL import Image", "from ai_edge_litert.interpreter import Interpreter", ""]
    lines.append(f'photo = Image.open("photo.jpg").convert("{"L" if grey else "RGB"}")')
    if how.resize is not None:
        size = f"[int({how.resize} * n / min(photo.size)) for n in photo.size]"
        lines.append(f"photo = photo.resize({size}, Image.Resampling.{how.interpolation.upper()})")
    if how.fit == "stretch":
        stretched = f"photo.resize(({how.crop}, {how.crop}), Image.Resampling.{how.interpolation.upper()})"
        lines.append(f"x = np.asarray({stretched}, np.float32){turned}[None] / 255")
    else:
        lines += [
            f"left, top = (round((n - {how.crop}) / 2) for n in photo.size)",
            f"x = np.asarray(photo.crop(({box})), np.float32){turned}[None] / 255",
        ]
    lines += [
        f"x = (x - {_numbers(how.mean, how.layout)}) / {_numbers(how.std, how.layout)}",
    ]
    limits = _LIMITS[tensor.dtype]
    if quantized is not None and limits is not None:
        if len(quantized.scales) != 1 or len(quantized.zero_points) != 1 or not math.isfinite(quantized.scales[0]):
            return None
        scaled = f"np.round(x / {float(quantized.scales[0])!r}) + {quantized.zero_points[0]}"
        lines.append(f"x = np.clip({scaled}, {limits[0]}, {limits[1]})")
    setting = f'model.set_tensor(model.get_input_details()[0]["index"], x.astype(np.{tensor.dtype}))'
    return [*lines, *_loading(artifact), setting]


_LIMITS: Mapping[str, tuple[int, int] | None] = {
    "float32": None,
    "float16": None,
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
}


def _numbers(values: Sequence[float], layout: str) -> str:
    listed = "[" + ", ".join(repr(float(value)) for value in values) + "]"
    return listed if layout == "NHWC" else f"np.reshape({listed}, ({len(values)}, 1, 1))"


def _get(artifact: Artifact, url: str | None) -> str:
    lines = [f"zoo remote add published {shlex.quote(url)}"] if url else []
    lines += [f"zoo pull {artifact.name}@sha256:{artifact.digest} --to ."]
    if artifact.format == "tflite":
        lines.append(f"harness run --device local --model {artifact.name}")
    sums = "\n".join(f"{file.sha256}  {file.name}" for file in artifact.files)
    check = "sha256sum --check <<'END'\n" + sums + "\nEND"
    text = "With pocketzoo, every byte hashed before it becomes visible:"
    return "\n\n".join(
        ["## Get it", text, fenced("\n".join(lines), "sh"), "Without it, check what you have:", fenced(check, "sh")]
    )


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """A table in GitHub's dialect; cells are Markdown already."""
    rule = ["---:" if column in right else "---" for column in range(len(headers))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headers, rule, *rows))
