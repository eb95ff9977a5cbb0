"""AMC's search at full size, by structure alone: do its bounds, its rounding and its budget land on the target?

``python -m benchmarks.network_searches [--episodes 30]`` walks AMC's agent over MobileNetV2 at 70 % and MobileNetV1 at
50 % of the MACs, 224x224, as ``compress run mobilenetv2-prune30-amc`` does, but no candidate is evaluated: each gets
the same reward, so the channels it ends with mean nothing and only their cost does. Wanted: every roll-out within 1 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import machine, show
from compressors import architectures
from compressors.check import size_of
from compressors.progress import Silent
from compressors.search.amc import LOWEST, ROUND_TO, AmcEnvironment
from compressors.search.candidates import budget_of, course_of
from compressors.search.ddpg import AMC
from compressors.search.ratios import shortened
from compressors.search.rollouts import search
from compressors.steps.prune.structure import remove, trace

SHAPE = (1, 3, 224, 224)
# Network, share of the MACs that stays, the network its authors' search found.
ASKED = (("mobilenetv2", 0.7, "amc-mobilenetv2-0.7flops"), ("mobilenetv1", 0.5, "amc-mobilenetv1-0.5flops"))
DATA = Path("docs/data/network-searches.json")


def found(architecture: str, stays: float, theirs: str, episodes: int) -> dict[str, Any]:
    """One search, and the network of its last roll-out, really built."""
    torch.manual_seed(0)
    model = architectures.build(architecture)
    structure = trace(model, SHAPE)
    base = structure.macs({})
    limit = base * stays
    budget = budget_of(structure, lambda kept: float(structure.macs(kept)), limit, lowest=LOWEST, round_to=ROUND_TO)
    costs = {name: float(macs) for name, macs in structure.layer_macs({}).items()}
    course = course_of(structure, budget, costs, lowest=LOWEST, round_up=True, last_whole=False)
    course.bounded.check()
    with tempfile.TemporaryDirectory() as folder:
        done = search(
            AmcEnvironment(course), shortened(AMC, episodes), lambda _counts: 0.5, Path(folder), Silent(),
            seed=0, identity="structure", episodes=episodes,
        )  # fmt: skip
    settled = [course.bounded.settle(each.counts) for each in done.history]
    off = [(structure.macs(kept) - limit) / base for kept in settled]
    kept = settled[-1]
    gone = {name: range(structure[name].channels - number) for name, number in kept.items()}
    pruned = size_of(remove(model, SHAPE, {name: each for name, each in gone.items() if each}, structure), SHAPE)
    return {
        "network": architecture,
        "target M MACs": limit / 1e6,
        "roll-outs": len(done.history),
        "lowest %": 100 * min(off),
        "highest %": 100 * max(off),
        "last M MACs": pruned.macs / 1e6,
        "last M parameters": pruned.parameters / 1e6,
        "multiples of 8": all(number % ROUND_TO == 0 for number in kept.values()),
        "theirs M MACs": size_of(architectures.build(theirs), SHAPE).macs / 1e6,
    }


def main() -> None:
    """Print the table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--episodes", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [found(*each, options.episodes) for each in ASKED]
    DATA.write_text(json.dumps({"schema": 1, "machine": machine(), "rows": rows}, indent=1) + "\n")
    note = (
        "Deviations are of the unpruned network's MACs, after the rest of the budget is given back. Wanted: within 1 %."
    )
    show("network_searches", rows, note)


if __name__ == "__main__":
    main()
