"""What is known of the untrained networks, as rows and as docs/networks.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tabulate import tabulate

from benchmarks.network_list import LISTED, Network
from zoo.measurement import Measurement
from zoo.store import Entry

HEAD = """# Every network of the documents, at its full size

Structure decides what a network takes, so its size, time and instructions are known before anybody trains it:

    compress run mobilenetv1-prune50-uniform --untrained        # into the zoo as mobilenetv1-prune50-uniform:untrained
    harness run --device local --model mobilenetv1-prune50-uniform:untrained
    compress check mobilenetv1-prune50-uniform                  # MACs, reachable target, missing data; seconds

`--untrained` takes the weights a network is built with, batch norm's statistics from noise, uniform ratios where a
recipe would search them, and ranges from noise where it would calibrate
([decisions/0340](decisions/0340-untrained.md)). Such a file is compared with its torch network like any other. **It
says nothing about accuracy, and none is stated here.**

The table is made by `python -m benchmarks.networks export`, `local`, `lab` and `report`; the data are in
[data/networks.json](data/networks.json). An empty field was not measured. *Local* is {cpu}, one thread, median of
{runs} (3 x 3 above 8 G MACs), the fastest single run in parentheses. A star marks a verdict other than valid,
which is not to be quoted: others took the machine's CPUs, or its repeats lay apart. Instructions are counted on
emulated boards (Cortex-A72 with ai-edge-litert, Cortex-A7 with tflite-runtime), one inference: **emulated, a count
and no time**; the outputs there agree with this machine's unless a field says otherwise. MB are 10^6 bytes.
*Published* is what the document says of its own file or count.

*Output differs*: int8 networks that answer for places, on the board with tflite-runtime 2.14, where the rounding of two
sets of kernels grows through layers that nobody trained ([method](method.md#where-int8-segmentations-differ-and-why)).

"""


def rows(found: Iterable[tuple[Network, Entry | None, Mapping[str, Any] | None]]) -> list[dict[str, Any]]:
    """One row for each network that is in the zoo."""
    return [_row(network, entry, export) for network, entry, export in found if entry is not None]


def _row(network: Network, entry: Entry, export: Mapping[str, Any] | None) -> dict[str, Any]:
    artifact = entry.artifact
    newest: dict[str, Measurement] = {}
    for each in sorted(entry.measurements, key=lambda m: m.time):
        newest[each.device.name] = each
    local = newest.get("local")
    return {
        "name": network.name,
        "document": network.document,
        "published": network.published,
        "sha256": artifact.digest,
        "inputs": [[tensor.dtype, *tensor.shape] for tensor in artifact.inputs],
        "outputs": [[tensor.dtype, *tensor.shape] for tensor in artifact.outputs],
        "macs": artifact.macs,
        "parameters": artifact.parameters,
        "bytes": artifact.size_bytes,
        "notes": list(artifact.notes),
        "export": dict(export) if export else None,
        "local": _latency(local) if local else None,
        "lab": {m.abi: _count(m) for name, m in newest.items() if name.startswith("lab-board")},
    }


def add_failed(found: Iterable[dict[str, Any]], failed: Iterable[Mapping[str, Any]]) -> None:
    """Put what failed on a board where nothing else is known of it; files are told by their SHA-256."""
    by_digest = {row["sha256"]: row for row in found}
    for each in failed:
        row = by_digest.get(each["artifact_sha256"])
        if row is not None and each["abi"] not in row["lab"]:
            check = each["output_check"] or {}
            row["lab"][each["abi"]] = {
                "instructions": None,
                "verdict": "failed",
                "output": check.get("outcome"),
                "output_says": check.get("says"),
                "runtime": each["runner"]["runtime"],
                "error": each["error"],
            }


def _latency(m: Measurement) -> dict[str, Any]:
    summary = m.summary
    peaks = [repeat.peak_memory_bytes for repeat in m.repeats if repeat.peak_memory_bytes is not None]
    return {
        "median_ms": summary.median_ms if summary else None,
        "ci95_ms": list(summary.ci95_ms) if summary else None,
        "min_ms": summary.min_ms if summary else None,
        "runs": m.runs,
        "repeats": len(m.repeats),
        "threads": m.threads_requested,
        "peak_memory_mb": round(max(peaks) / 1e6, 1) if peaks else None,
        "verdict": m.verdict.name,
        "reason": m.verdict.reason,
        "runtime": m.runner.runtime,
        "error": m.error,
    }


def _count(m: Measurement) -> dict[str, Any]:
    return {
        "instructions": m.instructions.median if m.instructions else None,
        "verdict": m.verdict.name,
        "output": m.output_check.outcome if m.output_check else None,
        "output_says": m.output_check.says if m.output_check else None,
        "runtime": m.runner.runtime,
        "error": m.error,
    }


def page(document: Mapping[str, Any]) -> str:
    """docs/networks.md."""
    found = document["rows"]
    runs = next((f"{r['local']['repeats']} x {r['local']['runs']} runs" for r in found if r["local"]), "no runs")
    head = HEAD.format(cpu=document["machine"]["cpu"], runs=runs)
    headers = [
        "network",
        "input",
        "M MACs",
        "M par.",
        "MB",
        "published",
        "local ms (fastest)",
        "armv8 M instr.",
        "armv7 M instr.",
    ]
    costs = ["network", "export s", "export peak MB", "run peak MB"]
    large = [row for row in found if max(row["inputs"][0][1:]) > 224]
    return (
        head
        + tabulate([_cells(row) for row in found], headers=headers, tablefmt="github", disable_numparse=True)
        + absent(found)
        + amc(found)
        + "\n\n## Memory of the large ones\n\nPeak resident memory of the whole `compress run --untrained` (building, "
        "converting, comparing,\nquantizing, in one process) and of one measuring process on this machine. Seconds of "
        "the export are those of a\nmachine with other work.\n\n"
        + tabulate([_costs(row) for row in large], headers=costs, tablefmt="github", disable_numparse=True)
        + "\n"
    )


def absent(found: Iterable[Mapping[str, Any]]) -> str:
    """The listed networks that nobody has exported yet."""
    known = {row["name"] for row in found}
    names = [f"`{network.name}`" for network in LISTED if network.name not in known]
    if not names:
        return ""
    lines = ("\n".join(", ".join(names[start : start + 4]) for start in range(0, len(names), 4))).replace("\n", ",\n")
    return f"\n\nNot exported yet; `python -m benchmarks.networks export` goes on with them:\n{lines}."


def amc(found: Iterable[Mapping[str, Any]]) -> str:
    """AMC's published networks against MobileNet: shares of MACs and of instructions."""
    by_name = {row["name"]: row for row in found}
    lines = []
    for name, base in (
        ("amc-mobilenetv1-0.5flops", "mobilenetv1"),
        ("amc-mobilenetv1-0.5time", "mobilenetv1"),
        ("amc-mobilenetv2-0.7flops", "mobilenetv2"),
    ):
        own, whole = by_name.get(name), by_name.get(base)
        if own is None or whole is None:
            continue
        here = [row["local"] or {} for row in (own, whole)]
        times = [float(each["median_ms"]) for each in here if each.get("verdict") == "valid"]
        shares = [f"{own['macs'] / whole['macs']:.3f}", f"{times[0] / times[1]:.3f}" if len(times) == 2 else ""]
        for abi in ("armv8", "armv7"):
            boards = [row["lab"].get(abi) or {} for row in (own, whole)]
            counts = [float(each["instructions"]) for each in boards if each.get("instructions")]
            shares.append(f"{counts[0] / counts[1]:.3f}" if len(counts) == 2 else "")
        lines.append([name, base, *shares])
    if not lines:
        return ""
    headers = ["network", "against", "MACs", "time here", "armv8 instructions", "armv7 instructions"]
    text = tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)
    return (
        "\n\n## AMC's networks\n\nShares of what the unpruned network takes. By its authors' account *0.5time* halved "
        "the time of a Pixel 1;\ninstructions are no time, and *time here* stands where both cells are valid.\n\n"
        + text
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    dtype, _, height, width, _ = row["inputs"][0]
    local = row["local"]
    time = ""
    if local and local["median_ms"] is not None:
        star = "" if local["verdict"] == "valid" else " *"
        time = f"{local['median_ms']:.4g}{star} ({local['min_ms']:.4g})"
    return [
        row["name"],
        f"{height}x{width} {'float' if dtype == 'float32' else dtype}",
        f"{row['macs'] / 1e6:.1f}" if row["macs"] else "",
        f"{row['parameters'] / 1e6:.3f}" if row["parameters"] else "",
        f"{row['bytes'] / 1e6:.2f}",
        row["published"],
        time,
        *(_instructions(row["lab"].get(abi)) for abi in ("armv8", "armv7")),
    ]


def _instructions(counted: Mapping[str, Any] | None) -> str:
    if not counted:
        return ""
    if counted["instructions"] is None:
        if "did not end within" in (counted["error"] or ""):
            return "cut off"
        return "output differs" if counted["output"] == "differs" else "failed"
    output = "" if counted["output"] == "agrees" else f" (output {counted['output']})"
    return f"{counted['instructions'] / 1e6:.1f}{output}"


def _costs(row: Mapping[str, Any]) -> list[str]:
    export, local = row["export"], row["local"]
    return [
        row["name"],
        f"{export['seconds']:.0f}" if export else "",
        str(export["peak_mb"]) if export else "",
        f"{local['peak_memory_mb']:.0f}" if local and local["peak_memory_mb"] else "",
    ]
