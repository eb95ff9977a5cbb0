"""Zhu and Gupta's schedule and PocketFlow's mask rules, held against a simulation of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compressors.progress import Silent
from compressors.sparsify_section import Schedule
from compressors.steps.sparsify import rules
from compressors.steps.sparsify.layers import sparse_layers, weight_of, zeros
from compressors.steps.sparsify.masking import Growing, Held, smallest
from compressors.steps.sparsify.search import course_of, masked, most_kept
from compressors.train.loop import CHECKPOINT, train
from compressors.train_section import Train
from pocketzoo.errors import BadInput, WorkFailed
from tests.compressors.networks import Small
from tests.compressors.test_train import network, task, weights_of

SIZES = st.dictionaries(st.text("abc.012", min_size=1, max_size=6), st.integers(2, 5000), min_size=1, max_size=8)
SHARES = st.floats(0.01, 0.99)


def test_the_schedule_is_the_papers() -> None:
    def at(step: int) -> float:
        return 0.9 * rules.share_done(step, 1000, begin=0.1, end=0.5, exponent=3)

    assert at(1) == at(100) == 0
    assert at(200) == pytest.approx(0.9 * (1 - (1 - 100 / 400) ** 3))
    assert at(300) == pytest.approx(0.9 * (1 - 0.5**3))
    assert at(500) == at(501) == at(1000) == 0.9
    assert [step for step in range(1, 1001) if rules.updates(step, 1000, 300, 0.5)] == [300, 500, 600, 900]
    # A training shorter than the interval ends as sparse as it is to be.
    assert [step for step in range(1, 41) if rules.updates(step, 40, 500, 0.5)] == [20]
    assert rules.share_done(20, 40, begin=0.1, end=0.5, exponent=3) == 1


@settings(max_examples=60, deadline=None)
@given(SIZES, SHARES)
def test_ratios_leave_exactly_what_the_sparsity_leaves(weights: dict[str, int], sparsity: float) -> None:
    total = sum(weights.values())
    wanted = total - round(sparsity * total)
    for ratios in (rules.uniform, rules.heuristic):
        if wanted < len(weights):
            with pytest.raises(BadInput, match="leaves"):
                ratios(weights, sparsity)
            continue
        kept = ratios(weights, sparsity)
        assert sum(kept.values()) == wanted
        assert all(1 <= kept[name] <= count for name, count in weights.items())


def test_uniform_is_uniform_and_heuristic_spares_small_layers() -> None:
    weights = {"small": 100, "middle": 1000, "large": 10_000}
    assert rules.uniform(weights, 0.75) == {"small": 25, "middle": 250, "large": 2500}
    kept = rules.heuristic(weights, 0.5)
    shares = [1 - kept[name] / count for name, count in weights.items()]
    alpha = 0.5 * 11_100 / sum(count * np.log(count) for count in weights.values())
    assert shares == pytest.approx([alpha * np.log(count) for count in weights.values()], abs=0.01)
    # Where the logarithm would take all of a layer it is cut off, and the rest is taken elsewhere.
    kept = rules.heuristic(weights, 0.97)
    assert sum(kept.values()) == 333 and kept["large"] >= 100


def test_exactly_so_many_are_masked_even_where_all_are_equal() -> None:
    values = torch.tensor([[3.0, -1.0, 0.5], [0.5, 0.5, -4.0]])
    assert smallest(values, 2).tolist() == [[True, True, False], [False, True, True]]
    for count in range(7):
        assert int((~smallest(torch.ones(2, 3), count)).sum()) == count


class Simulation:
    """The rule in numpy: backup of the last living value, masks over the backup, masked gradients, empty slots."""

    def __init__(self, weight: np.ndarray, kept: int) -> None:
        self.weight, self.backup = weight.copy(), weight.copy()
        self.mask = np.ones_like(weight, bool)
        self.slot = np.zeros_like(weight)
        self.kept = kept

    def step(self, gradient: np.ndarray, rate: float, momentum: float) -> None:
        self.slot = momentum * self.slot + gradient * self.mask
        self.weight = self.weight - rate * self.slot

    def update(self, share: float) -> None:
        self.backup = np.where(self.mask, self.weight, self.backup)
        count = round(share * (self.weight.size - self.kept))
        self.mask = np.ones(self.weight.size, bool)
        self.mask[np.argsort(np.abs(self.backup).ravel(), kind="stable")[:count]] = False
        self.mask = self.mask.reshape(self.weight.shape)
        self.weight = self.backup * self.mask
        self.slot = np.zeros_like(self.slot)


def test_masks_grow_revive_and_empty_the_slots_as_a_simulation_does() -> None:
    random = np.random.default_rng(0)
    start = random.normal(0, 1, (4, 5))
    model = nn.Sequential(nn.Linear(5, 4, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(start))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    masking, expected = Growing({"0": 8}, Schedule(every=2)), Simulation(start, 8)
    masking.begin(model, 40, {})
    revived, before = 0, np.ones_like(start, bool)
    for step in range(1, 41):
        gradient = random.normal(0, 1, start.shape)
        model[0].weight.grad = torch.from_numpy(gradient.copy())
        masking.after_backward(model)
        optimizer.step()
        done = masking.after_step(model, optimizer, step)
        expected.step(gradient, 0.3, 0.9)
        if step % 2 == 0:
            expected.update(rules.share_done(step, 40, begin=0.1, end=0.5, exponent=3))
            assert not optimizer.state
            revived += int((expected.mask & ~before).sum())
            before = expected.mask
        np.testing.assert_allclose(model[0].weight.detach().numpy(), expected.weight, rtol=0, atol=1e-12)
        assert done == (step >= 20)
        if done:
            assert zeros(model, ["0"]) == (12, 20)
    assert revived > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_training_ends_sparse_also_when_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    plan = Train(epochs=3, batch=16, lr=0.01, checkpoint_steps=4, optimizer=optimizer, weight_decay=1e-3)  # type: ignore[arg-type]
    schedule = Schedule(every=5)

    def made() -> Growing:
        return Growing({"5": 288}, schedule)

    whole = network()
    outcome = train(whole, task(plan, masking=made()), tmp_path / "whole", Silent())
    assert zeros(whole, ["5"]) == (864, 1152)
    # 48 steps: sparse enough from step 24 on, in the middle of the second epoch; the first may not be kept.
    assert outcome.kept >= 2
    steps = 0
    plain = Growing.after_step

    def dies(self: Growing, *found: object) -> bool:
        nonlocal steps
        steps += 1
        if steps == 22:
            raise KeyboardInterrupt
        return plain(self, *found)  # type: ignore[arg-type]

    again = network()
    with monkeypatch.context() as patch:
        patch.setattr(Growing, "after_step", dies)
        with pytest.raises(KeyboardInterrupt):
            train(again, task(plan, masking=made()), tmp_path / "again", Silent())
    assert (tmp_path / "again" / CHECKPOINT).is_file()
    resumed = network()
    assert train(resumed, task(plan, masking=made()), tmp_path / "again", Silent()).resumed_at == 20
    assert weights_of(resumed) == weights_of(whole)


def test_zeros_are_held_by_a_training_after_it(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        weight = model.get_submodule("5").get_parameter("weight")
        weight.mul_(smallest(weight, 1000))
    gone = (weight == 0).clone()
    train(model, task(Train(epochs=1, batch=16, lr=0.05), masking=Held(["5"])), tmp_path, Silent())
    found = model.get_submodule("5").get_parameter("weight")
    assert torch.equal(found == 0, gone)


def test_which_layers_are_sparse() -> None:
    assert list(sparse_layers(Small(16, 10), (1, 3, 32, 32))) == ["features.6", "features.9", "classifier"]
    assert list(sparse_layers(Small(16, 10), (1, 3, 32, 32), ["classifier", "features.9"])) == ["features.6"]
    with pytest.raises(BadInput, match=r"does not have: 'clasifier'") as caught:
        sparse_layers(Small(16, 10), (1, 3, 32, 32), ["clasifier"])
    assert "did you mean classifier" in caught.value.as_text()
    with pytest.raises(BadInput, match="no layer is left"):
        sparse_layers(Small(16, 10), (1, 3, 32, 32), ["*"])
    tied = Small(32, 10)
    tied.features[9].weight = tied.features[6].weight  # type: ignore[assignment]
    with pytest.raises(WorkFailed, match="share their weights"):
        sparse_layers(tied, (1, 3, 32, 32))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(40, 3000), min_size=2, max_size=6), st.sampled_from([0.5, 0.75, 0.9, 0.95]))
def test_a_search_keeps_within_pocketflows_bounds_and_the_budget(sizes: list[int], sparsity: float) -> None:
    weights = {f"layer{number}": size for number, size in enumerate(sizes)}
    course = course_of(weights, {name: (size, 1) for name, size in weights.items()}, sparsity)
    for action in (0.0, 0.5, 1.0):
        decided: dict[str, int] = {}
        for number in range(len(course.layers)):
            decided, _ = course.carried_out(number, decided, action)
        assert sum(decided.values()) <= course.budget.target + len(weights)
        for name, size in weights.items():
            low, high = (1 - sparsity) / 3, min(1.0, 3 * (1 - sparsity))
            assert low * size - 1 <= decided[name] <= high * size + 1
        exact = rules.settled(decided, most_kept(weights, sparsity), sparsity, weights)
        assert sum(exact.values()) == rules.kept_of(weights, sparsity)


def test_a_candidate_keeps_the_largest_weights() -> None:
    model = Small(16, 10)
    found = weight_of(masked(model, {"features.6": 5}), "features.6").flatten()
    dense = weight_of(model, "features.6").detach().flatten()
    assert sorted(found[found != 0].abs().tolist()) == sorted(dense.abs().tolist())[-5:]
