"""The layers of torchvision's checkpoints, in their order, as printed from the published files."""

from __future__ import annotations

RESNET18 = """
conv1 bn1
layer1.0.conv1 layer1.0.bn1 layer1.0.conv2 layer1.0.bn2
layer1.1.conv1 layer1.1.bn1 layer1.1.conv2 layer1.1.bn2
layer2.0.conv1 layer2.0.bn1 layer2.0.conv2 layer2.0.bn2 layer2.0.downsample.0 layer2.0.downsample.1
layer2.1.conv1 layer2.1.bn1 layer2.1.conv2 layer2.1.bn2
layer3.0.conv1 layer3.0.bn1 layer3.0.conv2 layer3.0.bn2 layer3.0.downsample.0 layer3.0.downsample.1
layer3.1.conv1 layer3.1.bn1 layer3.1.conv2 layer3.1.bn2
layer4.0.conv1 layer4.0.bn1 layer4.0.conv2 layer4.0.bn2 layer4.0.downsample.0 layer4.0.downsample.1
layer4.1.conv1 layer4.1.bn1 layer4.1.conv2 layer4.1.bn2
fc
"""

RESNET50 = """
conv1 bn1
layer1.0.conv1 layer1.0.bn1 layer1.0.conv2 layer1.0.bn2 layer1.0.conv3 layer1.0.bn3 layer1.0.downsample.0
layer1.0.downsample.1
layer1.1.conv1 layer1.1.bn1 layer1.1.conv2 layer1.1.bn2 layer1.1.conv3 layer1.1.bn3
layer1.2.conv1 layer1.2.bn1 layer1.2.conv2 layer1.2.bn2 layer1.2.conv3 layer1.2.bn3
layer2.0.conv1 layer2.0.bn1 layer2.0.conv2 layer2.0.bn2 layer2.0.conv3 layer2.0.bn3 layer2.0.downsample.0
layer2.0.downsample.1
layer2.1.conv1 layer2.1.bn1 layer2.1.conv2 layer2.1.bn2 layer2.1.conv3 layer2.1.bn3
layer2.2.conv1 layer2.2.bn1 layer2.2.conv2 layer2.2.bn2 layer2.2.conv3 layer2.2.bn3
layer2.3.conv1 layer2.3.bn1 layer2.3.conv2 layer2.3.bn2 layer2.3.conv3 layer2.3.bn3
layer3.0.conv1 layer3.0.bn1 layer3.0.conv2 layer3.0.bn2 layer3.0.conv3 layer3.0.bn3 layer3.0.downsample.0
layer3.0.downsample.1
layer3.1.conv1 layer3.1.bn1 layer3.1.conv2 layer3.1.bn2 layer3.1.conv3 layer3.1.bn3
layer3.2.conv1 layer3.2.bn1 layer3.2.conv2 layer3.2.bn2 layer3.2.conv3 layer3.2.bn3
layer3.3.conv1 layer3.3.bn1 layer3.3.conv2 layer3.3.bn2 layer3.3.conv3 layer3.3.bn3
layer3.4.conv1 layer3.4.bn1 layer3.4.conv2 layer3.4.bn2 layer3.4.conv3 layer3.4.bn3
layer3.5.conv1 layer3.5.bn1 layer3.5.conv2 layer3.5.bn2 layer3.5.conv3 layer3.5.bn3
layer4.0.conv1 layer4.0.bn1 layer4.0.conv2 layer4.0.bn2 layer4.0.conv3 layer4.0.bn3 layer4.0.downsample.0
layer4.0.downsample.1
layer4.1.conv1 layer4.1.bn1 layer4.1.conv2 layer4.1.bn2 layer4.1.conv3 layer4.1.bn3
layer4.2.conv1 layer4.2.bn1 layer4.2.conv2 layer4.2.bn2 layer4.2.conv3 layer4.2.bn3
fc
"""

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def parameters(layers: str) -> list[str]:
    """The names of a checkpoint's tensors: batch norms have five, convolutions a weight, ``fc`` weight and bias."""
    found = []
    for layer in layers.split():
        kind = layer.rpartition(".")[2]
        normalises = kind.startswith("bn") or layer.endswith("downsample.1")
        suffixes = BATCH_NORM if normalises else ("weight", "bias") if kind == "fc" else ("weight",)
        found += [f"{layer}.{suffix}" for suffix in suffixes]
    return found
