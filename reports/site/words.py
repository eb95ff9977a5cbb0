"""Facts of records as short words for a page. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from devices.facts import Conditions, DeviceFacts
from reports.cells import marks
from reports.numbers import half_width_text, ms_text, size_text
from zoo.artifact import Artifact, TensorSpec
from zoo.instants import instant
from zoo.markdown import visible
from zoo.measurement import Evidence, Measurement

Fact = tuple[str, str]


def plural(count: int, noun: str) -> str:
    """``1 model``, ``2,000 models``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def moment(time: str, to: str = "seconds") -> str:
    """``2026-11-21 15:15:09 UTC`` of a measurement's time; whatever it is where it is no time."""
    seconds = instant(time)
    if seconds is None:
        return time
    return f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(' ', to)} UTC"


def latency(cell: Measurement) -> str:
    """The centre of a cell with the half-width of its interval, without unit; why there is none where it failed."""
    if cell.summary is None:
        return "failed"
    low, high = cell.summary.ci95_ms
    centre = "" if cell.summary.centre == "median" else "mean "
    return f"{centre}{ms_text(cell.summary.median_ms)} ± {half_width_text(cell.summary.median_ms, (high - low) / 2)}"


def mark(cell: Measurement) -> str:
    """The marks of a cell as one word group."""
    return " ".join(marks(cell))


def device(facts: DeviceFacts) -> list[Fact]:
    """What is known of a device. What could not be read says why."""
    found: list[Fact] = [("Name", facts.name)]
    found += [("SoC", facts.soc)] if facts.soc else []
    found += [("Model", facts.model)] if facts.model else []
    for number, cluster in enumerate(facts.clusters, 1):
        speed = f", up to {cluster.max_mhz:g} MHz" if cluster.max_mhz else ""
        core = f" {cluster.core}" if cluster.core else ""
        called = "Cores" if len(facts.clusters) == 1 else f"Cluster {number}"
        found.append((called, f"{len(cluster.cpus)} ×{core or ' core'}{speed} (CPU {_range(cluster.cpus)})"))
    if facts.cores and not facts.clusters:
        found.append(("Cores", str(facts.cores)))
    found += [("Memory", f"{facts.ram_bytes / 2**30:.1f} GiB")] if facts.ram_bytes else []
    found += [("System", facts.os_build)] if facts.os_build else []
    found += [("Kernel", facts.kernel)] if facts.kernel else []
    for abi in facts.abis:
        # A proof may name a file of the machine that measured; the ABI is the fact.
        found.append(("ABI", abi))
    found += [(f"Not known: {name}", why) for name, why in sorted(facts.unknown.items())]
    found.append(("Fingerprint", facts.fingerprint))
    return found


def _range(cpus: Sequence[int]) -> str:
    if len(cpus) > 2 and list(cpus) == list(range(cpus[0], cpus[-1] + 1)):
        return f"{cpus[0]}–{cpus[-1]}"
    return ", ".join(map(str, cpus)) or "?"


def conditions(found: Conditions | None) -> str:
    """The device at one moment in a line; what could not be read is left out."""
    if found is None:
        return "not recorded"
    parts = []
    if found.temperatures_c:
        hottest = max(found.temperatures_c.items(), key=lambda item: (item[1], item[0]))
        parts.append(f"{hottest[1]:g} °C ({visible(hottest[0])})")
    if found.frequencies_mhz:
        values = sorted(found.frequencies_mhz.values())
        parts.append(f"{values[0]:g}–{values[-1]:g} MHz" if values[0] != values[-1] else f"{values[0]:g} MHz")
    if found.governors:
        parts.append("governor " + ", ".join(sorted({visible(name) for name in found.governors.values()})))
    if found.load1 is not None:
        parts.append(f"load {found.load1:g}")
    if found.battery_percent is not None:
        parts.append(f"battery {found.battery_percent:g}%")
    if found.charging is not None:
        parts.append("charging" if found.charging else "not charging")
    return ", ".join(parts) or "nothing could be read"


def evidence(one: Evidence) -> tuple[str, str, str, str]:
    """Check, figure found, limit, outcome."""
    unit = f" {one.unit}" if one.unit else ""
    found = f"{one.value:.4g}{unit}" if one.value is not None else (one.says or "not read")
    limit = f"{one.limit:.4g}{unit}" if one.limit is not None else "none"
    if one.value is not None and one.says:
        found += f" ({one.says})"
    return one.check, found, limit, one.outcome


def tensor(one: TensorSpec) -> tuple[str, str, str, str]:
    """Name, shape, type, quantization."""
    shape = " × ".join("?" if n < 0 else str(n) for n in one.shape) or "scalar"
    q = one.quantization
    if q is None:
        how = "none"
    elif len(q.scales) > 1:
        how = f"{len(q.scales)} scales along axis {q.axis}"
    else:
        how = ", ".join([*(f"scale {s:.6g}" for s in q.scales), *(f"zero point {z}" for z in q.zero_points[:1])])
    return one.name, shape, one.dtype, how


def key_figures(artifact: Artifact) -> list[Fact]:
    """Size, parameters, MACs and non-zero weights, as far as they are recorded."""
    found = [("Size", f"{size_text(artifact.size_bytes)} MB")]
    for label, count in (("Parameters", artifact.parameters), ("MACs", artifact.macs), ("Non-zero", artifact.nonzeros)):
        if count is not None:
            found.append((label, f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"))
    return found


def again(cell: Measurement) -> str:
    """The command that measures a cell again."""
    argv = ["harness", "run", "--device", cell.device.name, "--model", cell.model, "--abi", cell.abi]
    argv += ["--threads", str(cell.threads_requested), "--warmup", str(cell.warmup), "--runs", str(cell.runs)]
    count = len(cell.repeats) or (len(cell.summary.repeat_medians_ms) if cell.summary else 0)
    argv += ["--repeats", str(count)] if count else []
    for name, value in cell.options:
        argv += ["--option", f"{name}={value}"]
    return " ".join(shlex.quote(visible(part)) for part in [*argv, "--fresh"])


def versions(found: Mapping[str, str], seed: int | None = None) -> str:
    """Packages with their versions in a line."""
    parts = [f"{name} {version}" for name, version in sorted(found.items())]
    return ", ".join([*parts, *([f"seed {seed}"] if seed is not None else [])])
