"""The accuracy gate on a network that one scale per tensor is known to break, and known where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from compressors.evaluate import FileModel
from compressors.export import export_tflite
from compressors.sections import Quantize
from compressors.steps.quantize.gate import Gated, gated, told
from compressors.steps.quantize.layers import nodes_of
from pocketzoo.errors import WorkFailed
from tests.compressors.test_aware import LAYERS, SHAPE, branches

LOUD = 300.0


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """One channel of the stem is made loud, and the layers behind it deaf to that: the same function in float."""
    torch.manual_seed(0)
    network = branches()
    with torch.no_grad():
        for layer in ("stem", "left", "right"):
            weight = network.get_submodule(layer).get_parameter("weight")
            if layer == "stem":
                weight[0] *= LOUD
            else:
                weight[:, 0] /= LOUD
    file = tmp_path_factory.mktemp("gate") / "float.tflite"
    export_tflite(network, SHAPE[-1], file)
    return network, file


def probes(count: int) -> list[NDArray[np.float32]]:
    noise = np.random.default_rng(0)
    return [noise.normal(size=(1, SHAPE[2], SHAPE[3], SHAPE[1])).astype(np.float32) for _ in range(count)]


def agreement(float_file: Path) -> Callable[[Path], float]:
    """In how many percent of 50 inputs a file answers like the float file."""
    inputs = probes(50)
    exact = [int(FileModel(float_file)(x).argmax()) for x in inputs]

    def judge(file: Path) -> float:
        model = FileModel(file)
        return 100 * float(np.mean([int(model(x).argmax()) == best for x, best in zip(inputs, exact, strict=True)]))

    return judge


def run(broken: tuple[torch.nn.Module, Path], target: Path, max_drop: float, tries: list[str]) -> Gated:
    network, file = broken
    step = Quantize(kind="quantize", scheme="weight-only-int8", weights="tensor", max_ratio=1.0, max_drop=max_drop)
    nodes = nodes_of(network, SHAPE, file)
    return gated(file, target, step, None, nodes, agreement(file), probes(4), tries.append)


def test_the_layer_that_breaks_stays_in_float(broken: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    tries: list[str] = []
    target = tmp_path / "gated.tflite"
    found = run(broken, target, 20.0, tries)
    assert found.float_accuracy == 100.0
    assert tries[0].startswith("0 layers in float")
    assert found.kept[0] == "stem"
    assert max(found.sensitivity, key=found.sensitivity.__getitem__) == "stem"
    assert set(found.sensitivity) == set(LAYERS)
    assert found.accuracy >= 80.0
    assert agreement(broken[1])(target) == found.accuracy  # the file that is left is the one that held
    assert "stem" in told(found, len(LAYERS))


def test_a_gate_that_cannot_hold_says_how_far_it_came(broken: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    worse: Callable[[Path], float] = lambda file: 100.0 if file == broken[1] else 1.0  # noqa: E731
    network, file = broken
    step = Quantize(kind="quantize", scheme="weight-only-int8", weights="tensor", max_ratio=1.0, max_drop=1.0)
    with pytest.raises(WorkFailed, match="however many layers stay in float") as caught:
        gated(file, tmp_path / "x.tflite", step, None, nodes_of(network, SHAPE, file), worse, probes(2), print)
    assert any("4 of 5 layers in float: 99.00 points" in line for line in caught.value.detail)
