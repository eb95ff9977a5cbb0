"""Which networks the documents have, and recipes for those that no shipped recipe builds without data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Network:
    """A row: the name of its recipe and zoo entry, the document, and what its authors say of its size."""

    name: str
    document: str
    published: str = ""


IMAGENET: dict[str, Any] = {"resize": 256, "crop": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CIFAR: dict[str, Any] = {"resize": None, "crop": 32, "mean": [0.491, 0.482, 0.447], "std": [0.247, 0.243, 0.262]}
PHOTO: dict[str, Any] = {"resize": None, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
INT8: list[dict[str, Any]] = [{"kind": "quantize", "scheme": "static-int8", "max_ratio": 0.4}]


def _of(architecture: str, task: str, size: int, steps: Any = (), **options: Any) -> dict[str, Any]:
    how = {**(CIFAR if size == 32 else IMAGENET if size == 224 else PHOTO), "crop": size}
    return {
        "task": task,
        "model": {"architecture": architecture, "options": options},
        "preprocessing": how,
        "steps": list(steps),
    }


SEGMENT, CLASSIFY = "image-segmentation", "image-classification"
# Name -> recipe, for structure alone.
STRUCTURES: dict[str, dict[str, Any]] = {
    "deeplabv3-mobilenetv2-quant": _of("deeplabv3-mobilenetv2", SEGMENT, 769, INT8, classes=19),
    # The paper's images are 1024x2048; inputs are square here.
    "fastscnn-1024": _of("fastscnn", SEGMENT, 1024, classes=19),
    "resnet34": _of("resnet34", CLASSIFY, 224, classes=1000),
    "resnet20-cifar10": _of("resnet20-cifar", CLASSIFY, 32, classes=10),
}


def write_recipe(name: str, folder: Path) -> Path:
    """One of :data:`STRUCTURES` as a file; YAML is a superset of JSON."""
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"name": name, "title": name, "weights": "as-built", **STRUCTURES[name]}))
    return path


def is_large(name: str) -> bool:
    """Whether its export has a process of its own, whose memory is told: detectors and segmentations."""
    return name.startswith(("deeplabv3", "fastscnn")) or "yolov3" in name


SLIM, PADDLEX, FLOW, TP, AMC = "PaddleSlim", "PaddleX", "PocketFlow", "Torch-Pruning", "AMC"
LISTED = (
    Network("mobilenetv1", SLIM, "17 MB"),
    Network("mobilenetv1-quant-ema", SLIM, "4.9 MB"),
    Network("deeplabv3-mobilenetv2", PADDLEX, "7.4 MB"),
    Network("deeplabv3-mobilenetv2-quant", PADDLEX, "2.1 MB"),
    Network("fastscnn", PADDLEX, "11 MB"),
    Network("fastscnn-prune47.6", PADDLEX, "5.7 MB"),
    Network("mobilenetv1-yolov3", PADDLEX, "95 MB"),
    Network("mobilenetv1-yolov3-quant-post", PADDLEX, "25 MB"),
    Network("mobilenetv1-yolov3-voc-prune52.88", PADDLEX, "31 MB"),
    Network("resnet34-yolov3", PADDLEX, "162 MB"),
    Network("resnet34-yolov3-quant-post", PADDLEX, "42.7 MB"),
    Network("mobilenetv2", FLOW),
    Network("mobilenetv2-quant", FLOW),
    Network("resnet50", SLIM, "99 MB"),
    Network("resnet50-prune2.04x-l1", TP, "2.00 G MACs"),
    Network("mobilenetv1-prune50-rl", FLOW),
    Network("mobilenetv1-prune60-uniform", SLIM, "7.5 MB"),
    Network("mobilenetv1-prune70-uniform", SLIM, "5.9 MB"),
    Network("mobilenetv1-prune50-quant", SLIM),
    Network("amc-mobilenetv1-0.5flops", AMC, "285 M MACs"),
    Network("amc-mobilenetv1-0.5time", AMC, "272 M MACs"),
    Network("amc-mobilenetv2-0.7flops", AMC, "210 M MACs"),
    Network("mobilenetv2-prune30-amc", AMC, "210 M MACs"),
    Network("resnet56-cifar10", TP, "127.1 M, 0.86 M parameters"),
    Network("resnet56-cifar10-prune2.11x-bn", TP, "2.11x"),
    Network("resnet56-cifar10-prune2.55x-norm", TP, "2.55x"),
    Network("vgg19-cifar100", TP, "512.7 M"),
    Network("vgg19-cifar100-prune8.84x-group-sl", TP, "8.84x"),
    Network("resnet20-cifar10", FLOW),
    Network("resnet18", FLOW),
    Network("mobilenetv1-yolov3-prune51.77", PADDLEX, "32 MB"),
    Network("mobilenetv1-0.75x", AMC, "325 M MACs"),
    Network("mobilenetv2-0.75x", AMC),
    Network("resnet34", SLIM),
    Network("resnet50-quant-ema", SLIM, "27 MB"),
    Network("resnet18-quant", FLOW),
    Network("resnet56-cifar10-quant-ema", TP),
    Network("mobilenetv1-yolov3-voc", PADDLEX, "94 MB"),
    Network("fastscnn-1024", PADDLEX),
)
