"""The accuracy gate on a network that one scale per tensor is known to break, and known where."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from compressors.evaluate import FileModel
from compressors.export import export_tflite
from compressors.sections import Quantize
from compressors.steps.quantize import aware
from compressors.steps.quantize.gate import Gated, gated, told
from compressors.steps.quantize.layers import nodes_of
from compressors.steps.quantize.learnt import Gate, quantize_learnt
from pocketzoo.errors import WorkFailed
from tests.compressors.test_aware import LAYERS, SHAPE, branches, how

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


class Largest:
    """The largest absolute input of each layer: what a training would have learnt."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.found: dict[str, tuple[float, float]] = {}
        for name in LAYERS:
            network.get_submodule(name).register_forward_pre_hook(self.watch(name))

    def watch(self, name: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]:
        def see(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            top = max(float(inputs[0].abs().max()), self.found.get(name, (0.0, 0.0))[1])
            self.found[name] = (-top, top)

        return see


@pytest.mark.parametrize(("activations", "max_drop"), [("abs_max", 20.0), ("moving_average_abs_max", 80.0)])
def test_a_gate_keeps_layers_in_float_after_quantization_aware_training_too(
    broken: tuple[torch.nn.Module, Path], tmp_path: Path, activations: str, max_drop: float
) -> None:
    network = copy.deepcopy(broken[0]).eval()
    largest = Largest(network)
    with torch.no_grad():
        for probe in probes(50):
            network(torch.from_numpy(probe).permute(0, 3, 1, 2))
    learnt = largest.found if activations != "abs_max" else {}
    folded = copy.deepcopy(broken[0])
    aware.fold(folded, aware.layers(folded, torch.zeros(SHAPE)))
    weights = {name: folded.get_submodule(name).get_parameter("weight").detach().numpy() for name in LAYERS}
    scheme = how("abs_max", activations)
    step = Quantize(
        kind="quantize", scheme=scheme.scheme, weights="tensor", max_ratio=1.0, max_drop=max_drop, qat=scheme
    )
    target, tries = tmp_path / "gated.tflite", list[str]()
    gate = Gate(exact_file=broken[1], judge=agreement(broken[1]), probes=probes(4), say=tries.append)
    told_of = quantize_learnt(broken[1], target, step, learnt, weights, probes(8), gate=gate)
    assert told_of.gate is not None
    assert tries[0].startswith("0 layers in float")
    assert 0 < len(told_of.gate.kept) < len(LAYERS)
    assert agreement(broken[1])(target) == told_of.gate.accuracy >= 100.0 - max_drop
    if activations != "abs_max":
        return
    assert told_of.gate.kept[0] == "stem"
    with pytest.raises(WorkFailed, match="however many layers stay in float"):
        worse = Gate(exact_file=broken[1], judge=lambda file: 100.0 * (file == broken[1]), probes=probes(2), say=print)
        quantize_learnt(broken[1], target, step, learnt, weights, probes(8), gate=worse)
