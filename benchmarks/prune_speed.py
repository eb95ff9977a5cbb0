"""ResNet-56 pruned to 2.13x by one global ranking: ours beside torch-pruning's own loop, turn by turn on one core.

``python -m benchmarks.prune_speed [--rounds N] [--width W]``

Theirs is the loop of torch-pruning's benchmark: a pruner with 400 steps, and after each step its own counter, until
the speed-up is reached. Ours is everything from the network to the checked copy: tracing with the trial removals,
importances, ranking, removal, our counter. CPU seconds of the process count, because they do not grow with what else
the machine does.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
import torch_pruning
from torch import nn

from benchmarks.report import show
from compressors import architectures
from compressors.counting import count
from compressors.quiet import quiet
from compressors.steps.prune.criteria import Scorer, choose_global
from compressors.steps.prune.structure import remove, trace

SHAPE = (1, 3, 32, 32)
SPEED_UP = 2.13


def ours(model: nn.Module) -> nn.Module:
    """From the network to the pruned copy."""
    structure = trace(model, SHAPE)
    target = int(structure.macs({}) / SPEED_UP)
    gone = choose_global(Scorer.of(model, structure, "l2").scores, structure, target)
    return remove(model, SHAPE, gone, structure)


def theirs(model: nn.Module) -> nn.Module:
    """torch-pruning's loop."""
    pruned, sample = copy.deepcopy(model), torch.zeros(SHAPE)
    with quiet():
        pruner = torch_pruning.pruner.BasePruner(
            pruned, sample, importance=torch_pruning.importance.MagnitudeImportance(p=2), global_pruning=True,
            pruning_ratio=1.0, iterative_steps=400, ignored_layers=[pruned.get_submodule("fc")],
            in_channel_groups={}, out_channel_groups={}, num_heads={},
        )  # fmt: skip
        base, _ = torch_pruning.utils.count_ops_and_params(pruned, sample)
        now = base
        while base / now < SPEED_UP:
            pruner.step()
            now, _ = torch_pruning.utils.count_ops_and_params(pruned, sample)
    return pruned


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = architectures.build("resnet56-cifar", width=options.width)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # fresh ones are all alike, trained ones are not
            nn.init.uniform_(module.weight, 0.5, 1.5)
    base = count(model, SHAPE).macs
    ways: dict[str, Callable[[nn.Module], nn.Module]] = {"pocketzoo": ours, "torch-pruning": theirs}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    walls: dict[str, list[float]] = {name: [] for name in ways}
    reached: dict[str, float] = {}
    for _ in range(options.rounds):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            pruned = way(model)
            seconds[name].append(time.process_time() - cpu)
            walls[name].append(time.perf_counter() - wall)
            reached[name] = base / count(pruned, SHAPE).macs
    ratio = statistics.median(
        mine / other for mine, other in zip(seconds["pocketzoo"], seconds["torch-pruning"], strict=True)
    )
    rows = [
        {
            "loop": name,
            "CPU s (median)": statistics.median(seconds[name]),
            "wall s (median)": statistics.median(walls[name]),
            "speed-up in MACs": reached[name],
            "CPU beside torch-pruning": ratio if name == "pocketzoo" else 1.0,
        }
        for name in ways
    ]
    show("prune-speed", rows, f"{options.rounds} rounds, one thread; wanted: no more than torch-pruning's time.")


if __name__ == "__main__":
    main()
