"""The counter, against sums done by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compressors.counting import count, file_macs
from tests.compressors.networks import Functional
from zoo.tflite import Operator, TfliteFacts, inspect


def test_convolutions_and_linear_layers_are_counted_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),  # 8x8x8 outputs, 3x3x3 each
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=4),  # 16x4x4 outputs, 2x3x3 each
        nn.ConvTranspose2d(16, 4, 2, stride=2),  # 16x4x4 inputs, 4x2x2 each
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    found = count(model, (1, 3, 8, 8))
    assert list(found.layers.values()) == [8 * 64 * 27, 16 * 16 * 18, 256 * 16, 2560]
    assert found.macs == sum(found.layers.values())
    assert found.elsewhere == 0


def test_a_layer_used_twice_counts_twice() -> None:
    layer = nn.Linear(8, 8)
    assert count(nn.Sequential(layer, layer), (1, 8)).macs == 128


def test_work_outside_modules_is_counted_elsewhere() -> None:
    found = count(Functional(), (1, 3, 6, 6))
    assert found.layers == {}
    assert found.elsewhere == found.macs == 4 * 16 * 27


def test_parameters_zeros_and_the_mode_of_the_model() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)).train()
    with torch.no_grad():
        model[0].weight[0] = 0  # type: ignore[index,operator]
    found = count(model, (1, 3, 2, 2))
    assert found.parameters == 12 + 8
    assert found.nonzeros == 20 - 3 - 4  # three zeroed weights; the four biases of batch norm start at 0
    assert model.training
    assert not model[0]._forward_hooks


def test_the_exported_file_is_counted_from_its_own_shapes(network: nn.Module, float_file: Path) -> None:
    facts = inspect(float_file)
    assert (
        file_macs(facts) == count(network, (1, 3, 32, 32)).macs == 256 * (32 * 27 + 32 * 9 + 32 * 384 + 384**2) + 3840
    )
    convolution = next(op for op in facts.operators if op.name == "CONV_2D")
    assert convolution.output_shapes == ((1, 16, 16, 32),)
    assert convolution.input_shapes[1:] == ((32, 3, 3, 3), (32,))


@pytest.mark.parametrize(
    ("name", "taken", "given", "macs"),
    [
        ("CONV_2D", ((1, 8, 8, 4), (6, 3, 3, 2), (6,)), (1, 8, 8, 6), 8 * 8 * 6 * 18),  # two groups
        ("DEPTHWISE_CONV_2D", ((1, 8, 8, 4), (1, 3, 3, 8)), (1, 4, 4, 8), 4 * 4 * 8 * 9),
        ("FULLY_CONNECTED", ((2, 5), (7, 5)), (2, 7), 70),
        ("TRANSPOSE_CONV", ((4,), (4, 2, 2, 16), (1, 4, 4, 16)), (1, 8, 8, 4), 256 * 16),
        ("CONV_3D", ((1, 4, 4, 4, 2), (3, 3, 3, 2, 5)), (1, 2, 2, 2, 5), 40 * 54),
        ("BATCH_MATMUL", ((3, 4, 5), (3, 5, 6)), (3, 4, 6), 3 * 4 * 6 * 5),
        ("ADD", ((1, 8), (1, 8)), (1, 8), 0),
        ("MAX_POOL_2D", ((1, 8, 8, 4),), (1, 4, 4, 4), 0),
    ],
)
def test_operators_of_a_file_are_counted_by_hand(
    name: str, taken: tuple[tuple[int, ...], ...], given: tuple[int, ...], macs: int
) -> None:
    operator = Operator(name, False, (), (), taken, (given,))
    assert file_macs(TfliteFacts((), (), (operator,))) == macs


def test_a_file_whose_shapes_are_not_known_is_not_counted() -> None:
    operator = Operator("FULLY_CONNECTED", False, (), (), ((-1, 5), (7, 5)), ((-1, 7),))
    assert file_macs(TfliteFacts((), (), (operator,))) is None


class Attends(nn.Module):
    """Self-attention: products of two activations, which no module's hook sees."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x).chunk(3, -1)
        return nn.functional.scaled_dot_product_attention(q, k, v)


def test_attention_is_counted_elsewhere() -> None:
    found = count(Attends(), (1, 5, 8))
    assert found.layers == {"project": 5 * 8 * 24}
    assert found.elsewhere == 2 * 5 * 5 * 8  # queries by keys, weights by values
