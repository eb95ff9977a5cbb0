"""Coarse answers made as large as the input: where pixels lie, and that integer kernels agree about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compressors.architectures.enlarging import enlarged
from compressors.export import export_tflite
from compressors.sections import Quantize
from compressors.steps.quantize.post_training import calibrate, make

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("few", "many", "stride"), [(49, 769, 16), (97, 769, 8), (25, 97, 4), (12, 96, 8), (3, 24, 8)])
def test_a_step_between_pixels_is_one_by_the_stride(few: int, many: int, stride: int) -> None:
    ramp = torch.arange(few, dtype=torch.float64).view(1, 1, 1, few).expand(1, 1, few, few)
    found = enlarged(ramp, (many, many))[0, 0, 0]
    inside = found[stride : many - stride]
    assert torch.allclose(inside.diff(), torch.tensor(1 / stride, dtype=torch.float64))
    if many % stride == 1:  # cells lie on every stride-th pixel
        assert torch.allclose(found[::stride], ramp[0, 0, 0])
    else:  # areas lie on areas: a cell's pixels are its mean
        assert torch.allclose(found.view(few, stride).mean(1)[1:-1], ramp[0, 0, 0][1:-1])


def test_one_answer_for_all_is_the_same_everywhere() -> None:
    assert torch.allclose(enlarged(torch.tensor([[[[2.5]]]]), (5, 7)), torch.full((1, 1, 5, 7), 2.5))
    with pytest.raises(ValueError, match="zip"):
        enlarged(torch.zeros(1, 1, 2, 2), (4,))


class Coarse(nn.Module):
    """A class for each 16th pixel, made as large as the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=16, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        coarse: Tensor = self.conv(x)
        return enlarged(coarse, x.shape[2:])


def test_integer_kernels_agree_where_a_pixel_lies(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    size = 257
    torch.manual_seed(0)
    export_tflite(Coarse().eval(), size, tmp_path / "float.tflite", image_outputs=(0,))
    random = np.random.default_rng(0)
    samples = [random.normal(size=(1, size, size, 3)).astype(np.float32) for _ in range(4)]
    step = Quantize(kind="quantize")
    ranges = calibrate(tmp_path / "float.tflite", step, samples, lambda: None)
    make(tmp_path / "float.tflite", tmp_path / "int8.tflite", step, ranges)
    answers = []
    # XNNPACK's kernels, the runtime's own, and those they are held against.
    for kind in (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.BUILTIN_REF):
        runtime = Interpreter(str(tmp_path / "int8.tflite"), num_threads=1, experimental_op_resolver_type=kind)
        runtime.allocate_tensors()
        (given,), (told,) = runtime.get_input_details(), runtime.get_output_details()
        assert given["dtype"] == told["dtype"] == np.int8
        values = np.random.default_rng(1).integers(-128, 128, given["shape"]).astype(np.int8)
        runtime.set_tensor(given["index"], values)
        runtime.invoke()
        answers.append(runtime.get_tensor(told["index"]).astype(int))
    assert np.ptp(answers[0]) > 100
    # One step for the convolution's rounding, one for the enlarging's; a grid that drifts gives ten.
    assert max(int(np.abs(answers[0] - other).max()) for other in answers[1:]) <= 2
