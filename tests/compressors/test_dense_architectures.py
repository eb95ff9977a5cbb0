"""Networks that answer for places in the image: detection and segmentation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressors import architectures
from compressors.architectures.fastscnn import grid_mean
from compressors.architectures.yolov3 import ANCHORS, STRIDES, decoded
from compressors.counting import count
from pocketzoo.errors import BadInput

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("architecture", "classes", "stored_mib"),
    # "Storage size" of PaddleX's tables: float32 parameters and batch norm's statistics.
    [
        ("mobilenetv1-yolov3", 80, 95),
        ("mobilenetv1-yolov3", 20, 94),
        ("resnet34-yolov3", 80, 162),
        ("deeplabv3-mobilenetv2", 19, 7.4),
    ],
)
def test_the_state_is_as_large_as_published(architecture: str, classes: int, stored_mib: float) -> None:
    state = architectures.build(architecture, classes=classes).state_dict()
    values = sum(value.numel() for value in state.values() if value.is_floating_point())
    assert values * 4 / 2**20 == pytest.approx(stored_mib, rel=0.05)


def test_fastscnn_has_the_papers_parameters() -> None:
    # Section 4.2 of the paper: 1.11 million. PaddleX's file of 11 MB holds more than this network.
    found = count(architectures.build("fastscnn"), (1, 3, 96, 96))
    assert found.parameters / 1e6 == pytest.approx(1.11, abs=0.04)
    assert found.elsewhere == 0


def test_yolov3_answers_for_every_anchor_of_every_cell() -> None:
    network = architectures.build("mobilenetv1-yolov3", classes=3, width=0.25, head_width=0.125)
    with torch.no_grad():
        answers = network(torch.zeros(2, 3, 64, 96))
    assert [tuple(answer.shape) for answer in answers] == [(2, 64 // s, 96 // s, 3, 8) for s in STRIDES]


def test_decoding_inside_is_decoding_outside() -> None:
    torch.manual_seed(0)
    outside = architectures.build("resnet34-yolov3", classes=2, width=0.125, head_width=0.125)
    inside = architectures.build("resnet34-yolov3", classes=2, width=0.125, head_width=0.125, decode="inside")
    inside.load_state_dict(outside.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        answers, boxes = outside(image), inside(image)
    expected = torch.cat([decoded(a, row, s) for a, row, s in zip(answers, ANCHORS, STRIDES, strict=True)], 1)
    torch.testing.assert_close(boxes, expected)


@pytest.mark.parametrize("prior", [0.5, 0.01])
def test_an_untaught_anchor_is_as_sure_as_the_prior_says(prior: float) -> None:
    network = architectures.build("mobilenetv1-yolov3", classes=3, width=0.25, head_width=0.125, prior=prior)
    for head in network.heads:  # type: ignore[union-attr]
        bias = torch.sigmoid(head.get_parameter("bias")).view(3, 8)
        torch.testing.assert_close(bias[:, 4], torch.full((3,), prior))
        assert bool((bias[:, [0, 1, 2, 3, 5, 6, 7]] == 0.5).all())


def test_a_box_is_where_its_cell_and_anchor_say() -> None:
    answer = torch.zeros(1, 2, 3, 1, 6)
    answer[0, 1, 2, 0, 2] = 1.0
    box = decoded(answer, [(10, 20)], 32)[0, 1 * 3 + 2]
    # sigmoid(0) is the middle of the cell in column 2, row 1; the width grows e-fold.
    torch.testing.assert_close(box, torch.tensor([80.0, 48.0, 10 * 2.7182817, 20.0, 0.5, 0.5]))


@pytest.mark.parametrize(
    "options",
    [{}, {"output_stride": 8}, {"aspp": True}, {"decoder": True}, {"aspp": True, "decoder": True}],
    ids=str,
)
def test_deeplabv3_answers_for_every_pixel(options: dict[str, object]) -> None:
    network = architectures.build("deeplabv3-mobilenetv2", classes=5, width=0.25, **options)
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 65, 81)).shape == (1, 5, 65, 81)


def test_dilation_keeps_the_weights_of_a_classifier() -> None:
    plain = architectures.build("mobilenetv2", width=0.25)
    dense = architectures.build("deeplabv3-mobilenetv2", classes=5, width=0.25)
    own = {name.removeprefix("backbone."): value for name, value in dense.state_dict().items() if "backbone" in name}
    whole = plain.state_dict()
    assert all(whole[name].shape == value.shape for name, value in own.items())
    assert {name for name in whole if not name.startswith(("features.18", "classifier"))} == set(own)
    with torch.no_grad():
        features: nn.Module = dense.get_submodule("backbone.features")
        assert features(torch.zeros(1, 3, 64, 64)).shape[2:] == (4, 4)


def test_fastscnn_answers_for_every_pixel_of_any_size() -> None:
    network = architectures.build("fastscnn", classes=4, width=0.25)
    for size in ((64, 64), (97, 161)):
        with torch.no_grad():
            assert network(torch.zeros(1, 3, *size)).shape == (1, 4, *size)


def test_the_cells_of_a_grid_cover_every_pixel() -> None:
    for side in range(1, 40):
        for bins in (1, 2, 3, 6):
            seen = torch.ones(1, 1, side, side, requires_grad=True)
            cells = grid_mean(seen, bins)
            assert cells.shape[2:] == (min(bins, side), min(bins, side))
            cells.sum().backward()  # type: ignore[no-untyped-call]
            assert seen.grad is not None and bool((seen.grad > 0).all())


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("mobilenetv1-yolov3", {"decode": "sideways"}),
        ("mobilenetv1-yolov3", {"anchors": [[[1, 2]]]}),
        ("mobilenetv1-yolov3", {"prior": 1.0}),
        ("resnet34-yolov3", {"head_width": 0}),
        ("deeplabv3-mobilenetv2", {"output_stride": 4}),
        ("fastscnn", {"classes": 0}),
    ],
    ids=str,
)
def test_options_that_make_no_network_are_refused(architecture: str, options: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="refuses its options"):
        architectures.build(architecture, **options)
