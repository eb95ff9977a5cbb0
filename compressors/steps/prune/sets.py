"""Which layers of an architecture are left alone: published sets, as data.

A `prune` step names one with ``prunable``. PaddleX's name what may be pruned; here is what may not, by this project's
layer names. Depthwise convolutions follow the layer before them in every network and need no mention, and a network's
outputs are never pruned.
"""

from __future__ import annotations

from collections.abc import Mapping

from pocketzoo.errors import BadInput

# Patterns of layer names; what matches keeps its output channels.
SETS: Mapping[str, tuple[str, ...]] = {
    # PaddleX, classification. MobileNetV1: conv1 and the pointwise convolutions: everything but the classifier.
    "paddlex-mobilenetv1": (),
    # MobileNetV2: not the depthwise convolutions (which follow), not fc.
    "paddlex-mobilenetv2": (),
    # PaddleX, detection: only the convolutions of the YOLO blocks; the backbone stays untouched.
    "paddlex-yolov3": ("backbone.*", "backbone", "head.*"),
    # PaddleX, segmentation.
    "paddlex-fastscnn": ("classifier.*", "logits"),
    "paddlex-deeplabv3": ("logits", "decoder.concat*", "encoder.concat*"),
    # Torch-Pruning's benchmarks ignore the last layer, which is the output here.
    "torch-pruning": (),
}


def kept_by(name: str) -> tuple[str, ...]:
    """The patterns of a published set.

    Raises:
        BadInput: no such set.
    """
    if name not in SETS:
        raise BadInput(f"no prunable set {name!r}", detail=(f"sets: {', '.join(SETS)}",))
    return SETS[name]
