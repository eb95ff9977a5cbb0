"""The .onnx beside the .tflite: standard operators, the same answers, clear errors."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from compressors import architectures
from compressors.onnx import compare_onnx, export_onnx
from pocketzoo.errors import BadInput, WorkFailed
from tests.compressors.conftest import SMALL
from tests.compressors.networks import Branch, Inverse, WithSort, behind

SAMPLES = [np.random.default_rng(i).standard_normal((1, 32, 32, 3)).astype(np.float32) for i in range(4)]


def test_the_file_computes_what_the_network_does(network: torch.nn.Module, tmp_path: Path) -> None:
    operators = export_onnx(network, (1, 3, 32, 32), tmp_path / "small.onnx")
    assert operators["Conv"] == 4
    found = compare_onnx(network, tmp_path / "small.onnx", SAMPLES)
    assert found.samples == found.same_top1 == 4
    assert found.relative < 1e-5
    torch.manual_seed(99)
    with pytest.raises(WorkFailed, match="does not compute what the network does"):
        compare_onnx(architectures.build(SMALL), tmp_path / "small.onnx", SAMPLES)


def test_a_network_that_cannot_be_converted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Broken(WithSort):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if float(x.sum()) > 1:
                return x
            return super().forward(x)

    with pytest.raises(WorkFailed, match=r"cannot be converted to \.onnx") as caught:
        export_onnx(Broken().eval(), (1, 3, 8, 8), tmp_path / "x.onnx")
    assert len(caught.value.as_text().splitlines()) <= 6
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("module", [Inverse(), Branch()])
def test_an_operation_that_cannot_be_converted_names_its_module_and_line(
    module: torch.nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(WorkFailed, match="cannot be converted") as caught:
        export_onnx(behind(module), (1, 3, 32, 32), tmp_path / "x.onnx")
    told = caught.value.as_text()
    assert f"in module 'head.1' ({type(module).__name__})" in told
    assert re.search(r"networks\.py:\d+", told)
    assert "step 3/3" not in told and "\x1b" not in told


def test_without_the_extra_the_command_is_named(
    network: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput) as caught:
        export_onnx(network, (1, 3, 32, 32), tmp_path / "x.onnx")
    assert "pip install 'pocketzoo[onnx]'" in caught.value.as_text()
