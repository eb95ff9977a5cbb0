"""How long AMC's search takes: 800 roll-outs on MobileNetV1 at 32x32, costs from a look-up table, real evaluations.

``python -m benchmarks.search_speed [--episodes 800] [--images 500] [--threads 2]``

Every candidate is what it is in a recipe: channels chosen by sum |W|, the layers that read them rebuilt by least
squares from 60 batches of 50 images, the smaller network run on the held-out images. Images and weights are drawn at
random, because no time depends on their values. The table has a time for each layer at a few channel counts and is
interpolated between them; its figures are MACs with a step every 16 channels.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import show
from compressors import architectures
from compressors.progress import Silent
from compressors.search.amc import LOWEST, ROUND_TO, AmcEnvironment
from compressors.search.candidates import Candidates, budget_of, course_of
from compressors.search.ddpg import AMC
from compressors.search.rollouts import search
from compressors.steps.prune.reconstruct import BATCHES
from compressors.steps.prune.structure import Structure, trace

SHAPE = (1, 3, 32, 32)
POINTS = 5  # channel counts of each side of a layer in the table
LIMIT_MINUTES = 30


def table(structure: Structure) -> dict[str, tuple[list[int], list[int], np.ndarray]]:
    """Layer -> counts of its inputs, of its outputs, and milliseconds at each pair."""
    made = {}
    for name, shape in structure.layer_shapes.items():
        grids = [sorted({max(1, side * step // POINTS) for step in range(1, POINTS + 1)})
                 for side in (shape.inputs, shape.outputs)]  # fmt: skip
        times = np.array(
            [
                [1e-6 * shape.macs(math.ceil(i / 16) * 16, math.ceil(o / 16) * 16) + 1e-3 for o in grids[1]]
                for i in grids[0]
            ]
        )
        made[name] = (*grids, times)
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=AMC.episodes)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = architectures.build("mobilenetv1", classes=10)
    structure = trace(model, SHAPE)
    times = table(structure)

    def milliseconds(counts: Mapping[str, int]) -> float:
        total = 0.0
        for name, (inputs, outputs) in structure.layer_channels(counts).items():
            if name in times:
                across, down, grid = times[name]
                row = [float(np.interp(outputs, down, line)) for line in grid]
                total += float(np.interp(inputs, across, row))
        return total

    whole = milliseconds({})
    budget = budget_of(structure, milliseconds, 0.5 * whole, lowest=LOWEST, round_to=ROUND_TO)
    each = {name: float(grid[-1, -1]) for name, (_, _, grid) in times.items()}
    course = course_of(structure, budget, each, lowest=LOWEST, round_up=True, last_whole=False)
    held_out = torch.randn(options.images, *SHAPE[1:])
    labels = torch.arange(options.images) % 10
    spent = {"evaluation": 0.0}

    wall, processor = time.perf_counter(), time.process_time()
    inputs = (torch.randn(50, *SHAPE[1:]) for _ in range(BATCHES["magnitude"]))
    candidates = Candidates(model, structure, "magnitude", inputs, seed=0)
    gathered = time.perf_counter() - wall

    def evaluate(counts: Mapping[str, int]) -> float:
        began = time.perf_counter()
        network = candidates.of(counts)
        with torch.inference_mode():
            right = sum(
                int((network(batch).argmax(1) == wanted).sum())
                for batch, wanted in zip(held_out.split(100), labels.split(100), strict=True)
            )
        spent["evaluation"] += time.perf_counter() - began
        return right / options.images

    with tempfile.TemporaryDirectory() as folder:
        found = search(
            AmcEnvironment(course), AMC, evaluate, Path(folder), Silent(), seed=0, identity="benchmark",
            episodes=options.episodes,
        )  # fmt: skip
    minutes, busy = (time.perf_counter() - wall) / 60, (time.process_time() - processor) / 60
    over = sum(rolled.cost > budget.target for rolled in found.history)
    distinct = len(list(itertools.groupby(sorted(str(rolled.counts) for rolled in found.history))))
    rows = [
        {
            "roll-outs": len(found.history),
            "candidates": distinct,
            "images each": options.images,
            "threads": options.threads,
            "minutes": minutes,
            "processor minutes": busy,
            "of it gathering s": gathered,
            "of it evaluating s": spent["evaluation"],
            "over budget": over,
            "limit min": LIMIT_MINUTES,
        }
    ]
    show("search_speed", rows, "AMC's agent as published; the time grows with roll-outs, candidates and images.")


if __name__ == "__main__":
    main()
