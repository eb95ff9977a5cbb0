"""Do ratios of instructions tell ratios of times? Every published phone cell whose network is built here, counted.

``python -m benchmarks.forecast [--out docs/data/forecast-validation.json] [--work DIR] [--only snapdragon855 ...]``

Networks have random weights (seed 0): kernels are chosen by shapes and types, never by values. They are exported,
quantized with ranges from seeded noise, added to the zoo of $POCKETZOO_HOME, and counted by ``harness run`` on lab
phones with the identity of each published phone, armv8 and armv7, one thread. What is counted already is not counted
again, so the command goes on where it stopped. Needs what ``devices lab up`` needs, and an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tabulate import tabulate

from benchmarks.report import machine
from devices.inventory import load_inventory
from harness.forecast import Published, published_ratios
from harness.published import load, names
from harness.results import latest
from zoo.measurement import Measurement

if TYPE_CHECKING:
    import torch

SIZE = 224
BIG = ("snapdragon835", "snapdragon855")
MOBILE = ("mobilenetv1", "mobilenetv1-quant", "mobilenetv2", "mobilenetv2-quant")
CALIBRATION = 4  # samples of noise


class Network(NamedTuple):
    """What a published name stands for here. ``quantized`` makes NAME-quant, too."""

    architecture: str
    options: dict[str, Any]
    quantized: bool
    stands_for: str = "its architecture with random weights"


# The channels that AMC's authors publish with their models.
AMC_FLOPS = (24, 48, 96, 80, 192, 200, 328, 352, 368, 360, 328, 400, 736, 752)
AMC_TIME = (16, 48, 88, 80, 192, 168, 336, 360, 360, 352, 352, 368, 768, 680)
# The published pruned networks have a ratio for each layer that nobody printed: one width for all of them, of the same
# FLOPs, stands for them.
NETWORKS = {
    "mobilenetv1": Network("mobilenetv1", {}, True),
    "mobilenetv2": Network("mobilenetv2", {}, True),
    "resnet50": Network("resnet50", {}, True),
    "mobilenetv1-prune30": Network("mobilenetv1", {"width": 0.835}, False, "uniform widths of 71% of the MACs"),
    "mobilenetv1-prune50": Network("mobilenetv1", {"width": 0.705}, False, "uniform widths of 51% of the MACs"),
    "mobilenetv1-0.75x": Network("mobilenetv1", {"width": 0.75}, False),
    "amc-mobilenetv1-0.5flops": Network("mobilenetv1", {"channels": AMC_FLOPS}, False),
    "amc-mobilenetv1-0.5time": Network("mobilenetv1", {"channels": AMC_TIME}, False),
}


def build(name: str, network: Network, folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a network, made where they are missing."""
    import torch

    from compressors.architectures import build as make
    from compressors.export import export_tflite
    from compressors.recipe import Quantize
    from compressors.steps.quantize import quantize

    floating = folder / f"{name}.tflite"
    if not floating.exists():
        torch.manual_seed(0)
        model = make(network.architecture, **network.options)
        settle(model)
        export_tflite(model, SIZE, floating)
    yield name, floating
    if network.quantized:
        small = folder / f"{name}-quant.tflite"
        if not small.exists():
            noise = np.random.default_rng(0)
            samples = [noise.uniform(-2, 2, (1, SIZE, SIZE, 3)).astype(np.float32) for _ in range(CALIBRATION)]
            quantize(floating, small, Quantize(kind="quantize"), samples)
        yield f"{name}-quant", small


def settle(model: torch.nn.Module) -> None:
    """Give batch norm the statistics of noise: activations of a random network otherwise grow or vanish with depth,
    and older runtimes refuse int8 files whose scales do."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over all batches
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.rand(4, 3, SIZE, SIZE) * 4 - 2)
    model.eval()


def inventory_of_big_cores(folder: Path) -> Path:
    """An inventory file with the big cores of two phones alone: a runtime takes the kernels of the first core it sees,
    which is a little one on a phone."""
    entries = {}
    for name in BIG:
        spec = load_inventory().get(name)
        entries[f"{name}-big"] = {
            "soc": f"{spec.soc}, big cores",
            "clusters": [cluster.model_dump() for cluster in spec.clusters if cluster.name == "big"],
            "abis": ["armv8"],
            "transport": {"kind": "adb"},
            "runner": "benchmark_model",
        }
    path = folder / "big-cores.yaml"
    path.write_text(json.dumps({"devices": entries}), encoding="utf-8")
    return path


def count_on(device: str, models: Sequence[str], repeats: int, *inventory: str) -> None:
    """``harness run`` of one device; what is counted already is not counted again."""
    argv = ["--metric", "instructions", "--warmup", "0", "--runs", "1", "--repeats", str(repeats), *inventory]
    command("harness", "run", "--device", device, *argv, *(part for model in models for part in ("--model", model)))


def command(*argv: str) -> None:
    """One of pocketzoo's own commands; what it says is shown."""
    print("$", *argv, flush=True)
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def wanted(published: Sequence[Published]) -> dict[str, set[str]]:
    """Models to count by device: those of its published ratios that are built here, and what they are ratios of."""
    built = {*NETWORKS, *(f"{name}-quant" for name, network in NETWORKS.items() if network.quantized)}
    found: dict[str, set[str]] = {}
    for one in published:
        if {one.base, one.name} <= built:
            found.setdefault(one.device, set()).update({one.base, one.name})
    return found


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's: Pearson's of the ranks, ties sharing the mean of theirs."""

    def ranks(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
        array = np.asarray(values)
        return np.array([(array < one).sum() + (1 + (array == one).sum()) / 2 for one in array])

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def rows_of(published: Sequence[Published], measured: Sequence[Measurement]) -> list[dict[str, Any]]:
    """A row for each published ratio that was counted; where no ABI was told, one for armv8."""
    counts = {(m.device.name, m.model): m for m in measured if m.metric == "instructions" and m.instructions}
    rows = []
    for one in published:
        abi = one.abi or "armv8"
        device = f"lab:{one.device}" + ("-armv7" if abi == "armv7" else "")
        base, small = counts.get((device, one.base)), counts.get((device, one.name))
        if not (base and small and base.instructions and small.instructions):
            continue
        ratio = base.instructions.median / small.instructions.median
        rows.append(
            {
                "device": one.device,
                "abi": abi if one.abi else "armv8 (not told)",
                "model": one.name,
                "of": one.base,
                "of_instructions": base.instructions.median,
                "instructions": small.instructions.median,
                "ratio": round(ratio, 3),
                "published_ratio": round(one.ratio, 3),
                "error": round(ratio / one.ratio - 1, 3),
                "published_table": one.table,
                "repeats_differ": max(base.instructions.spread or 0, small.instructions.spread or 0),
                "cpu_model": next(e.says for e in small.verdict.evidence if e.check == "CPU model"),
                "kernels": next(e.says for e in small.verdict.evidence if e.check == "kernels"),
            }
        )
    return rows


def summary_of(rows: Sequence[dict[str, Any]]) -> dict[str, float | int]:
    """Rank correlation and relative errors over rows."""
    mine, theirs = [row["ratio"] for row in rows], [row["published_ratio"] for row in rows]
    errors = [abs(row["error"]) for row in rows]
    found: dict[str, float | int] = {"cells": len(rows)}
    if len(rows) >= 3:
        found["spearman"] = round(rank_correlation(mine, theirs), 3)
    found["mean_error"] = round(float(np.mean(errors)), 3)
    found["median_error"] = round(float(np.median(errors)), 3)
    found["same_side_of_1"] = sum((a > 1) == (b > 1) for a, b in zip(mine, theirs, strict=True))
    return found


def main() -> None:
    """Count what is missing, then write and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("docs/data/forecast-validation.json"))
    parser.add_argument("--work", type=Path, default=Path("out/forecast"), help="where the networks are kept")
    parser.add_argument("--only", nargs="*", default=[], help="these devices alone; the others as they were counted")
    parser.add_argument("--count", nargs="*", default=["mobilenet", "resnet50"], help="models that begin so")
    parser.add_argument("--no-counting", action="store_true", help="write what was counted before")
    options = parser.parse_args()
    published = published_ratios([load(name) for name in names()])
    todo = wanted(published)
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.no_counting:
        for name, network in NETWORKS.items():
            for reference, file in build(name, network, options.work):
                command("zoo", "add", str(file), "--name", reference)
        devices = [name for name in sorted(todo) if not options.only or name in options.only]
        told = {(one.device, one.abi) for one in published}
        twins = {name: ["", "-armv7"] if (name, "armv7") in told else [""] for name in devices}
        known = [f"lab:{name}{twin}" for name in devices for twin in twins[name]]
        up = [part for name in known for part in ("--as", name)]
        command("devices", "lab", "up", *up)
        for name in known:
            # ResNet-50 takes half a minute an inference: one run in one process.
            for start in options.count:
                models = sorted(m for m in todo[name[4:].removesuffix("-armv7")] if start in m)
                if models:
                    count_on(name, models, 1 if start == "resnet50" else 2)
        inventory = ("--inventory", str(inventory_of_big_cores(options.work)))
        command("devices", "lab", "up", *(part for name in BIG for part in ("--as", f"{name}-big")), *inventory)
        for name in BIG:
            count_on(f"lab:{name}-big", MOBILE, 2, *inventory)
    measured = latest()
    rows = rows_of(published, measured)
    quantized = [row for row in rows if row["model"].endswith("-quant")]
    mobile = [row for row in quantized if row["model"].startswith("mobilenet")]
    groups = {
        "all": rows,
        "int8, MobileNets, armv8": [row for row in mobile if row["abi"] == "armv8"],
        "int8, MobileNets, armv7": [row for row in mobile if row["abi"] == "armv7"],
        "int8, MobileNets, ABI not told": [row for row in mobile if "not told" in row["abi"]],
        "int8, ResNet-50": [row for row in quantized if row not in mobile],
        "fewer channels": [row for row in rows if row not in quantized],
    }
    versions = sorted({json.dumps({**m.versions, "runner": m.runner.runtime}) for m in measured if m.instructions})
    document: dict[str, Any] = {
        "command": "python -m benchmarks.forecast",
        "machine": {name: value for name, value in machine().items() if name != "system"},
        "versions": [json.loads(one) for one in versions],
        "networks": {name: network.stands_for for name, network in NETWORKS.items()},
        "summary": {name: summary_of(group) for name, group in groups.items() if group},
        "big_cores_alone": {
            name: {
                m.model: m.instructions.median
                for m in measured
                if m.instructions and m.device.name == f"lab:{name}-big"
            }
            for name in BIG
        },
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    shown = ("device", "abi", "model", "of_instructions", "instructions", "ratio", "published_ratio", "error")
    headers = ("phone", "ABI", "model", "M instructions as trained", "M instructions", "ratio", "published", "error")
    lines = [[row[key] for key in shown] for row in rows]
    for line in lines:
        line[3:5] = [f"{line[3] / 1e6:.1f}", f"{line[4] / 1e6:.1f}"]
        line[5:] = [f"{line[5]:.2f}", f"{line[6]:.2f}", f"{line[7]:+.0%}"]
    print(tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True))
    groups_shown = [{"cells of": name, **found} for name, found in document["summary"].items()]
    print(tabulate(groups_shown, headers="keys", tablefmt="github"))


if __name__ == "__main__":
    main()
