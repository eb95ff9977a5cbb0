"""Which layers of an architecture are left alone: published sets, as data.

A `prune` step names one with ``prunable``. PaddleX's name what may be pruned; here is what may not, by this project's
layer names. Depthwise convolutions follow the layer before them in every network and need no mention, and a network's
outputs are never pruned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from pocketzoo.errors import BadInput

# Patterns of layer names; what matches keeps its output channels.
SETS: Mapping[str, tuple[str, ...]] = {
    # PaddleX, classification. MobileNetV1: conv1 and the pointwise convolutions, which is all but the output.
    "paddlex-mobilenetv1": (),
    # MobileNetV2: neither the depthwise convolutions, which follow here, nor fc, the output.
    "paddlex-mobilenetv2": (),
    # PaddleX, detection: only what is called yolo_block; the backbone stays untouched, and so do the transitions
    # between scales and the 1x1 convolutions that answer.
    "paddlex-yolov3": ("backbone.*", "transitions.*", "heads.*"),
    # PaddleX, segmentation: FastSCNN's logits alone (classifier/weights there); the separable convolutions before them
    # may be pruned.
    "paddlex-fastscnn": ("classifier.3",),
    # Logits; encoder/concat is the convolution that mixes the pyramid's branches, decoder/concat the one that takes the
    # fine features in, where a network has them.
    "paddlex-deeplabv3": ("logits", "encoder.mixed.*", "decoder.reduce.*"),
    # Torch-Pruning's benchmarks ignore the last layer, which is the output.
    "torch-pruning": (),
}


def kept_by(name: str, layers: Iterable[str]) -> tuple[str, ...]:
    """The layers of a network that a published set leaves alone.

    Args:
        name: of the set.
        layers: names of the network's layers.

    Raises:
        BadInput: no such set, or one whose layers the network does not have.
    """
    if name not in SETS:
        raise BadInput(f"no prunable set {name!r}", detail=(f"sets: {', '.join(SETS)}",))
    found = tuple(layer for layer in layers if any(fnmatchcase(layer, pattern) for pattern in SETS[name]))
    if SETS[name] and not found:
        raise BadInput(
            f"prunable: the set {name} is of another network",
            detail=(f"it keeps {', '.join(SETS[name])}, and no layer has such a name",),
            hint="leave `prunable` out, and name the layers to leave alone in `keep`",
        )
    return found
