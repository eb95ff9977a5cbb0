"""Quantization on Fashion-MNIST: float, after training, and trained in PaddleSlim's three schemes.

``python -m benchmarks.results_quant [--seeds 0,1,2] [--only RECIPE] [--no-latency | --no-training]``
"""

from __future__ import annotations

from benchmarks.study import Line, Study, run

FLOAT, AWARE = 5, 1  # epochs
SCHEMES = {
    "quant-post": "after training, calibrated",
    "quant": "weights abs_max, activations abs_max",
    "quant-ema": "weights abs_max, activations moving_average_abs_max",
    "quant-channelwise": "weights channel_wise_abs_max, activations abs_max",
}


def lines_of(network: str) -> tuple[Line, ...]:
    """The float network and its int8 files."""
    float_settings = (f"train.epochs={FLOAT}",)
    aware = (*float_settings, f"steps.0.qat.train.epochs={AWARE}")
    return (
        Line(network, float_settings, None, "float32"),
        *(
            Line(f"{network}-{scheme}", float_settings if scheme == "quant-post" else aware, network, says)
            for scheme, says in SCHEMES.items()
        ),
    )


STUDY = Study(
    name="quant",
    title="Quantization on Fashion-MNIST",
    budget=(
        f"MobileNetV1 at width 0.25 and ResNet-20 at half of its width: {FLOAT} epochs of 54,000 images in float,\n"
        f"then {AWARE} with fake quantization. 6,000 images are held out and choose the epoch. Seeds decide\n"
        "weights, order and augmentation."
    ),
    remarks=(
        "These networks take 0.05 to 0.3 ms, so a few microseconds of difference between processes make a cell\n"
        "unstable; the ratios are several times as large. Full int8 is faster than float. Dynamic range\n"
        "(activations abs_max, which the runtime quantizes at every layer while running) is faster for ResNet-20\n"
        "and slower for MobileNetV1, whose depthwise layers do little work for what is quantized. Files are more\n"
        "than a quarter of float's: at this size scales, names and the graph weigh. Training with fake\n"
        "quantization is one epoch more than the float network had, which is why it can end above it."
    ),
    lines=(*lines_of("mobilenetv1-fashion"), *lines_of("resnet20-fashion")),
)

if __name__ == "__main__":
    run(STUDY)
