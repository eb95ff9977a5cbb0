"""Distillation on Fashion-MNIST: a ResNet teaches MobileNetV1, then int8; and pruning, then int8.

``python -m benchmarks.results_distil [--seeds 0,1,2] [--only RECIPE] [--no-latency | --no-training]``
"""

from __future__ import annotations

from benchmarks.results_sparse import BATCH, FLOAT_SETTINGS, IMAGES
from benchmarks.study import Line, Study, run

TEACHER, STUDENT, FINE, AWARE = 6, 6, 4, 1  # epochs
PARENT, SCHOOL = "mobilenetv1-fashion", "resnet20-fashion"
TAUGHT = (
    *FLOAT_SETTINGS,
    f"steps.0.train.epochs={STUDENT}",
    f"steps.0.train.batch={BATCH}",
    f"steps.0.teacher.settings.train.epochs={TEACHER}",
    f"steps.0.teacher.settings.train.batch={BATCH}",
)
QUANT = (f"steps.1.qat.train.epochs={AWARE}", f"steps.1.qat.train.batch={BATCH}")
PRUNED = (*FLOAT_SETTINGS, f"steps.0.finetune.epochs={FINE}", f"steps.0.finetune.batch={BATCH}")

STUDY = Study(
    name="distil",
    title="Distillation and chains on Fashion-MNIST",
    budget=(
        f"MobileNetV1 at width 0.25 on {IMAGES:,} of the 60,000 training images, 10 % of them held out to choose the\n"
        f"epoch, {STUDENT} epochs from untrained weights: alone, and taught by ResNet-20 (at half of its width, "
        f"{TEACHER}\nepochs) with cross entropy + L2 of the outputs + FSP of two pairs of layers. Pruned: half of the "
        f"MACs, {FINE} epochs\nof fine-tuning. int8: {AWARE} epoch of fake quantization (abs_max)."
    ),
    remarks=(
        "ResNet-20 is the teacher, not the network that is compressed: its line says how much there is to learn. What\n"
        "comes after a float training trains on: the pruned and the int8 networks saw more steps than the float one,\n"
        "and in a training as short as this that is part of what they gain."
    ),
    lines=(
        Line(SCHOOL, (f"train.epochs={TEACHER}", *FLOAT_SETTINGS[1:]), None, "the teacher, float32"),
        Line(PARENT, FLOAT_SETTINGS, None, "float32, alone"),
        Line(f"{PARENT}-distil", TAUGHT, PARENT, "taught by ResNet-20: L2 + FSP"),
        Line(f"{PARENT}-distil-quant", (*TAUGHT, *QUANT), PARENT, "taught, then int8"),
        Line(f"{PARENT}-prune50-uniform", PRUNED, PARENT, "-50 % MACs"),
        Line(f"{PARENT}-prune50-quant", (*PRUNED, *QUANT), PARENT, "-50 % MACs, then int8"),
    ),
)

if __name__ == "__main__":
    run(STUDY)
