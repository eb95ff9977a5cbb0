"""Criteria and choices: those of torch-pruning where it has them, by hand where it is simple."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_pruning
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compressors.architectures.cifar import CifarResNet
from compressors.counting import count
from compressors.quiet import quiet
from compressors.steps.prune.criteria import Scorer, choose, choose_global, importance, kept_of
from compressors.steps.prune.spec import spec_of
from compressors.steps.prune.structure import remove, trace
from pocketzoo.errors import BadInput, WorkFailed
from tests.compressors.structures import NETWORKS, made, spread

SHAPE = (1, 3, 16, 16)


def theirs(model: nn.Module, shape: tuple[int, ...], scorer: object) -> dict[str, torch.Tensor]:
    """torch-pruning's importances, by the name of the root layer."""
    graph = torch_pruning.DependencyGraph()
    with quiet():
        graph.build_dependency(copy.deepcopy(model), torch.zeros(shape))
    names = {module: name for name, module in graph.model.named_modules()}
    return {names[group[0].dep.target.module]: scorer(group) for group in graph.get_all_groups()}  # type: ignore[operator]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "grouped"])
@pytest.mark.parametrize("criterion", ["l1", "l2", "group-sl"])
def test_importances_are_torch_prunings(name: str, criterion: str) -> None:
    model, shape = made(name)
    structure = trace(model, shape)
    power, normalizer = {"l1": (1, "mean"), "l2": (2, "mean"), "group-sl": (2, "max")}[criterion]
    scorer = torch_pruning.importance.MagnitudeImportance(
        p=power, normalizer=normalizer,
        target_types=[nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm],
    )  # fmt: skip
    expected = theirs(model, shape, scorer)
    found = importance(model, structure, criterion)
    shared = [group for group in found if group in expected]
    assert shared
    for group in shared:
        torch.testing.assert_close(found[group], expected[group], rtol=1e-4, atol=1e-6)


def test_taylor_is_torch_prunings() -> None:
    model, shape = made("residual")
    generator = torch.Generator().manual_seed(3)
    batch = (torch.randn(6, 3, 8, 8, generator=generator), torch.tensor([0, 1, 2, 3, 4, 0]))
    structure = trace(model, shape)
    found = importance(model, structure, "taylor", [batch, batch])
    graph_model = copy.deepcopy(model)
    graph = torch_pruning.DependencyGraph()
    with quiet():
        graph.build_dependency(graph_model, torch.zeros(shape))
    graph_model.zero_grad()
    nn.functional.cross_entropy(graph_model(batch[0]), batch[1]).backward()
    names = {module: name for name, module in graph_model.named_modules()}
    scorer = torch_pruning.importance.TaylorImportance()
    expected = {names[group[0].dep.target.module]: scorer(group) for group in graph.get_all_groups()}
    for group in structure.prunable:  # torch-pruning's root may be another layer of the group
        root = next(layer for layer in group.outputs if layer in expected)
        torch.testing.assert_close(found[group.name], expected[root], rtol=1e-3, atol=1e-5)
    with pytest.raises(BadInput, match="taylor needs labelled images"):
        importance(model, structure, "taylor")


def test_the_filters_alone_and_the_scales_alone() -> None:
    model, shape = made("residual")
    structure = trace(model, shape)
    # PaddleSlim ranks by the one parameter it prunes; what shares its channels goes along by number.
    weight = model.get_parameter("stem.0.weight").detach().abs().sum((1, 2, 3))
    torch.testing.assert_close(importance(model, structure, "filter-l1")["stem.0"], weight / weight.mean())
    scales = (model.get_parameter("stem.1.weight") + model.get_parameter("inner.4.weight")).detach() / 2
    torch.testing.assert_close(importance(model, structure, "bn-scale")["stem.0"], scales / scales.mean())


def test_fpgm_takes_the_filter_that_others_can_stand_for() -> None:
    model, shape = made("concat")
    with torch.no_grad():
        layer = model.get_parameter("joined.weight")
        layer.copy_(torch.randn(layer.shape, generator=torch.Generator().manual_seed(0)))
        layer[4] = layer.mean(0)  # the geometric median of them, nearly
        after = model.get_parameter("after.weight")
        after[:, 10:] = after[:, 10:11]
    structure = trace(model, shape)
    scores = importance(model, structure, "fpgm")
    assert choose(scores, {"joined": 8}) == {"joined": [4]}


def test_random_follows_the_seed() -> None:
    model, shape = made("concat")
    structure = trace(model, shape)
    first, again, other = (importance(model, structure, "random", seed=seed)["left.0"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_thinking_channels_away_is_removing_them() -> None:
    for name in NETWORKS:
        model, shape = made(name)
        structure = trace(model, shape)
        for criterion in ("l1", "l2", "fpgm"):
            scorer = Scorer.of(model, structure, criterion)
            gone = choose(scorer.scores({}), {g.name: 0.3 for g in structure.prunable}, structure=structure)
            pruned = remove(model, shape, gone, structure)
            smaller = trace(pruned, shape)
            expected = importance(pruned, smaller, criterion)
            for group, score in scorer.scores(gone).items():
                if group in expected:
                    torch.testing.assert_close(score[score.isfinite()], expected[group], rtol=1e-4, atol=1e-6)


def test_the_global_ranking_ends_where_torch_prunings_loop_ends() -> None:
    model = spread(CifarResNet(8, 10, 12, "B", 3))
    structure = trace(model, SHAPE)
    target = int(structure.macs({}) / 2.11)
    gone = choose_global(Scorer.of(model, structure, "l2").scores, structure, target)
    mine = remove(model, SHAPE, gone, structure)
    assert count(mine, SHAPE).macs <= target
    other = copy.deepcopy(model)
    with quiet():
        pruner = torch_pruning.pruner.BasePruner(
            other, torch.zeros(SHAPE), importance=torch_pruning.importance.MagnitudeImportance(p=2),
            global_pruning=True, pruning_ratio=1.0, iterative_steps=400, ignored_layers=[other.get_submodule("fc")],
            in_channel_groups={}, out_channel_groups={}, num_heads={},
        )  # fmt: skip
        while count(other, SHAPE).macs > target:
            pruner.step()
    assert spec_of(mine) == spec_of(other)
    for name, value in mine.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_ties_are_an_error_that_says_so_and_single_ones_go_by_index() -> None:
    scores = {"a": torch.ones(6), "b": torch.tensor([1.0, 2.0, 1.0, 1.0])}
    with pytest.raises(WorkFailed, match="all 6 channels of a have the same importance"):
        choose(scores, {"a": 3})
    assert choose(scores, {"b": 2}) == {"b": [2, 3]}
    model, shape = made("residual")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    structure = trace(model, shape)
    with pytest.raises(WorkFailed, match="all 38 channels of the network have the same importance"):
        choose_global(Scorer.of(model, structure, "bn-scale").scores, structure, structure.macs({}) // 2)


def test_a_criterion_that_says_nothing_is_an_error() -> None:
    model, shape = made("flattened")
    with pytest.raises(WorkFailed, match="bn-scale says nothing about"):
        importance(model, trace(model, shape), "bn-scale")
    with pytest.raises(BadInput, match="no criterion 'l3'"):
        importance(model, trace(model, shape), "l3")
    broken, shape = made("residual")
    with torch.no_grad():
        broken.get_parameter("stem.0.weight")[0] = torch.nan
    with pytest.raises(WorkFailed, match=r"importances of .* are not finite"):
        importance(broken, trace(broken, shape), "l1")


def test_an_unreachable_target_says_what_is_reachable() -> None:
    model, shape = made("residual")
    structure = trace(model, shape)
    with pytest.raises(WorkFailed, match="cannot be reached") as caught:
        choose_global(importance(model, structure, "l1"), structure, 1)
    assert "M MACs stay" in caught.value.as_text()


@given(
    channels=st.integers(1, 64), ratio=st.floats(0, 0.999), round_to=st.sampled_from([1, 2, 4, 8]),
    multiple=st.sampled_from([1, 2, 4]),
)  # fmt: skip
@settings(deadline=None)
def test_what_stays_is_a_multiple_and_near(channels: int, ratio: float, round_to: int, multiple: int) -> None:
    channels *= multiple
    kept = kept_of(channels, ratio, round_to, multiple)
    assert 1 <= kept <= channels
    assert kept % multiple == 0
    if kept < channels and channels >= 8 * multiple:
        assert kept % round_to == 0
        assert (
            kept == max(round_to, multiple) or abs(kept - channels * (1 - ratio)) <= max(round_to, multiple) / 2 + 1e-6
        )


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 2.0])
def test_impossible_shares_are_refused(ratio: float) -> None:
    with pytest.raises(BadInput, match="cannot be removed"):
        choose({"a": torch.arange(4.0)}, {"a": ratio})
    with pytest.raises(BadInput, match="cannot keep"):
        choose({"a": torch.arange(4.0)}, {"a": 5})
