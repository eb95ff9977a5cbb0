"""MobileNetV2 with ImageNet weights that others trained, through every kind of quantization after training.

``python -m benchmarks.foreign_quantization`` after ``make demo``: 28 files, each made by the recipe mobilenetv2-quant
with ``--set``. Top-1 is on the labelled photos; agreement is with the float file, on these and on fresh crops of the
other photos, none of which was calibrated on. Finished stages are kept and ``--out`` grows case by case, so that an
interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import machine, show
from compressors.cache import StageCache
from compressors.data.photos import list_photos, open_photo
from compressors.data.preprocessing import calibration_samples, centre
from compressors.evaluate import FileModel
from compressors.inputs import gather
from compressors.pipeline import compress
from compressors.progress import OnStderr
from compressors.recipe import Loaded, load
from compressors.stages import Stages
from compressors.steps.quantize import graph
from pocketzoo.errors import WorkFailed
from pocketzoo.home import home
from zoo.artifact import Preprocessing
from zoo.proportions import wilson

WEIGHTS = "mobilenet_v2-b0353104.pth"
RESULT = Path("docs/data/foreign-quantization.json")
CROPS, CROPS_SEED = 6, 20261121  # of each calibration photo, none of them calibrated on
STATIC = ("static-int8", "static-int8x16")
RANGES = ("min-max", "moving-average", "mse", "octav")
FEW = 16  # of 255 values: a channel that has fewer is not told apart from its neighbours' noise


@dataclass(frozen=True)
class Case:
    """One kind of quantization; ``keep`` names layers that stay in float."""

    scheme: str
    ranges: str
    weights: str
    keep: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, str, str]:
        """As its row says it."""
        return self.scheme + (" (depthwise in float)" if self.keep else ""), f"per {self.weights}", self.ranges

    def settings(self) -> list[str]:
        """For ``compress run``."""
        found = [f"steps.0.{key}={getattr(self, key)}" for key in ("scheme", "ranges", "weights")]
        # One scale per channel costs bytes in a file of this size; what stays in float costs more.
        return [*found, f"steps.0.keep_float=[{', '.join(self.keep)}]", "steps.0.max_ratio=0.5"]


def cases() -> list[Case]:
    """Every combination that means something: a moving average is one of activations, which only static files have."""
    granularities = ("channel", "tensor")
    quick = [
        Case(*c) for c in product(("dynamic-int8", "weight-only-int8"), ("min-max", "mse", "octav"), granularities)
    ]
    return quick + [Case(*choice) for choice in product(STATIC, RANGES, granularities)]


def before(path: Path, crops: int, versions: dict[str, str]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The rows an interrupted run with these crops and packages has left behind."""
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if (found["crops"], found["versions"]) != (crops, versions):
        return {}
    return {(row["scheme"], row["weights"], row["ranges"]): row for row in found["rows"]}


def settings_of(data: Path) -> list[str]:
    """The weights and photos of ``make demo``."""
    return [
        f"weights={data / WEIGHTS}",
        f"data.evaluation.folder={data / 'photos-labelled'}",
        "data.evaluation.split=foolbox-20",
        f"data.calibration.folder={data / 'photos-calibration'}",
    ]


def probes(data: Path, how: Preprocessing) -> Iterator[NDArray[np.float32]]:
    """The labelled photos, then fresh crops of the others."""
    for path in list_photos(data / "photos-labelled", "--data"):
        yield centre(open_photo(path), how)
    others = list_photos(data / "photos-calibration", "--data")
    yield from calibration_samples(others, how, crops=CROPS, scale=(0.08, 1.0), seed=CROPS_SEED)


def best(file: Path, data: Path, how: Preprocessing) -> list[int]:
    """The class a file gives each probe."""
    model = FileModel(file)
    return [int(model(sample).argmax()) for sample in probes(data, how)]


def measured(case: Case, loaded: Loaded, exact: list[int], data: Path, cache: StageCache) -> dict[str, Any]:
    """One row: what the file of this case is worth."""
    row: dict[str, Any] = dict(zip(("scheme", "weights", "ranges"), case.named, strict=True))
    progress = OnStderr()
    try:
        made = compress(loaded, progress, cache)[-1]
    except WorkFailed as error:
        return {**row, "MB": None, "top-1": f"failed: {error.what}", "agreement": None, "agree %": None}
    finally:
        progress.close()
    top1 = made.artifact.metric("top1")
    assert top1 is not None and top1.ci95 is not None
    same = sum(a == b for a, b in zip(exact, best(made.file, data, loaded.recipe.preprocessing.record()), strict=True))
    low, high = wilson(same, len(exact))
    right = round(top1.value * top1.samples / 100)
    return {
        **row,
        "MB": round(made.file.stat().st_size / 1e6, 3),
        "top-1": f"{right}/{top1.samples} ({top1.ci95[0]:.0f} to {top1.ci95[1]:.0f} %)",
        "agreement": f"{same}/{len(exact)}",
        "agree %": f"{100 * same / len(exact):.0f} ({100 * low:.0f} to {100 * high:.0f})",
    }


def spread(file: Path) -> dict[str, Any]:
    """Why one scale per tensor is not enough: how many of the 255 values the channels of a weight have left.

    Returns:
        For each kind of operator: its channels, the share that has fewer than :data:`FEW` values to itself, and the
        largest quotient of a channel's largest weight and its layer's.
    """
    found = graph.read(file)
    rows: dict[str, list[NDArray[np.float32]]] = {}
    for node in found.weighted:
        weight = found.tensors[graph.parts(node)[1]].constant
        if weight is None:
            continue
        axis = 3 if node.operator == "DEPTHWISE_CONV_2D" else 0
        largest = np.abs(weight.astype(np.float32)).max(tuple(i for i in range(weight.ndim) if i != axis))
        rows.setdefault(node.operator, []).append(2 * np.round(127 * largest / largest.max()) + 1)
    return {
        operator: {
            "channels": int(sum(len(values) for values in levels)),
            f"below {FEW} values %": round(100 * float((np.concatenate(levels) < FEW).mean()), 1),
            "fewest values": int(np.concatenate(levels).min()),
        }
        for operator, levels in rows.items()
    }


def depthwise(loaded: Loaded, cache: StageCache) -> tuple[str, ...]:
    """The names of the network's depthwise layers."""
    from torch import nn

    stages = Stages(loaded.recipe, gather(loaded), OnStderr(), cache, set())
    model = stages.fresh_model()
    return tuple(n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1)


def main() -> int:
    """Measure, print, and write ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path(".venv/demo-data"))
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--crops", type=int, default=16, help="calibration crops of each photo (docs/decisions/0201)")
    options = parser.parse_args()
    if not (options.data / ".complete").is_file():
        print(f"error: no demo data in {options.data}\n  next:  make demo", file=sys.stderr)
        return 2
    cache = StageCache(home() / "cache" / "compress")
    given = settings_of(options.data)
    whole = load("mobilenetv2", given[:3])
    progress = OnStderr()
    made = compress(whole, progress, cache)[-1]
    progress.close()
    how = whole.recipe.preprocessing.record()
    exact = best(made.file, options.data, how)
    top1 = made.artifact.metric("top1")
    assert top1 is not None and top1.ci95 is not None
    rows: list[dict[str, Any]] = [
        {
            "scheme": "float32", "weights": "", "ranges": "", "MB": round(made.file.stat().st_size / 1e6, 3),
            "top-1": f"{round(top1.value * top1.samples / 100)}/{top1.samples} "
                     f"({top1.ci95[0]:.0f} to {top1.ci95[1]:.0f} %)",
            "agreement": f"{len(exact)}/{len(exact)}", "agree %": "100",
        }
    ]  # fmt: skip
    wanted = [*cases(), Case("static-int8", "min-max", "tensor", depthwise(whole, cache))]
    reason = spread(made.file)
    seeds = {"calibration": whole.recipe.seed, "crops of the probes": CROPS_SEED}
    note = (
        f"top-1 with 95 % Wilson interval on {top1.samples} labelled photos; agreement with float on {len(exact)} "
        f"inputs; seeds {seeds}; values left to channels with one scale per tensor: {json.dumps(reason)}"
    )
    kept = before(options.out, options.crops, made.artifact.versions)
    for case in wanted:
        if case.named in kept:
            rows.append(kept[case.named])
            continue
        loaded = load("mobilenetv2-quant", [*given, *case.settings(), f"data.calibration.crops={options.crops}"])
        rows.append(measured(case, loaded, exact, options.data, cache))
        record = {"machine": machine(), "versions": made.artifact.versions, "seeds": seeds, "weights": WEIGHTS,
                  "crops": options.crops, "probes": len(exact), "rows": rows,
                  "values with one scale per tensor": reason}  # fmt: skip
        # After each, so that what is done is told where the rest is not waited for.
        options.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show("foreign quantization", rows, note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
