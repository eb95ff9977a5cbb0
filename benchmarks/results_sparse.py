"""Sparsity on Fashion-MNIST: Zhu and Gupta's schedule at four sparsities, ratios found by DDPG, and with distillation.

``python -m benchmarks.results_sparse [--seeds 0,1,2] [--only RECIPE] [--no-latency | --no-training]``
"""

from __future__ import annotations

import re
from typing import Any

from benchmarks.study import Line, Study, run

FLOAT, SPARSE = 6, 4  # epochs
IMAGES, BATCH = 10_000, 64
PARENT = "mobilenetv1-fashion"
SPARSITIES = (50, 75, 90, 95)
RATIOS = {
    "uniform": "every layer alike",
    "rl": "ratios by DDPG",
    "rl-distil": "ratios by DDPG, the dense network teaching",
}
WAYS = {f"sparse{zeros}-{name}": f"{zeros} %, {says}" for name, says in RATIOS.items() for zeros in SPARSITIES}
EPISODES = 8
EVERY = 10
FLOAT_SETTINGS = (f"train.epochs={FLOAT}", f"train.batch={BATCH}", f"data.training.limit={IMAGES}")
_TOLD = re.compile(r"sparsity: ([\d.]+) % of .*? ([\d,]+) of its ([\d,]+) weights are not; .*, ([\d,]+) compressed")


def settings_of(way: str) -> tuple[str, ...]:
    """Of one line; the search is shortened where there is one."""
    search = (f"steps.0.search.episodes={EPISODES}", f"steps.0.search.batch={BATCH}") if "-rl" in way else ()
    training = (f"steps.0.train.epochs={SPARSE}", f"steps.0.train.batch={BATCH}", f"steps.0.schedule.every={EVERY}")
    return (*FLOAT_SETTINGS, *training, *search)


def told(row: dict[str, Any], group: int) -> str:
    """A figure of the note that the finished file's check leaves."""
    found = next((match for note in row["notes"] if (match := _TOLD.match(note))), None)
    return found[group] if found else ""


def compressed(row: dict[str, Any]) -> str:
    """kB after zlib."""
    found = told(row, 4)
    return f"{int(found.replace(',', '')) / 1e3:.0f}" if found else ""


STUDY = Study(
    name="sparse",
    title="Sparsity on Fashion-MNIST",
    budget=(
        f"MobileNetV1 at width 0.25 on {IMAGES:,} of the 60,000 training images, 10 % of them held out to choose the\n"
        f"epoch: {FLOAT} epochs in float, then {SPARSE} in which weights become zero (from 10 % to 50 % of the steps,\n"
        f"masks every {EVERY}). DDPG had {EPISODES} roll-outs, each fitted and trained for 20 steps, judged on the\n"
        "held-out images. Pointwise convolutions and the classifier are sparse. Seeds decide weights, order,\n"
        "augmentation and the search."
    ),
    remarks=(
        "The file is as large as the dense one, because zeros are stored like other weights; what compresses is the\n"
        "file in an archive or on its way to a phone (zlib, level 9). No speed-up is claimed: the runtime computes\n"
        "with zeros as with other numbers, unless the file says that it is sparse ([method.md](method.md#zeros)).\n"
        "Sparse networks train on where the float one has ended, which in a short training is worth a point."
    ),
    lines=(
        Line(PARENT, FLOAT_SETTINGS, None, "float32"),
        *(Line(f"{PARENT}-{way}", settings_of(way), PARENT, says) for way, says in WAYS.items()),
    ),
    more_columns={"zeros %": lambda row: told(row, 1), "non-zeros": lambda row: told(row, 2), "kB, zlib": compressed},
)

if __name__ == "__main__":
    run(STUDY)
