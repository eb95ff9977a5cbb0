"""Checkpoints: what loads, and what each other file is told."""

from __future__ import annotations

import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from compressors import architectures
from compressors.checkpoint import load_into, write_state
from pocketzoo.errors import BadInput

# Laid out by the Makefile before the tests: torchvision's IMAGENET1K_V1 weights out of a published package.
REAL = Path(sys.prefix) / "demo-data" / "mobilenet_v2-b0353104.pth"


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
def test_a_torch_checkpoint_loads(tmp_path: Path, wrapped: str | None) -> None:
    source, target = net(), net()
    state = source.state_dict()
    torch.save({wrapped: state, "epoch": 3} if wrapped else state, tmp_path / "w.pth")
    load_into(target, tmp_path / "w.pth", "net")
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in state.items())


def test_safetensors_are_written_the_same_twice_and_load(tmp_path: Path) -> None:
    source, target = net(), net()
    write_state(source, tmp_path / "a.safetensors")
    write_state(source, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    load_into(target, tmp_path / "a.safetensors", "net")
    assert torch.equal(source[0].weight, target[0].weight)  # type: ignore[index,arg-type]


def test_a_checkpoint_older_than_batch_norms_counter_loads(tmp_path: Path) -> None:
    state = {key: value for key, value in net().state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "w.pth")
    load_into(net(), tmp_path / "w.pth", "net")


def test_a_checkpoint_of_another_network_says_which_keys_differ(tmp_path: Path) -> None:
    torch.save(nn.Sequential(*[nn.Linear(2, 2) for _ in range(9)]).state_dict(), tmp_path / "w.pth")
    with pytest.raises(BadInput) as caught:
        load_into(architectures.build("mobilenetv2", width=0.1), tmp_path / "w.pth", "mobilenetv2")
    text = caught.value.as_text()
    assert "not one of mobilenetv2" in text
    assert "262 missing: features.0.0.weight" in text
    assert "18 unexpected: 0.weight, 0.bias, 1.weight, 1.bias, and 14 more" in text


def test_other_shapes_are_told_and_nothing_is_changed(tmp_path: Path) -> None:
    model = net()
    before = model[0].weight.clone()  # type: ignore[index,operator,union-attr]
    torch.save({**model.state_dict(), "0.bias": torch.zeros(7), "0.weight": before * 2}, tmp_path / "w.pth")
    with pytest.raises(BadInput, match="not one of net") as caught:
        load_into(model, tmp_path / "w.pth", "net")
    assert "1 other shape: 0.bias (7,) instead of (4,)" in caught.value.as_text()
    assert torch.equal(model[0].weight, before)  # type: ignore[index,arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    state = net().state_dict()
    state["1.weight"][2] = value
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(BadInput, match="NaN or infinite") as caught:
        load_into(net(), tmp_path / "w.pth", "net")
    assert "1.weight" in caught.value.as_text()


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("evil-was-here"),))


def test_a_pickle_that_would_run_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BadInput, match="not loaded"):
        load_into(net(), tmp_path / "w.pth", "net")
    torch.save({"a": Evil()}, tmp_path / "w2.pth")
    with pytest.raises(BadInput, match="not loaded"):
        load_into(net(), tmp_path / "w2.pth", "net")
    assert not (tmp_path / "evil-was-here").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 truncated"])
def test_files_that_are_no_checkpoints(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load_into(net(), tmp_path / name, "net")
    assert caught.value.where == str(tmp_path / name)


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "w.pth")
    data = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput):
        load_into(net(), tmp_path / "w.pth", "net")


def test_a_whole_model_or_a_list_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(BadInput, match="not a state dict"):
        load_into(net(), tmp_path / "w.pth", "net")


def test_a_missing_file_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        load_into(net(), tmp_path / "no.pth", "net")
    assert "--set weights=FILE" in caught.value.as_text()


def test_weights_saved_from_several_gpus_load(tmp_path: Path) -> None:
    source, target = net(), net()
    torch.save(nn.DataParallel(source).state_dict(), tmp_path / "w.pth")
    load_into(target, tmp_path / "w.pth", "net")
    assert torch.equal(source[0].weight, target[0].weight)  # type: ignore[index,arg-type]


def test_amcs_checkpoints_load_under_their_own_names(tmp_path: Path) -> None:
    """Names and shapes as AMC's authors have them: flat blocks, saved from several GPUs, under ``state_dict``."""
    source = architectures.build("amc-mobilenetv2-0.7flops").state_dict()
    flat = {}
    for name, value in source.items():
        first = name.startswith("features.1.")
        for ours, theirs in (
            (("conv.1", "conv.3"), ("conv.2", "conv.4"), ("conv.0.0", "conv.0"), ("conv.0.1", "conv.1"))
            if first
            else (("conv.2", "conv.6"), ("conv.3", "conv.7"), ("conv.0.0", "conv.0"), ("conv.0.1", "conv.1"),
                  ("conv.1.0", "conv.3"), ("conv.1.1", "conv.4"))
        ):  # fmt: skip
            if f".{ours}." in name:
                flat["module." + name.replace(f".{ours}.", f".{theirs}.")] = value
                break
        else:
            flat["module." + name] = value
    assert len(flat) == len(source)
    assert "module.features.1.conv.3.weight" in flat and "module.features.2.conv.7.running_mean" in flat
    torch.save({"state_dict": flat}, tmp_path / "w.pth.tar")
    model = architectures.build("amc-mobilenetv2-0.7flops")
    load_into(model, tmp_path / "w.pth.tar", "amc-mobilenetv2-0.7flops")
    assert all(torch.equal(value, source[name]) for name, value in model.state_dict().items())

    first = architectures.build("amc-mobilenetv1-0.5time").state_dict()
    assert first["conv1.0.weight"].shape == (16, 3, 3, 3)
    assert first["features.0.0.weight"].shape == (16, 1, 3, 3)
    assert first["features.2.3.weight"].shape == (80, 88, 1, 1)
    assert first["features.12.4.running_var"].shape == (680,)
    assert first["classifier.1.weight"].shape == (1000, 680)


def test_the_classifier_is_left_out_only_when_that_is_asked_for(tmp_path: Path) -> None:
    source = architectures.build("resnet20-cifar", width=4)
    write_state(source, tmp_path / "w.safetensors")
    target = architectures.build("resnet20-cifar", width=4, classes=7)
    with pytest.raises(BadInput, match="not one of") as caught:
        load_into(target, tmp_path / "w.safetensors", "resnet20-cifar")
    assert "it has 10 classes, the recipe 7: --set model.options.classes=10" in caught.value.as_text()
    own = target.fc.weight.clone()  # type: ignore[union-attr,operator]
    dropped = load_into(target, tmp_path / "w.safetensors", "resnet20-cifar", drop_classifier=True)
    assert dropped == ("fc.weight", "fc.bias")
    assert torch.equal(target.fc.weight, own)  # type: ignore[union-attr,arg-type]
    assert torch.equal(target.conv1.weight, source.conv1.weight)  # type: ignore[union-attr,arg-type]
    # Nothing else may differ, and a classifier that fits is taken.
    other = architectures.build("resnet20-cifar", width=8, classes=7)
    with pytest.raises(BadInput, match="not one of"):
        load_into(other, tmp_path / "w.safetensors", "resnet20-cifar", drop_classifier=True)
    same = architectures.build("resnet20-cifar", width=4)
    assert load_into(same, tmp_path / "w.safetensors", "resnet20-cifar", drop_classifier=True) == ()
    assert torch.equal(same.fc.weight, source.fc.weight)  # type: ignore[union-attr,arg-type]


def test_a_zip_file_that_would_unpack_to_more_than_it_is_gets_refused(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.zeros(1000, 1000)}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as plain, \
         zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as small:  # fmt: skip
        for entry in plain.infolist():
            small.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "small.pth").stat().st_size < 50_000
    with pytest.raises(BadInput, match="a compressed archive"):
        load_into(net(), tmp_path / "small.pth", "net")


def test_torch_pruned_models_saved_whole_are_not_loaded(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "w.pth")
    with pytest.raises(BadInput, match="files that would run code are not loaded"):
        load_into(net(), tmp_path / "w.pth", "net")


@pytest.mark.skipif(not REAL.is_file(), reason="needs the demo's weights: make test, or make demo")
def test_torchvisions_own_mobilenetv2_loads_and_other_networks_say_so() -> None:
    model = architectures.build("mobilenetv2")
    assert load_into(model, REAL, "mobilenetv2") == ()
    state = torch.load(REAL, weights_only=True)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if key in state)
    with pytest.raises(BadInput) as caught:
        load_into(architectures.build("resnet18"), REAL, "resnet18")
    assert "102 missing: conv1.weight" in caught.value.as_text()
    assert "unexpected: features.0.0.weight" in caught.value.as_text()
    with pytest.raises(BadInput) as caught:
        load_into(architectures.build("mobilenetv2", width=0.75), REAL, "mobilenetv2")
    assert "other shape: features.0.0.weight (32, 3, 3, 3) instead of (24, 3, 3, 3)" in caught.value.as_text()
