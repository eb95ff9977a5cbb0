"""Networks: published sizes, published parameter names, and a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from compressors import architectures
from compressors.architectures.cifar import PadShortcut
from compressors.architectures.mobilenetv2 import round_channels
from compressors.counting import count
from pocketzoo.errors import BadInput
from tests.compressors import torchvision_names
from tests.compressors.torchvision_names import RESNET18, RESNET50

pytestmark = pytest.mark.usefixtures("one_thread")


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
    ("architecture", "options", "size", "macs_in_millions", "parameters"),
    [
        # MobileNetV1 and AMC: what AMC's authors and their lists of channels come to. Their table says 285 and 272 for
        # the first two lists of channels, which hold 293.9 and 274.0.
        ("mobilenetv1", {}, 224, 568.7, 4_231_976),
        ("mobilenetv1", {"width": 0.75}, 224, 325.4, 2_585_560),
        ("amc-mobilenetv1-0.5flops", {}, 224, 293.9, None),
        ("amc-mobilenetv1-0.5time", {}, 224, 274.0, None),
        ("amc-mobilenetv2-0.7flops", {}, 224, 210.6, None),
        # torchvision says 1.81 and 4.09 GFLOPS, which are MACs, and these parameters.
        ("resnet18", {}, 224, 1814.1, 11_689_512),
        ("resnet50", {}, 224, 4089.2, 25_557_032),
        # He et al. table 6: 0.27 and 0.85 M parameters, with shortcuts A.
        ("resnet20-cifar", {"shortcut": "A"}, 32, 40.6, 269_722),
        ("resnet56-cifar", {"shortcut": "A"}, 32, 125.5, 853_018),
        # Torch-Pruning's logs, which count batch norm and activations, too: 0.86 M and 127.12 M; 20.09 M and 512.73 M.
        ("resnet56-cifar", {}, 32, 125.7, 855_770),
        ("vgg19-cifar", {}, 32, 511.4, 20_086_692),
    ],
)
def test_networks_of_the_tables_have_the_published_size(
    architecture: str, options: dict[str, object], size: int, macs_in_millions: float, parameters: int | None
) -> None:
    model = architectures.build(architecture, **options)
    found = count(model, (1, 3, size, size))
    assert round(found.macs / 1e6, 1) == macs_in_millions
    assert parameters is None or found.parameters == parameters
    # An independent count: torch's own, of the operations that really ran, in FLOPs.
    with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        model.to("meta")(torch.zeros(1, 3, size, size))
    assert counter.get_total_flops() == 2 * found.macs
    assert found.elsewhere == 0


@pytest.mark.parametrize(("architecture", "layers"), [("resnet18", RESNET18), ("resnet50", RESNET50)])
def test_resnets_have_torchvisions_parameter_names_in_their_order(architecture: str, layers: str) -> None:
    with torch.device("meta"):
        assert list(architectures.build(architecture).state_dict()) == torchvision_names.parameters(layers)


def test_resnets_have_torchvisions_shapes_where_layouts_differ() -> None:
    with torch.device("meta"):
        network = architectures.build("resnet50")
        shallow = architectures.build("resnet18").state_dict()
    deep = network.state_dict()
    assert deep["conv1.weight"].shape == (64, 3, 7, 7)
    assert deep["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert deep["layer4.0.conv2.weight"].shape == (512, 512, 3, 3)
    assert deep["fc.weight"].shape == (1000, 2048)
    strides = [m.stride for m in network.layer2[0].modules() if hasattr(m, "stride")]  # type: ignore[union-attr,index,operator]
    assert strides == [(1, 1), (2, 2), (1, 1), (2, 2)]  # at the 3x3 convolution, and at the shortcut
    assert shallow["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)


def test_cifar_networks_have_the_names_of_the_published_checkpoints() -> None:
    state = architectures.build("resnet56-cifar").state_dict()
    assert state["layer3.8.conv2.weight"].shape == (64, 64, 3, 3)
    assert state["layer2.0.downsample.0.weight"].shape == (32, 16, 1, 1)
    assert not any("downsample" in key for key in architectures.build("resnet56-cifar", shortcut="A").state_dict())
    vgg = architectures.build("vgg19-cifar").state_dict()
    assert vgg["block2.9.bias"].shape == (256,)
    assert vgg["block4.10.running_mean"].shape == (512,)
    assert vgg["classifier.weight"].shape == (100, 512)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("mobilenetv1", {"width": 0.25, "small_input": True}),
        ("mobilenetv2", {"width": 0.35, "small_input": True}),
        ("amc-mobilenetv2-0.7flops", {"small_input": True}),
        ("resnet18", {"width": 0.25, "small_input": True}),
        ("resnet50", {"width": 0.25, "small_input": True}),
        ("resnet20-cifar", {"width": 8}),
        ("resnet20-cifar", {"width": 8, "shortcut": "A"}),
        ("vgg19-cifar", {"width": 0.125}),
    ],
)
def test_every_network_has_a_form_for_small_grey_images(architecture: str, options: dict[str, object]) -> None:
    model = architectures.build(architecture, classes=10, in_channels=1, **options)
    seen: list[int] = []
    handles = [m.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[-1]))
               for m in model.modules() if isinstance(m, torch.nn.Conv2d)]  # fmt: skip
    with torch.no_grad():
        assert model(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert (len(handles), seen[0]) == (len(seen), 28)
    assert 2 <= min(seen) <= 7  # pixels a side where the last convolutions work: neither one nor the whole image


def test_amcs_mobilenetv1_has_relu_and_the_authors_relu6() -> None:
    for architecture, kind in (("amc-mobilenetv1-0.5flops", torch.nn.ReLU), ("mobilenetv1", torch.nn.ReLU6)):
        with torch.device("meta"):
            found = [
                m for m in architectures.build(architecture).modules() if isinstance(m, torch.nn.ReLU | torch.nn.ReLU6)
            ]
        assert {type(m) for m in found} == {kind}
        assert len(found) == 27


def test_zeros_stand_for_the_channels_a_shortcut_of_option_a_lacks() -> None:
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    out = PadShortcut(2, 6, 2)(x)
    assert out.shape == (1, 6, 2, 2)
    assert out[0, 2].tolist() == [[0, 2], [8, 10]]
    assert out[0, [0, 1, 4, 5]].abs().sum() == 0


@pytest.mark.parametrize(
    ("architecture", "options", "said"),
    [
        ("mobilenetv1", {"channels": [8, 8]}, "14 numbers"),
        ("mobilenetv2", {"channels": [8, 8]}, "35 numbers"),
        ("mobilenetv1", {"activation": "swish"}, "relu6 or relu"),
        ("resnet50", {"classes": 0}, "classes"),
        ("resnet18", {"in_channels": 0}, "in_channels"),
        ("resnet56-cifar", {"shortcut": "C"}, "A or B"),
        ("resnet56-cifar", {"width": 0}, "width"),
        ("vgg19-cifar", {"width": -1.0}, "width"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(architecture: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        architectures.build(architecture, **options)


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
        ("tests.compressors.networks:breaks", {"n": 3}, "RuntimeError: no such size"),
        ("subprocess:run", {"args": "touch was-here"}, "is no network"),
        ("os.path:join", {}, "is no network"),
        ("tests.compressors.networks:", {}, "is no network"),
        (":net", {}, "is no network"),
        ("mobilenetv2", {"widht": 1.0}, "widht"),
        ("mobilenetv2", {"width": 0.0}, "width must be above 0"),
    ],
)
def test_what_cannot_be_built_is_bad_input(architecture: str, options: dict[str, float], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        architectures.build(architecture, **options)
    assert said in caught.value.what


def test_a_module_that_fails_while_it_is_imported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_broken_net.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="fails while it is imported: ZeroDivisionError"):
        architectures.build("my_broken_net:net")


def test_what_a_factory_was_called_with_is_told() -> None:
    with pytest.raises(BadInput) as caught:
        architectures.build("tests.compressors.networks:small", num_classes=3)
    assert "it was called with num_classes=3" in caught.value.as_text()
    assert "options: channels, classes" in caught.value.as_text()


def test_the_nearest_architecture_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        architectures.build("mobilnetv2")
    assert "did you mean mobilenetv2" in caught.value.as_text()
