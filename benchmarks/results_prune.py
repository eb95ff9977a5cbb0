"""Pruning on Fashion-MNIST: five of Torch-Pruning's methods, PaddleSlim's protocols, the agents, AMC's networks.

``python -m benchmarks.results_prune [--seeds 0,1,2] [--only RECIPE] [--no-latency | --no-training]``
"""

from __future__ import annotations

import re
from typing import Any

from benchmarks.study import Line, Study, run

IMAGES, RESNET, MOBILENET, AMC = 8_000, 6, 8, 4  # images trained on (a tenth held out), epochs of the float networks
SPARSE, FINETUNE, BETWEEN, EPISODES, JUDGES = 1, 2, 1, 20, 300
DATA = (f"data.training.limit={IMAGES}",)

RESNETS = {
    "norm": "group norm, global, then fine-tuned",
    "l1": "group L1, global, then fine-tuned",
    "bn": "sparse learning on batch norm's scales",
    "greg": "sparse learning with a growing penalty (GReg)",
    "group-sl": "sparse learning of whole groups",
}
MOBILENETS = {
    "uniform": ("every layer alike", ()),
    "sensitivity": ("sensitivity, at once", (f"steps.0.search.images={JUDGES}",)),
    "iterative": (
        "sensitivity, 7 % of what is left a step",
        (f"steps.0.search.images={JUDGES}", f"steps.0.search.between.epochs={BETWEEN}"),
    ),
    "stepwise": (
        "sensitivity, 20 % a step",
        (f"steps.0.search.images={JUDGES}", f"steps.0.search.between.epochs={BETWEEN}"),
    ),
    "rl": ("DDPG (PocketFlow)", (f"steps.0.search.images={JUDGES}", f"steps.0.episodes={EPISODES}")),
    "rl-groups": (
        "DDPG and group fine-tuning (PocketFlow)",
        (f"steps.0.search.images={JUDGES}", f"steps.0.episodes={EPISODES}"),
    ),
}


def resnets() -> tuple[Line, ...]:
    """ResNet-56 and its five methods at two speed-ups."""
    base = (*DATA, "model.options.width=4", f"train.epochs={RESNET}")
    lines = [Line("resnet56-fashion", base, None, "float32")]
    for speed_up in ("2.11x", "2.55x"):
        for method, says in RESNETS.items():
            sparse = (f"steps.0.sparse.train.epochs={SPARSE}",) if "spars" in says else ()
            settings = (*base, *sparse, f"steps.0.finetune.epochs={FINETUNE}")
            lines.append(Line(f"resnet56-fashion-prune{speed_up}-{method}", settings, "resnet56-fashion", says))
    return tuple(lines)


def mobilenets() -> tuple[Line, ...]:
    """MobileNetV1 and six protocols at three ratios."""
    base = (*DATA, f"train.epochs={MOBILENET}")
    lines = [Line("mobilenetv1-fashion", base, None, "float32")]
    for percent in (50, 60, 70):
        for protocol, (says, searched) in MOBILENETS.items():
            name = f"mobilenetv1-fashion-prune{percent}-{protocol}"
            steps = 3 if (percent, protocol) == (50, "stepwise") else 1  # PaddleSlim's row is three recipes in a chain
            settings = tuple(f"steps.{n}.search.images={JUDGES}" for n in range(steps)) if steps == 3 else searched
            tuned = tuple(f"steps.{number}.finetune.epochs={FINETUNE}" for number in range(steps))
            lines.append(Line(name, (*base, *settings, *tuned), "mobilenetv1-fashion", says))
    return tuple(lines)


def amc() -> tuple[Line, ...]:
    """The two networks that AMC published, against the 0.75 MobileNetV1 of its table."""
    base, against = (*DATA, f"train.epochs={AMC}"), "mobilenetv1-0.75x-fashion"
    return (
        # The twin is 0.75 of MobileNetV1 0.25; AMC's networks are not narrowed.
        Line(against, (*base, "model.options.width=0.75"), None, "float32, 0.75 of the width"),
        Line("amc-mobilenetv1-0.5flops-fashion", base, against, "AMC, half of the FLOPs"),
        Line("amc-mobilenetv1-0.5time-fashion", base, against, "AMC, half of the time"),
    )


def held_out(row: dict[str, Any]) -> str:
    """Top-1 on the held-out split after the best and after the last epoch of the last training."""
    kept = r"kept with top-?1 ([0-9.]+) % on the held-out split(?:, ([0-9.]+) % after the last)?"
    found = [match.groups() for note in row["notes"] for match in re.finditer(kept, note)]
    return f"{found[-1][0]} / {found[-1][1] or found[-1][0]}" if found else ""


STUDY = Study(
    name="prune",
    title="Pruning on Fashion-MNIST",
    budget=(
        f"{IMAGES:,} images (a tenth held out, which chooses the epoch and judges candidates). ResNet-56 at a quarter\n"
        f"of its width: {RESNET} epochs, sparse learning {SPARSE}, fine-tuning {FINETUNE}. MobileNetV1 at width 0.25:\n"
        f"{MOBILENET} epochs, fine-tuning {FINETUNE}, {BETWEEN} between the steps, curves on {JUDGES} images,\n"
        f"{EPISODES} episodes. AMC's networks at full width: {AMC} epochs."
    ),
    remarks=(
        "Where our order of methods is not the published one:\n\n"
        "- **ResNet-56**: Torch-Pruning's order is group SL, GReg, group norm, BN, group L1 (93.77 to 92.93\n"
        "  %). Our means stand nearly the other way round, and the seeds lie so far apart that no order can\n"
        "  be told from them. Each method's network is right on a tenth of the images when it has just been\n"
        "  pruned; with one epoch of sparse learning and two of fine-tuning the table says how fast they come\n"
        "  back, not what they keep. 100 and 100 epochs are what the recipes for CIFAR-10 have.\n"
        "- **MobileNetV1, sensitivity**: PaddleSlim has uniform pruning above sensitivity at once and in 7 %\n"
        "  steps (69.66, 68.68 and 68.41 % at -50 %). Here the two protocols in steps are above the other\n"
        "  two: they train between the steps, which is much against two epochs of fine-tuning and little\n"
        "  against PaddleSlim's 120.\n"
        "- **MobileNetV1, agent**: above uniform pruning, as in PocketFlow. What group fine-tuning adds\n"
        "  (PocketFlow: 0.1 to 0.8 points) is within the intervals.\n"
        "- **AMC**: compared with 0.75 of the width as in its table. The networks are trained from their\n"
        "  structure alone."
    ),
    lines=(*resnets(), *mobilenets(), *amc()),
    more_columns={"M MACs": lambda row: f"{row['macs'] / 1e6:.2f}", "held-out best / last % (first seed)": held_out},
)

if __name__ == "__main__":
    run(STUDY)
