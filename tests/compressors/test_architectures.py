"""Networks: published sizes, published parameter names, and a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compressors import architectures
from compressors.architectures.mobilenetv2 import round_channels
from compressors.counting import count
from pocketzoo.errors import BadInput

AMC_FLOPS = (24, 48, 96, 80, 192, 200, 328, 352, 368, 360, 328, 400, 736, 752)


@pytest.mark.parametrize(
    ("width", "macs_in_millions", "parameters"),
    # MACs: table 4 of the paper and its authors' release; parameters: torchvision's counts of the same networks.
    [(0.5, 97, 1_968_680), (0.75, 209, 2_636_424), (1.0, 300, 3_504_872), (1.4, 582, 6_108_776)],
)
def test_mobilenetv2_has_the_published_size(width: float, macs_in_millions: int, parameters: int) -> None:
    found = count(architectures.build("mobilenetv2", width=width), (1, 3, 224, 224))
    assert found.macs // 1_000_000 == macs_in_millions
    assert found.parameters == parameters
    assert found.elsewhere == 0


def test_mobilenetv2_has_torchvisions_parameter_names_and_shapes() -> None:
    state = architectures.build("mobilenetv2").state_dict()
    assert len(state) == 314
    assert state["features.0.0.weight"].shape == (32, 3, 3, 3)
    assert state["features.1.conv.0.0.weight"].shape == (32, 1, 3, 3)
    assert state["features.1.conv.1.weight"].shape == (16, 32, 1, 1)
    assert state["features.2.conv.1.1.running_var"].shape == (96,)
    assert state["features.17.conv.3.bias"].shape == (320,)
    assert state["features.18.0.weight"].shape == (1280, 320, 1, 1)
    assert state["classifier.1.weight"].shape == (1000, 1280)


@pytest.mark.parametrize(
    ("channels", "rounded"), [(32, 32), (24.0, 24), (3.2, 8), (11, 16), (12, 16), (18, 24), (1792.0, 1792)]
)
def test_channels_are_rounded_to_eight_and_never_lose_a_tenth(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded
    assert rounded >= 0.9 * channels


@pytest.mark.parametrize(
    ("architecture", "options", "macs_in_millions", "parameters"),
    [
        # MACs of MobileNetV1: what AMC's authors and their lists of channels come to.
        ("mobilenetv1", {}, 568.7, 4_231_976),
        ("mobilenetv1", {"width": 0.75}, 325.4, 2_585_560),
        ("mobilenetv1", {"channels": AMC_FLOPS}, 293.9, None),
        ("resnet50", {}, 4089.2, 25_557_032),  # parameters: torchvision's
    ],
)
def test_networks_of_the_phone_tables_have_the_published_size(
    architecture: str, options: dict[str, object], macs_in_millions: float, parameters: int | None
) -> None:
    found = count(architectures.build(architecture, **options), (1, 3, 224, 224))
    assert round(found.macs / 1e6, 1) == macs_in_millions
    assert parameters is None or found.parameters == parameters


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match="14 numbers"):
        architectures.build("mobilenetv1", channels=[8, 8])
    with pytest.raises(BadInput, match="classes"):
        architectures.build("resnet50", classes=0)


def test_a_users_module_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_net.py").write_text("import torch\n\ndef net(n=3):\n    return torch.nn.Conv2d(3, n, 1)\n")
    monkeypatch.chdir(tmp_path)
    model = architectures.build("my_own_net:net", n=7)
    assert model(torch.zeros(1, 3, 4, 4)).shape == (1, 7, 4, 4)
    assert architectures.source_file("my_own_net:net") == tmp_path / "my_own_net.py"


@pytest.mark.parametrize(
    ("architecture", "options", "said"),
    [
        ("mobilenet-v2", {}, "no architecture"),
        ("not_a_module_at_all:net", {}, "cannot import"),
        ("tests.compressors.networks:smal", {}, "no function"),
        ("tests.compressors.networks:no_module", {}, "not a torch.nn.Module"),
        ("tests.compressors.networks:wants_even", {"channels": 3}, "channels must be even"),
        ("mobilenetv2", {"widht": 1.0}, "widht"),
        ("mobilenetv2", {"width": 0.0}, "width must be above 0"),
    ],
)
def test_what_cannot_be_built_is_bad_input(architecture: str, options: dict[str, float], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        architectures.build(architecture, **options)
    assert said in caught.value.what


def test_the_nearest_architecture_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        architectures.build("mobilnetv2")
    assert "did you mean mobilenetv2" in caught.value.as_text()
