"""How entries read in a terminal. Records in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from pocketzoo.printable import printable
from zoo.artifact import Accuracy, Artifact, TensorSpec
from zoo.measurement import Measurement
from zoo.store import Entry
from zoo.timings import images_per_s

if TYPE_CHECKING:
    from zoo.browse import Listed

NO_VALUE = "-"


def megabytes(size: int) -> str:
    """Decimal megabytes, as download pages count them."""
    return f"{size / 1e6:.2f} MB"


def milliseconds(value: float) -> str:
    """Three decimals, and three significant digits below a tenth: small networks take microseconds."""
    return f"{value:.3f}" if value >= 0.1 else f"{value:.3g}"


def millions(count: float) -> str:
    """``202.438``: millions of instructions; small networks have fewer than one."""
    return f"{count / 1e6:.3f}" if count >= 1e5 else f"{count / 1e6:.3g}"


def accuracy_text(accuracy: Accuracy | None) -> str:
    """``90.0% (18/20)`` or a dash; a published value says so."""
    if accuracy is None:
        return NO_VALUE
    if accuracy.provenance == "published":
        return f"{accuracy.value:.2f}% (published)"
    right = round(accuracy.value * accuracy.samples / 100)
    return f"{accuracy.value:.1f}% ({right}/{accuracy.samples})"


def list_table(entries: list[Entry]) -> str:
    """One line per entry: name, tags, format, size, top-1, how many measurements, digest."""
    rows = [
        [
            e.artifact.name,
            ", ".join(e.tags) or NO_VALUE,
            e.artifact.format,
            megabytes(e.artifact.size_bytes),
            accuracy_text(e.artifact.metric("top1")),
            len(e.measurements),
            f"sha256:{e.artifact.digest[:12]}",
        ]
        for e in entries
    ]
    headers = ["Model", "Tags", "Format", "Size", "Top-1", "Measured cells", "Digest"]
    return tabulate(rows, headers=headers, tablefmt="simple", colalign=("left",) * 3 + ("right",) * 3 + ("left",))


def remote_table(listed: list[Listed]) -> str:
    """One line per entry of a remote: as :func:`list_table`, with how many measurements are published."""
    rows = [
        [
            e.artifact.name,
            ", ".join(e.tags) or NO_VALUE,
            e.artifact.format,
            megabytes(e.artifact.size_bytes),
            accuracy_text(e.artifact.metric("top1")),
            e.measurements,
            f"sha256:{e.artifact.digest[:12]}",
        ]
        for e in listed
    ]
    headers = ["Model", "Tags", "Format", "Size", "Top-1", "Measurements", "Digest"]
    return tabulate(rows, headers=headers, tablefmt="simple", colalign=("left",) * 3 + ("right",) * 3 + ("left",))


def entry_text(entry: Entry) -> str:
    """Everything an entry says, for ``zoo show``."""
    artifact = entry.artifact
    lines = [f"{artifact.name}  ({', '.join(entry.tags) or 'no tag'})", ""]
    facts = [*_facts(artifact), *(("note", note) for note in artifact.notes)]
    width = max(len(label) for label, _ in facts) + 2
    lines += [f"  {printable(label) + ':':<{width}}{printable(value)}" for label, value in facts]
    lines += [
        "",
        measurement_table(latest_per_cell(entry.measurements)) if entry.measurements else _unmeasured(artifact),
    ]
    return "\n".join(lines)


def _facts(artifact: Artifact) -> list[tuple[str, str]]:
    facts = [("digest", f"sha256:{artifact.digest}")]
    for file in artifact.files:
        facts.append(("file", f"{file.name}, {file.size:,} bytes"))
    facts += [("input", _tensor(t)) for t in artifact.inputs]
    facts += [("output", _tensor(t)) for t in artifact.outputs]
    for a in artifact.accuracy:
        interval = f", 95% interval {a.ci95[0]:.1f} to {a.ci95[1]:.1f}" if a.ci95 else ""
        facts.append((a.metric, f"{accuracy_text(a)} on {a.dataset}/{a.split}{interval}"))
    if artifact.macs is not None:
        facts.append(("MACs", f"{artifact.macs / 1e6:.1f} M"))
    if artifact.parameters is not None:
        few = artifact.parameters < 10_000
        facts.append(("parameters", f"{artifact.parameters:,}" if few else f"{artifact.parameters / 1e6:.2f} M"))
    if artifact.operators:
        facts.append(("operators", ", ".join(f"{count} {name}" for name, count in artifact.operators.items())))
    if artifact.parent:
        facts.append((artifact.parent.relation, f"from {artifact.parent.name}@sha256:{artifact.parent.digest[:12]}"))
    if artifact.recipe:
        facts.append(("recipe", f"{artifact.recipe.name} (sha256:{artifact.recipe.digest[:12]})"))
    optional = [("task", artifact.task), ("data set", artifact.dataset), ("licence", artifact.licence)]
    facts += [(label, value) for label, value in [*optional, ("source", artifact.source)] if value]
    if artifact.versions:
        facts.append(("made with", ", ".join(f"{k} {v}" for k, v in sorted(artifact.versions.items()))))
    return facts


def _tensor(tensor: TensorSpec) -> str:
    shape = "x".join("?" if n < 0 else str(n) for n in tensor.shape)
    text = f"{shape} {tensor.dtype}"
    if tensor.quantization and len(tensor.quantization.scales) == 1:
        text += f" (scale {tensor.quantization.scales[0]:.6g}, zero point {tensor.quantization.zero_points[0]})"
    return text


def _unmeasured(artifact: Artifact) -> str:
    if artifact.format == "safetensors":
        return "  weights alone cannot be measured"
    return f"  no latency measured yet: harness run --device local --model {artifact.name} --publish"


def latest_per_cell(measurements: tuple[Measurement, ...]) -> list[Measurement]:
    """The newest measurement of each job key, ordered by device, ABI and threads."""
    newest = {m.job_key: m for m in sorted(measurements, key=lambda m: m.time)}
    return sorted(newest.values(), key=lambda m: (m.device.name, m.abi, m.threads_requested, m.job_key))


def measurement_table(measurements: list[Measurement]) -> str:
    """Latencies with their verdicts, a table for each way of measuring; its heading says device, ABI and protocol.

    Narrow enough for a terminal of 80 columns.
    """
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for m in measurements:
        groups.setdefault((_how(m), _centre(m)), []).append(m)
    return "\n\n".join(f"{how}\n\n{_rows(group, centre)}" for (how, centre), group in groups.items())


def _centre(m: Measurement) -> str:
    return m.summary.centre if m.summary else "median"


def _how(m: Measurement) -> str:
    pinned = f", CPUs {m.affinity}" if m.affinity else ""
    where = "measured on hardware" if m.provenance == "hardware" else m.provenance.upper()
    # A measurement may come without its samples; each repeat has left its median.
    repeats = len(m.repeats) or (len(m.summary.repeat_medians_ms) if m.summary else "?")
    protocol = f"{m.warmup} warm-up + {m.runs} runs x {repeats}"
    setting = "".join(f", {name}={value}" for name, value in m.options)
    # The Python runner is the runtime its version names; of any other, only the digest says which build it was.
    binary = "" if m.runner.name == "python" else f"\n{printable(m.runner.name)} sha256:{m.runner.binary_sha256[:12]}"
    what = "" if m.metric == "latency" else ", INSTRUCTIONS"
    says = printable(f"{m.device.name}, {m.abi}{pinned}{setting}{what}, {where}, {protocol}")
    return f"{says}{binary}"


def _rows(measurements: list[Measurement], centre: str) -> str:
    if measurements[0].metric == "instructions":
        return _counts(measurements)
    rows = []
    batches = any(images_per_s(m) is not None for m in measurements)
    for m in measurements:
        s = m.summary
        rate = images_per_s(m)
        ran = "" if m.threads_actual in (None, m.threads_requested) else f" (ran {m.threads_actual})"
        rows.append(
            [
                f"{m.threads_requested}{ran}",
                milliseconds(s.median_ms) if s else NO_VALUE,
                f"{milliseconds(s.ci95_ms[0])} to {milliseconds(s.ci95_ms[1])}" if s else NO_VALUE,
                milliseconds(s.p90_ms) if s and s.p90_ms is not None else NO_VALUE,
                *([f"{rate:.1f}" if rate is not None else NO_VALUE] if batches else []),
                m.verdict.name,
                m.job_key[:12],
            ]
        )
    headers = ["Threads", f"{centre.capitalize()} ms", "95% interval", "p90 ms"]
    headers += [*(["Images/s"] if batches else []), "Verdict", "Cell"]
    align = ("left", "right", "right", "right", *(("right",) if batches else ()), "left", "left")
    return tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, colalign=align)


def _counts(measurements: list[Measurement]) -> str:
    rows = []
    for m in measurements:
        s = m.instructions
        between = f"{s.spread:.3%}" if s and s.spread is not None else NO_VALUE
        rows.append(
            [
                str(m.threads_requested),
                millions(s.median) if s else NO_VALUE,
                f"{millions(s.min)} to {millions(s.max)}" if s else NO_VALUE,
                between,
                m.verdict.name,
                m.job_key[:12],
            ]
        )
    headers = ["Threads", "M instructions", "From to", "Spread", "Verdict", "Cell"]
    align = ("left", "right", "right", "right", "left", "left")
    return tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, colalign=align)
