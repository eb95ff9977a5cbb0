"""Structures: what belongs together is found, costs are exact, removal computes what switching off does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compressors import architectures
from compressors.architectures.amc import HALF_FLOPS, HALF_TIME
from compressors.counting import count, file_macs
from compressors.export import compare, export_tflite
from compressors.steps.prune.removal import silence
from compressors.steps.prune.sets import kept_by
from compressors.steps.prune.spec import read_spec, reshape, spec_of, write_spec
from compressors.steps.prune.structure import Structure, remove, trace
from pocketzoo.errors import BadInput, WorkFailed
from tests.compressors import structures
from tests.compressors.structures import NETWORKS, made, resnet20
from zoo import tflite


def removals(structure: Structure, share: float = 0.4) -> dict[str, list[int]]:
    """The last channels of every prunable group."""
    found = {}
    for group in structure.prunable:
        lane = group.channels // group.multiple
        gone = max(1, min(lane - 1, int(lane * share)))
        found[group.name] = [place + lane * k for k in range(group.multiple) for place in range(lane - gone, lane)]
    return found


def kept(structure: Structure, channels: Mapping[str, list[int]]) -> dict[str, int]:
    return {name: structure[name].channels - len(gone) for name, gone in channels.items()}


def outputs(model: nn.Module, sample: Tensor) -> list[Tensor]:
    with torch.no_grad():
        found = model(sample)
    return list(found) if isinstance(found, (list, tuple)) else [found]


@pytest.mark.parametrize("name", NETWORKS)
def test_removal_computes_what_switching_off_does_and_costs_what_was_said(name: str) -> None:
    model, shape = made(name)
    structure = trace(model, shape)
    before = count(model, shape)
    assert (structure.macs({}), structure.parameters({})) == (before.macs, before.parameters)
    assert structure.layer_macs({}) == before.layers
    channels = removals(structure)
    pruned = remove(model, shape, channels)
    left = kept(structure, channels)
    after = count(pruned, shape)
    assert after.macs < before.macs and after.parameters < before.parameters
    assert (structure.macs(left), structure.parameters(left)) == (after.macs, after.parameters)
    assert structure.layer_macs(left) == after.layers
    sample = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    for mine, muted in zip(outputs(pruned, sample), outputs(silence(model, structure, channels), sample), strict=True):
        torch.testing.assert_close(mine, muted, rtol=1e-4, atol=1e-4)
    assert count(model, shape) == before  # the network itself is as it was


def test_what_belongs_together() -> None:
    model, shape = made("residual")
    groups = {group.name: group for group in trace(model, shape).groups}
    assert groups["stem.0"].outputs == ("stem.0", "inner.3")
    assert groups["stem.0"].inputs == ("inner.0", "down.0", "short.0")
    assert groups["down.0"].outputs == ("down.0", "short.0")
    assert not groups["fc"].prunable and "output" in groups["fc"].why
    model, shape = made("depthwise")
    groups = {group.name: group for group in trace(model, shape).groups}
    assert groups["expand.0"].outputs == ("expand.0", "depthwise.0", "excite")
    assert set(groups["expand.0"].inputs) == {"squeeze", "project.0"}
    model, shape = made("grouped")
    assert trace(model, shape)["reduce.0"].multiple == 4


def test_heads_are_outputs_and_a_kept_backbone_stays() -> None:
    model, shape = made("detector")
    structure = trace(model, shape)
    assert {g.name for g in structure.groups if not g.prunable} == {"heads.0", "heads.1", "heads.2"}
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    only = trace(model, shape, kept_by("paddlex-yolov3", layers))
    assert {group.name for group in only.prunable} == {"blocks.0", "blocks.1", "blocks.2"}
    assert only["backbone.0.0"].why == "kept by the recipe"
    with pytest.raises(BadInput, match=r"backbone\.0\.0 cannot be pruned: kept by the recipe"):
        only.macs({"backbone.0.0": 4})
    with pytest.raises(BadInput, match=r"keep: no layer 'backbon\.0\.0'"):
        trace(model, shape, ["backbon.0.0"])


def test_channels_that_change_places_are_not_trusted_to_the_graph() -> None:
    model, shape = structures.spread(structures.Shuffled()), (1, 3, 6, 6)
    structure = trace(model, shape)
    assert not structure["first"].prunable
    assert structure["second"].prunable


def test_a_padded_shortcut_is_refused_with_the_reason() -> None:
    structure = trace(resnet20("A"), (1, 3, 16, 16))
    assert "does not run without some of its channels" in structure["conv1"].why
    assert structure["layer1.0.conv1"].prunable
    assert trace(resnet20("B"), (1, 3, 16, 16))["conv1"].prunable


def test_nothing_prunable_and_untraceable_are_errors_that_name_the_module() -> None:
    with pytest.raises(WorkFailed, match="nothing in this network can be pruned") as caught:
        _ = trace(structures.Twice(), (1, 3, 6, 6)).prunable
    assert "again: again is used 2 times" in caught.value.as_text()
    with pytest.raises(WorkFailed, match="module 'first' runs, but no gradient leads to it"):
        trace(structures.Detached(), (1, 3, 6, 6))
    with pytest.raises(WorkFailed, match=r"module 'body\.1' fails on an input of"):
        trace(structures.Fails(), (1, 3, 6, 6))


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"stem.0": list(range(12))}, "left without channels"),
        ({"stem.0": [12]}, "channels 0 to 11"),
        ({"stem.0": [1, 1]}, "channels 0 to 11"),
        ({"stem": [1]}, "no channel group 'stem'"),
        ({"fc": [1]}, "fc cannot be pruned"),
    ],
)
def test_removals_that_are_refused(channels: dict[str, list[int]], message: str) -> None:
    model, shape = made("residual")
    with pytest.raises(BadInput, match=message):
        remove(model, shape, channels)


def test_convolution_groups_lose_the_same_places() -> None:
    model, shape = made("grouped")
    with pytest.raises(BadInput, match="4 convolution groups, which must lose the same"):
        remove(model, shape, {"reduce.0": [0, 1]})
    with pytest.raises(BadInput, match="multiples of 4"):
        trace(model, shape).macs({"reduce.0": 10})


MOBILENET = architectures.build("mobilenetv1", width=0.25, small_input=True, classes=10)
MOBILE_STRUCTURE = trace(MOBILENET, (1, 3, 28, 28))


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_any_counts_cost_what_the_counter_says(data: st.DataObject) -> None:
    counts = {g.name: data.draw(st.integers(1, g.channels), label=g.name) for g in MOBILE_STRUCTURE.prunable}
    channels = {name: range(number, MOBILE_STRUCTURE[name].channels) for name, number in counts.items()}
    pruned = remove(MOBILENET, (1, 3, 28, 28), channels, MOBILE_STRUCTURE)
    found = count(pruned, (1, 3, 28, 28))
    assert (found.macs, found.parameters) == (MOBILE_STRUCTURE.macs(counts), MOBILE_STRUCTURE.parameters(counts))


@pytest.mark.parametrize(("architecture", "channels"), [("0.5flops", HALF_FLOPS), ("0.5time", HALF_TIME)])
def test_amcs_channels_are_reached_by_pruning(architecture: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        published = architectures.build(f"amc-mobilenetv1-{architecture}")
    structure = trace(architectures.build("mobilenetv1", activation="relu"), (1, 3, 224, 224))
    counts = dict(zip((group.name for group in structure.prunable), channels, strict=True))
    with torch.no_grad():
        wanted = sum(parameter.numel() for parameter in published.parameters())
    assert structure.parameters(counts) == wanted
    assert round(structure.macs(counts) / 1e6, 1) == {"0.5flops": 293.9, "0.5time": 274.0}[architecture]


def test_a_spec_and_weights_bring_the_network_back(tmp_path: Path) -> None:
    for name in NETWORKS:
        model, shape = made(name)
        pruned = remove(model, shape, removals(trace(model, shape)))
        write_spec(pruned, tmp_path / name)
        again = reshape(NETWORKS[name][0](), read_spec(tmp_path / name))
        again.load_state_dict(pruned.state_dict())
        sample = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        for mine, other in zip(outputs(again.eval(), sample), outputs(pruned, sample), strict=True):
            assert torch.equal(mine, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem.0": (3, 13, 1)}, "can only take channels away"),
        ({"stem.0": (3, 0, 1)}, "can only take channels away"),
        ({"stem.0": (3, 12, 3)}, "can only take channels away"),
        ({"other": (1, 1, 1)}, "of another network"),
    ],
)
def test_a_hostile_spec_is_refused(change: dict[str, tuple[int, int, int]], message: str) -> None:
    model, _ = made("residual")
    with pytest.raises(BadInput) as caught:
        reshape(model, {**spec_of(model), **change})
    assert message in caught.value.as_text()


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("specs") / "channels.json"


ROW = st.lists(st.one_of(st.integers(-2, 9), st.booleans(), st.none(), st.text(max_size=3)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=200)
    | st.fixed_dictionaries({"version": st.integers(0, 2), "layers": st.dictionaries(st.text(max_size=9), ROW)}).map(
        lambda tree: json.dumps(tree).encode()
    )
)
def test_a_spec_file_is_read_or_refused(anywhere: Path, content: bytes) -> None:
    anywhere.write_bytes(content)
    try:
        found = read_spec(anywhere)
    except BadInput as error:
        assert error.where == str(anywhere)
    else:
        assert all(len(row) == 3 and min(row) >= 1 for row in found.values())


@pytest.mark.parametrize("name", ["residual", "concat", "grouped"])
def test_the_file_of_a_pruned_network_computes_what_the_network_does(name: str, tmp_path: Path) -> None:
    model, shape = made(name)
    pruned = remove(model, shape, removals(trace(model, shape)))
    file = tmp_path / "pruned.tflite"
    export_tflite(pruned, shape[-1], file, shape[1])
    random = np.random.default_rng(0)
    samples = [random.standard_normal((1, shape[2], shape[3], shape[1])).astype(np.float32) for _ in range(4)]
    found = compare(pruned, file, iter(samples))
    assert found.relative < 1e-4
    assert found.same_top1 == 4
    assert file_macs(tflite.inspect(file)) == count(pruned, shape).macs < count(model, shape).macs
