"""Quantization-aware training: the formulas, the network around them, and the learnt ranges in the file."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from compressors.evaluate import FileModel
from compressors.export import export_tflite
from compressors.sections import Aware, Quantize, Train
from compressors.steps.quantize import aware, graph
from compressors.steps.quantize.check import check, check_learnt
from compressors.steps.quantize.clipping import least_squares, octav
from compressors.steps.quantize.fake import FakeActivation, fake_weight, min_max
from compressors.steps.quantize.learnt import Told, quantize_learnt
from compressors.steps.quantize.post_training import make
from pocketzoo.errors import WorkFailed
from pocketzoo.yamlfile import Section


class Branches(nn.Module):
    """A residual network in small: one tensor read twice, a pooling between layers, an addition, a layer with bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(2)
        self.left = nn.Conv2d(16, 32, 3, 2, 1, bias=False)
        self.left_norm = nn.BatchNorm2d(32)
        self.right = nn.Conv2d(16, 32, 1, 2)
        self.depthwise = nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.norm(self.stem(x))))
        x = torch.relu(self.left_norm(self.left(x)) + self.right(x))
        x = torch.relu(self.depthwise_norm(self.depthwise(x)))
        out: Tensor = self.fc(nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1))
        return out


SHAPE = (1, 3, 16, 16)
LAYERS = ["stem", "left", "right", "depthwise", "fc"]


def branches() -> nn.Module:
    torch.manual_seed(0)
    return Branches().eval()


def how(weights: str, activations: str, bits: int = 8) -> Aware:
    return Aware(weights=weights, activations=activations, bits=bits, train=Train(epochs=1))  # type: ignore[arg-type]


def a_few_steps(model: nn.Module) -> None:
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model.train()
    for _ in range(12):
        inputs = torch.randn(16, *SHAPE[1:])
        loss = nn.functional.cross_entropy(model(inputs), torch.arange(16) % 10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def test_layers_are_told_from_the_graph_with_their_batch_norm() -> None:
    model = branches()
    found = aware.layers(model, torch.zeros(SHAPE))
    assert sorted(layer.name for layer in found) == sorted(LAYERS)
    assert {layer.name: layer.norm for layer in found if layer.norm} == {
        "stem": "norm", "left": "left_norm", "depthwise": "depthwise_norm",
    }  # fmt: skip
    x = torch.randn(4, *SHAPE[1:])
    before = model(x)
    aware.fold(model, found)
    assert torch.allclose(before, model(x), atol=1e-5)


def test_a_layer_used_twice_is_an_error() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(self.layer(x))
            return out

    with pytest.raises(WorkFailed, match="'layer' is used twice"):
        aware.layers(Twice().eval(), torch.zeros(SHAPE))


def test_the_moving_average_is_paddleslims() -> None:
    observed = FakeActivation("moving_average_abs_max", 8).train()
    state = accum = 1.0
    for largest in (2.0, 0.5, 4.0):
        observed(torch.tensor([largest, -largest / 3]))
        state, accum = 0.9 * state + 1, 0.9 * accum + largest
    assert observed.range == pytest.approx((-accum / state, accum / state))
    observed.eval()(torch.tensor([100.0]))
    assert observed.range == pytest.approx((-accum / state, accum / state))


def test_abs_max_is_of_each_batch_also_at_inference() -> None:
    dynamic = FakeActivation("abs_max", 8).eval()
    for size in (0.01, 50.0):
        x = torch.linspace(-1, 1, 9) * size
        assert torch.allclose(dynamic(x), x, atol=size / 127 / 2 + 1e-7)


@given(st.integers(2, 8), st.floats(-5, 0), st.floats(0.1, 5))
def test_k_bits_have_two_to_the_k_values_and_zero_is_one_of_them(bits: int, low: float, high: float) -> None:
    x = torch.linspace(low - 1, high + 1, 2000)
    rounded = min_max(x, torch.tensor(low), torch.tensor(high), bits, nudge=True)
    assert len(torch.unique(rounded.round(decimals=4))) <= 2**bits
    zero = min_max(torch.zeros(1), torch.tensor(low), torch.tensor(high), bits, nudge=True)
    assert float(zero) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("kind", ["abs_max", "channel_wise_abs_max", "min_max"])
def test_the_gradient_passes_straight_through(kind: str) -> None:
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    rounded = fake_weight(weight, kind, 8, 0)
    assert not torch.equal(rounded, weight)
    rounded.sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones_like(weight))
    if kind == "channel_wise_abs_max":
        assert torch.allclose(rounded.abs().amax((1, 2, 3)), weight.abs().amax((1, 2, 3)))


@pytest.mark.parametrize(
    ("weights", "activations"),
    [
        ("abs_max", "abs_max"),
        ("abs_max", "moving_average_abs_max"),
        ("channel_wise_abs_max", "moving_average_abs_max"),
        ("min_max", "min_max"),
    ],
)
def test_what_is_learnt_is_what_the_file_has(tmp_path: Path, weights: str, activations: str) -> None:
    scheme = how(weights, activations)
    model = branches()
    names = aware.prepare(model, torch.zeros(SHAPE), scheme)
    a_few_steps(model)
    learnt = aware.ranges(model, names)
    samples = [np.random.default_rng(i).standard_normal((1, 16, 16, 3)).astype(np.float32) for i in range(20)]
    with torch.no_grad():
        simulated = np.concatenate([model(torch.from_numpy(s).permute(0, 3, 1, 2)).numpy() for s in samples])
    aware.deploy(model, names)
    values = {name: model.get_submodule(name).get_parameter("weight").detach().numpy() for name in names}
    source, target = tmp_path / "float.tflite", tmp_path / "int8.tflite"
    export_tflite(model, 16, source)
    granularity = "channel" if weights == "channel_wise_abs_max" else "tensor"
    step = Quantize(kind="quantize", scheme=scheme.scheme, weights=granularity, max_ratio=0.95, qat=scheme)  # type: ignore[arg-type]
    told = quantize_learnt(source, target, step, learnt, values, samples)

    made, nodes = graph.read(target), graph.match(graph.read(source), values, source)
    for name, node in nodes.items():
        tensor = made.tensors[graph.parts(node)[1]]
        assert tensor.dtype == "int8"
        assert tensor.quantization is not None
        scales = np.asarray(tensor.quantization.scales)
        assert not any(tensor.quantization.zero_points)
        size = np.abs(values[name])
        if granularity == "channel":
            # In float32 arithmetic of another order than ours: the last digits differ.
            np.testing.assert_allclose(scales, size.reshape(len(size), -1).max(1) / 127, rtol=1e-5)
            assert tensor.quantization.axis == (3 if node.operator == "DEPTHWISE_CONV_2D" else 0)
        else:
            np.testing.assert_allclose(scales, size.max() / 127, rtol=1e-5)
            assert len(scales) == 1 or (activations == "abs_max" and node.operator == "DEPTHWISE_CONV_2D")
    if activations == "abs_max":
        assert (told, learnt) == (Told(0, 0, 0), {})
        assert made.tensors[nodes["fc"].inputs[0]].dtype == "float32"
    else:
        assert sorted(learnt) == sorted(LAYERS)
        assert learnt["left"] == learnt["right"], "both read one tensor"
        for name, (low, high) in learnt.items():
            found = made.tensors[graph.parts(nodes[name])[0]].quantization
            assert found is not None
            if activations == "moving_average_abs_max":
                assert found.zero_points == (0,)
                assert found.scales[0] == pytest.approx(high / 127, rel=1e-5)
            else:
                assert found.scales[0] == pytest.approx((high - low) / 255, rel=1e-5)
                assert found.zero_points[0] == round(-128 - low / found.scales[0])
        with pytest.raises(WorkFailed, match="did not reach the file"):
            check_learnt(target, {nodes["fc"].inputs[0]: (-9.0, 9.0)}, symmetric=True)
    runs = FileModel(target)
    answers = np.concatenate([runs(sample) for sample in samples])
    assert np.abs(answers - simulated).max() < 0.15 * np.ptp(simulated)
    assert np.corrcoef(answers.ravel(), simulated.ravel())[0, 1] > 0.98


def test_two_layers_with_the_same_weights_cannot_be_told_apart(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)).eval()
    model[2].load_state_dict(model[0].state_dict())
    path = tmp_path / "same.tflite"
    export_tflite(model, 8, path)
    values = {name: model.get_submodule(name).get_parameter("weight").detach().numpy() for name in ("0", "2")}
    with pytest.raises(WorkFailed, match="cannot tell which operator of the file computes layer '0': 2 have"):
        graph.match(graph.read(path), values, path)


@pytest.mark.parametrize("ranges", ["mse", "octav"])
def test_ranges_that_weigh_clipping_clip_an_outlier(float_file: Path, tmp_path: Path, ranges: str) -> None:
    from compressors.steps.quantize.post_training import calibrate, quantize

    random = np.random.default_rng(0)
    samples = [random.standard_normal((1, 32, 32, 3)).astype(np.float32) for _ in range(8)]
    samples[0][0, 0, 0, 0] = 60.0
    plain = calibrate(float_file, Quantize(kind="quantize"), samples)
    step = Quantize(kind="quantize", ranges=ranges)  # type: ignore[arg-type]
    clipped = calibrate(float_file, step, samples)
    first = next(name for name in plain if "args_0" in name)
    assert float(np.max(plain[first]["max"])) == 60.0
    found = float(np.max(clipped[first]["max"]))
    # One value in thousands: with 8 bits the mean square still prefers nearly all of the range.
    assert 4.0 < found <= 60.0 if ranges == "mse" else 4.0 < found < 60.0
    quantize(float_file, tmp_path / "clipped.tflite", step, samples)


def test_four_bits_of_a_normal_distribution_are_clipped_where_theory_says() -> None:
    """16 equal steps lose least with a step of 0.335 standard deviations, so at 2.68 (Max, 1960, table II)."""
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    low, high = least_squares(values, float(values.min()), float(values.max()), 4)
    assert 2.3 < (high - low) / 2 < 3.0
    assert 2.3 < octav(values, 4) < 3.0


def test_sixteen_bit_activations(float_file: Path, tmp_path: Path) -> None:
    from compressors.steps.quantize import quantize
    from zoo import tflite

    samples = [np.random.default_rng(i).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32) for i in range(4)]
    target = tmp_path / "int8x16.tflite"
    quantize(float_file, target, Quantize(kind="quantize", scheme="static-int8x16"), samples)
    facts = tflite.inspect(target)
    assert facts.inputs[0].dtype == facts.outputs[0].dtype == "int16"
    exact, coarse = FileModel(float_file)(samples[0]), FileModel(target)(samples[0])
    assert np.abs(exact - coarse).max() < 0.02 * np.ptp(exact)


def test_what_stays_in_float_is_counted(float_file: Path, tmp_path: Path) -> None:
    from compressors.steps.quantize.post_training import calibrate

    samples = [np.random.default_rng(i).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32) for i in range(4)]
    step, target = Quantize(kind="quantize"), tmp_path / "mixed.tflite"
    ranges = calibrate(float_file, step, samples)
    kept = graph.read(float_file).weighted[1].outputs[0]
    make(float_file, target, step, ranges, keep_float=[kept])
    check(float_file, target, step, kept=1)
    for wrong, said in ((2, "1 weighted operators compute in float, 2 were to"), (0, "still compute in float")):
        with pytest.raises(WorkFailed) as caught:
            check(float_file, target, step, kept=wrong)
        assert said in caught.value.as_text()


def test_sections_that_do_not_fit_each_other() -> None:
    cases: list[tuple[type[Section], dict[str, object], str]] = [
        (Aware, {"weights": "min_max", "train": {"epochs": 1}}, "min_max is for weights and activations together"),
        (Aware, {"bits": 4, "train": {"epochs": 1}}, "abs_max schemes have 8 bits"),
        (Train, {"epochs": 1, "schedule": "step"}, "needs milestones"),
        (Train, {"epochs": 1, "warmup_epochs": 1.0}, "warm-up of 1 epochs"),
        (Quantize, {"kind": "quantize", "qat": {"activations": "abs_max", "train": {"epochs": 1}}}, "dynamic-int8"),
    ]
    for section, values, said in cases:
        with pytest.raises(ValueError, match=said):
            section.model_validate(values)


def test_the_network_is_the_same_with_and_without_wrapping_in_evaluation() -> None:
    """Wrapped: rounded; unwrapped again: folding batch norm changed nothing."""
    model, wrapped = branches(), copy.deepcopy(branches())
    names = aware.prepare(wrapped, torch.zeros(SHAPE), how("channel_wise_abs_max", "abs_max"))
    x = torch.randn(4, *SHAPE[1:])
    with torch.no_grad():
        exact, rounded = model(x).numpy(), wrapped(x).numpy()
        aware.deploy(wrapped, names)
        deployed = wrapped(x).numpy()
    assert 0 < np.abs(rounded - exact).max() < 0.1 * np.ptp(exact)
    np.testing.assert_allclose(deployed, exact, atol=1e-5)
