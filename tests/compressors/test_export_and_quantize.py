"""Export and post-training quantization on a small real network: what was asked for is in the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from compressors import architectures
from compressors.evaluate import FileModel
from compressors.export import compare, export_tflite
from compressors.recipe import Quantize
from compressors.steps.quantize import check, quantize
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_file
from tests.compressors.conftest import SMALL
from tests.compressors.networks import Branch, Inverse, Spectrum, WithSort, behind
from zoo import tflite

Samples = list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Inputs of growing range: the largest values come once, in the last one."""
    random = np.random.default_rng(0)
    return [(random.uniform(-1, 1, (1, 32, 32, 3)) * (1 + i)).astype(np.float32) for i in range(6)]


def test_the_file_is_channels_last_and_computes_what_the_network_does(
    network: torch.nn.Module, float_file: Path, samples: Samples
) -> None:
    facts = tflite.inspect(float_file)
    assert [(t.shape, t.dtype) for t in facts.inputs] == [((1, 32, 32, 3), "float32")]
    assert "TRANSPOSE" not in facts.operator_counts
    found = compare(network, float_file, samples)
    assert found.samples == found.same_top1 == 6
    assert found.relative < 1e-5


def test_a_file_of_other_weights_is_found_out(float_file: Path, samples: Samples) -> None:
    torch.manual_seed(99)
    with pytest.raises(WorkFailed, match="does not compute what the network does"):
        compare(architectures.build(SMALL), float_file, samples)


def test_a_network_that_gives_nan_is_found_out(float_file: Path, samples: Samples) -> None:
    model = architectures.build(SMALL)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(WorkFailed, match="NaN"):
        compare(model, float_file, samples)


def test_a_network_that_cannot_be_converted_is_an_error_not_a_page_of_traces(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WorkFailed, match="cannot be converted") as caught:
        export_tflite(WithSort().eval(), 32, tmp_path / "x.tflite")
    assert len(caught.value.as_text().splitlines()) <= 6
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("module", "operation"), [(Inverse(), "aten.linalg_inv_ex"), (Spectrum(), "complex"), (Branch(), "data-dependent")]
)
def test_an_operation_that_cannot_be_converted_names_its_module_and_line(
    module: torch.nn.Module, operation: str, tmp_path: Path
) -> None:
    with pytest.raises(WorkFailed, match="cannot be converted") as caught:
        export_tflite(behind(module), 32, tmp_path / "x.tflite")
    told = caught.value.as_text()
    assert f"in module 'head.1' ({type(module).__name__})" in told
    assert operation in told
    assert re.search(r"networks\.py:\d+", told)
    assert "FAIL" not in told


def test_exporting_twice_gives_the_same_bytes(network: torch.nn.Module, float_file: Path, tmp_path: Path) -> None:
    export_tflite(network, 32, tmp_path / "again.tflite")
    assert sha256_file(tmp_path / "again.tflite") == sha256_file(float_file)


def test_static_int8_is_int8_throughout(
    float_file: Path, tmp_path: Path, samples: Samples, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "int8.tflite"
    seen: list[int] = []
    quantize(float_file, target, Quantize(kind="quantize"), iter(samples), lambda: seen.append(1))
    assert len(seen) == 6
    assert capfd.readouterr() == ("", "")
    facts = tflite.inspect(target)
    assert facts.inputs[0].dtype == facts.outputs[0].dtype == "int8"
    assert all("float32" not in op.input_dtypes + op.output_dtypes for op in facts.operators)
    assert target.stat().st_size < 0.35 * float_file.stat().st_size
    exact, coarse = FileModel(float_file), FileModel(target)
    for sample in samples:
        assert exact(sample).argmax() == coarse(sample).argmax()


def test_min_max_ranges_are_the_true_extremes_and_the_moving_average_is_not(
    float_file: Path, tmp_path: Path, samples: Samples
) -> None:
    largest = max(float(np.abs(sample).max()) for sample in samples)

    def input_scale(ranges: str) -> float:
        target = tmp_path / f"{ranges}.tflite"
        quantize(float_file, target, Quantize(kind="quantize", ranges=ranges), samples)  # type: ignore[arg-type]
        quantization = tflite.inspect(target).inputs[0].quantization
        assert quantization is not None
        return quantization.scales[0]

    # int8 has 255 steps between the extremes, which here lie at about -largest and +largest.
    assert input_scale("min-max") == pytest.approx(2 * largest / 255, rel=0.01)
    assert input_scale("moving-average") < 0.5 * 2 * largest / 255


def test_the_same_samples_give_the_same_file(float_file: Path, tmp_path: Path, samples: Samples) -> None:
    for name in ("a", "b"):
        quantize(float_file, tmp_path / name, Quantize(kind="quantize"), samples)
    assert sha256_file(tmp_path / "a") == sha256_file(tmp_path / "b")


@pytest.mark.parametrize("scheme", ["dynamic-int8", "weight-only-int8"])
def test_schemes_without_calibration_keep_float_inputs(float_file: Path, tmp_path: Path, scheme: str) -> None:
    target = tmp_path / "out.tflite"
    quantize(float_file, target, Quantize(kind="quantize", scheme=scheme), [])  # type: ignore[arg-type]
    facts = tflite.inspect(target)
    assert facts.inputs[0].dtype == facts.outputs[0].dtype == "float32"
    assert target.stat().st_size < 0.35 * float_file.stat().st_size
    sample = np.random.default_rng(3).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    exact, coarse = FileModel(float_file)(sample), FileModel(target)(sample)
    assert np.abs(exact - coarse).max() < 0.1 * (exact.max() - exact.min())


@pytest.mark.parametrize(
    ("change", "said"), [(lambda s: [], "no calibration samples"), (lambda s: [s[0] * np.nan], "NaN or infinite")]
)
def test_calibration_data_that_is_none_is_bad_input(
    float_file: Path, tmp_path: Path, samples: Samples, change: Callable[[Samples], Samples], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        quantize(float_file, tmp_path / "x", Quantize(kind="quantize"), change(samples))


def test_calibration_data_of_the_wrong_shape_or_range_is_bad_input(float_file: Path, tmp_path: Path) -> None:
    for sample, said in (
        (np.zeros((1, 3, 32, 32), np.float32), r"shape \(1, 3, 32, 32\), the model takes \(1, 32, 32, 3\)"),
        (np.full((1, 32, 32, 3), 1e6, np.float32), "values up to 1e\\+06: it was not normalised"),
    ):
        with pytest.raises(BadInput, match=said):
            quantize(float_file, tmp_path / "x", Quantize(kind="quantize"), [sample])


@pytest.mark.parametrize("value", [0.0, -2.1, 1.5])
def test_images_of_one_colour_calibrate_nothing_but_do_no_harm_among_others(
    float_file: Path, tmp_path: Path, samples: Samples, value: float
) -> None:
    plain = [np.full((1, 32, 32, 3), value, np.float32)] * 3
    with pytest.raises(BadInput, match="3 calibration samples has one colour all over"):
        quantize(float_file, tmp_path / "x", Quantize(kind="quantize"), plain)
    quantize(float_file, tmp_path / "x", Quantize(kind="quantize"), [*plain, *samples])


def test_a_step_that_did_nothing_is_an_error_that_says_why(float_file: Path) -> None:
    with pytest.raises(WorkFailed, match="not quantized to static-int8") as caught:
        check(float_file, float_file, Quantize(kind="quantize"))
    text = caught.value.as_text()
    assert "is float32, not int8" in text
    assert "operators still compute in float" in text
    assert "1.000 of the float file's" in text
    for scheme in ("dynamic-int8", "weight-only-int8"):
        with pytest.raises(WorkFailed, match=f"not quantized to {scheme}"):
            check(float_file, float_file, Quantize(kind="quantize", scheme=scheme))  # type: ignore[arg-type]
