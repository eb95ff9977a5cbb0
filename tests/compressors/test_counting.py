"""The counter, against sums done by hand."""

from __future__ import annotations

import torch
from torch import nn

from compressors.counting import count
from tests.compressors.networks import Functional


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
