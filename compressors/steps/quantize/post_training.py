"""Quantization of a float .tflite: the quantizer's settings, the ranges it is given, and the file it makes.

Ranges. The quantizer's own ``calibrate()`` keeps an exponential moving average of each tensor's minimum and maximum
(smoothing 0.95). That settles near the mean of the samples' extremes, so about half of the samples' largest activations
are clipped: int8 MobileNetV2 falls from 18 to 7..11 right answers of 20. ``min-max`` here therefore means the true
minimum and maximum over all samples (17 of 20). docs/decisions/0201-calibration-ranges.md has the figures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors.quiet import quiet
from compressors.sections import Quantize
from compressors.steps.quantize.check import check
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = Iterable[NDArray[np.float32]]

Ranges = dict[str, dict[str, Any]]  # tensor name -> {"min": ..., "max": ...}, the quantizer's own form
LARGEST_INPUT = 1e4  # a normalised image lies within about ±3; beyond this it was not normalised at all


def quantize(
    source: Path,
    target: Path,
    step: Quantize,
    samples: Samples,
    on_sample: Callable[[], None] = lambda: None,
) -> None:
    """Quantize a float .tflite with one input after its training.

    Args:
        source: the float file.
        target: where to write.
        step: scheme, granularity, ranges and the size that counts as done.
        samples: calibration inputs, each of the file's input shape; only the static schemes look at them, one at a
            time.
        on_sample: called after each.

    Raises:
        BadInput: no samples, none that shows more than one colour, or samples of another shape, not finite, or far
            outside a normalised image's range.
        WorkFailed: the quantizer fails, or its result is not what was asked for.
    """
    ranges = calibrate(source, step, samples, on_sample) if step.scheme.startswith("static") else None
    make(source, target, step, ranges)
    check(source, target, step)


def make(
    source: Path,
    target: Path,
    step: Quantize,
    ranges: Ranges | None,
    *,
    symmetric: bool = False,
    keep_float: Sequence[str] = (),
    only: str | None = None,
) -> None:
    """Write the quantized file.

    Args:
        source: the float file.
        target: where to write.
        step: scheme and granularity.
        ranges: of every activation, for the static schemes.
        symmetric: activations have zero point 0.
        keep_float: outputs (tensor names) of operators that stay in float.
        only: if given, the output of the one operator that is quantized.

    Raises:
        WorkFailed: the quantizer fails.
    """
    from ai_edge_quantizer import quantizer

    with quiet() as noise:
        try:
            engine = quantizer.Quantizer(str(source))
            engine.load_quantization_recipe(_settings(step, symmetric=symmetric, keep_float=keep_float, only=only))
            content = bytes(engine.quantize(ranges).quantized_model)
            if step.scheme == "dynamic-int8" and step.weights == "tensor":
                content = _repeat_depthwise_scales(content)
            if step.scheme.startswith("static"):
                content = _leaky_in_integers(content)
        except (KeyboardInterrupt, MemoryError, PocketzooError):
            raise
        except Exception as error:
            raise _failed(step, error, noise.tail(2)) from error
    target.write_bytes(content)


def _failed(step: Quantize, error: Exception, detail: tuple[str, ...]) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return WorkFailed(
        f"{step.scheme} quantization failed: {(str(error) or type(error).__name__).splitlines()[0][:300]}",
        detail=detail,
        hint="run again with --debug",
    )


def _settings(step: Quantize, *, symmetric: bool, keep_float: Sequence[str], only: str | None) -> list[dict[str, Any]]:
    """The quantizer's recipe: later entries win."""
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    granularity = {
        "channel": qtyping.QuantGranularity.CHANNELWISE,
        "tensor": qtyping.QuantGranularity.TENSORWISE,
    }[step.weights]
    weight = qtyping.TensorQuantizationConfig(num_bits=8, symmetric=True, granularity=granularity)
    activation = None
    if step.scheme.startswith("static"):
        # 16-bit kernels know no zero point.
        bits = 16 if step.scheme == "static-int8x16" else 8
        activation = qtyping.TensorQuantizationConfig(num_bits=bits, symmetric=symmetric or bits == 16)
    float_arithmetic = step.scheme == "weight-only-int8"
    config = qtyping.OpQuantizationConfig(
        activation_tensor_config=activation,
        weight_tensor_config=weight,
        compute_precision=qtyping.ComputePrecision.FLOAT if float_arithmetic else qtyping.ComputePrecision.INTEGER,
        explicit_dequantize=float_arithmetic,
    )
    algorithms = {"mse": AlgorithmName.MSE, "octav": AlgorithmName.OCTAV}
    manager = recipe_manager.RecipeManager()
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    manager.add_quantization_config(".*" if only is None else _scope(only), everything, config)
    if step.ranges in algorithms:
        # These two choose weights' scales; operators without weights keep the entry above.
        for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_2D_TRANSPOSE"):
            operation = qtyping.TFLOperationName[name]
            scope = "(?:.*)" if only is None else f"(?:{_scope(only)})"
            manager.add_quantization_config(scope, operation, config, algorithms[step.ranges])
    for output in keep_float:
        manager.add_quantization_config(_scope(output), everything, algorithm_key=AlgorithmName.NO_QUANTIZE)
    settings: list[dict[str, Any]] = manager.get_quantization_recipe()
    return settings


def _scope(output: str) -> str:
    """A pattern for the operator with this output: the quantizer's scope is its outputs, ``;`` after each."""
    return f"^{re.escape(output)};?$"


def calibrate(
    source: Path,
    step: Quantize,
    samples: Samples,
    on_sample: Callable[[], None] = lambda: None,
) -> Ranges:
    """The range of every activation over the samples, clipped as ``step.ranges`` says.

    Raises:
        BadInput: no samples, none that shows more than one colour, or samples of another shape, not finite, or far
            outside a normalised image's range.
        WorkFailed: the network gives NaN or infinite activations.
    """
    from compressors.steps.quantize.clipping import Watcher

    with quiet() as noise:
        try:
            found = _observed(source, step, samples, on_sample, Watcher)
        except (KeyboardInterrupt, MemoryError, PocketzooError):
            raise
        except Exception as error:
            raise _failed(step, error, noise.tail(2)) from error
    import numpy as np

    broken = [name for name, r in found.items() if not all(np.isfinite(r[end]).all() for end in ("min", "max"))]
    if broken:
        raise WorkFailed(
            "the float model gives NaN or infinite activations on the calibration data",
            detail=(f"in {len(broken)} tensors, {broken[0][:120]} for one",),
            hint="check that the weights belong to this network and preprocessing",
        )
    return found


def _observed(
    source: Path, step: Quantize, samples: Samples, on_sample: Callable[[], None], watcher_of: type[Any]
) -> Ranges:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(_settings(step, symmetric=False, keep_float=(), only=None))
    # See the top of this module: the default update is the moving average.
    update = qsv_utils.moving_average_update if step.ranges == "moving-average" else qsv_utils.min_max_update
    threads = len(os.sched_getaffinity(0))
    engine = calibrator.Calibrator(str(source), num_threads=threads, qsv_update_func=update)
    clipped = watcher_of(source) if step.ranges in ("mse", "octav") else None
    runtime = Interpreter(model_path=str(source))
    signature, names = next(iter(runtime.get_signature_list().items()))
    shape = tuple(int(n) for n in runtime.get_input_details()[0]["shape"])
    seen = plain = 0
    for sample in samples:
        _check_sample(sample, shape, seen)
        plain += bool((sample == sample[:, :1, :1]).all())
        # One at a time: calibrate() makes a list of what it is given, and a data set need not fit into memory.
        engine.calibrate({signature: [{names["inputs"][0]: sample}]}, manager)
        if clipped is not None:
            clipped.see(sample)
        seen += 1
        on_sample()
    if not seen:
        raise BadInput("no calibration samples", hint="--set data.calibration.folder=FOLDER")
    if plain == seen:
        raise BadInput(
            f"every one of the {seen} calibration samples has one colour all over: they show no range",
            hint="give natural photos: --set data.calibration.folder=FOLDER",
        )
    found: Ranges = dict(engine.get_model_qsvs())
    if clipped is not None:
        bits = 16 if step.scheme == "static-int8x16" else 8
        found = clipped.clip(found, step.ranges, bits)
    return found


def _check_sample(sample: NDArray[np.float32], shape: tuple[int, ...], number: int) -> None:
    import numpy as np

    if sample.shape != shape:
        raise BadInput(
            f"calibration sample {number} has shape {sample.shape}, the model takes {shape}",
            hint="give images as the recipe's preprocessing makes them: height, width, channels",
        )
    if not np.isfinite(sample).all():
        raise BadInput(f"calibration sample {number} holds NaN or infinite values")
    largest = float(np.abs(sample).max())
    if largest > LARGEST_INPUT:
        raise BadInput(
            f"calibration sample {number} has values up to {largest:g}: it was not normalised",
            hint="check preprocessing.mean and preprocessing.std",
        )


def with_learnt(ranges: Ranges, learnt: Mapping[str, tuple[float, float]]) -> Ranges:
    """Calibrated ranges with the learnt ones in their place, by tensor name."""
    import numpy as np

    changed = dict(ranges)
    for name, (low, high) in learnt.items():
        shape = np.shape(ranges[name]["min"]) if name in ranges else (1,)
        changed[name] = {"min": np.full(shape, low, np.float32), "max": np.full(shape, high, np.float32)}
    return changed


def _repeat_depthwise_scales(content: bytes) -> bytes:
    """Write the one scale of each depthwise weight once for every channel.

    ai-edge-litert 2.3 computes a depthwise convolution with float activations and int8 weights of one scale wrongly
    (chance level, with XNNPACK and without); the same weights with the same scale written per channel are computed
    right (docs/decisions/0221-depthwise-scales-are-repeated.md).
    """
    import numpy as np
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    operators = flatbuffer_utils.schema_fb.BuiltinOperator
    for graph in model.subgraphs:
        for operator in graph.operators:
            if model.operatorCodes[operator.opcodeIndex].builtinCode != operators.DEPTHWISE_CONV_2D:
                continue
            weight = graph.tensors[operator.inputs[1]]
            found = weight.quantization
            if found is not None and found.scale is not None and len(found.scale) == 1:
                channels = int(weight.shape[3])
                found.scale = np.repeat(np.asarray(found.scale, np.float32), channels)
                found.zeroPoint = np.zeros(channels, np.int64)
                found.quantizedDimension = 3
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _leaky_in_integers(content: bytes) -> bytes:
    """Let each LEAKY_RELU between two quantized tensors compute in integers.

    ai-edge-quantizer 0.10 does not know the operator and puts DEQUANTIZE before and QUANTIZE behind it; the runtime has
    kernels for it that take and give any scale (docs/decisions/0333-leaky-relu-in-integers.md).
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    known = flatbuffer_utils.schema_fb.BuiltinOperator
    codes = [code.builtinCode for code in model.operatorCodes]
    if known.LEAKY_RELU not in codes:
        return content
    for graph in model.subgraphs:
        before = {int(op.outputs[0]): op for op in graph.operators if codes[op.opcodeIndex] == known.DEQUANTIZE}
        for operator in graph.operators:
            if codes[operator.opcodeIndex] != known.LEAKY_RELU or int(operator.inputs[0]) not in before:
                continue
            given = int(operator.outputs[0])
            readers = [op for op in graph.operators if given in [int(index) for index in op.inputs]]
            if not readers or any(codes[op.opcodeIndex] != known.QUANTIZE for op in readers):
                continue
            operator.inputs = [int(before[int(operator.inputs[0])].inputs[0])]
            operator.outputs = [int(readers[0].outputs[0])]
            for reader in readers[1:]:  # of another scale: from integers to integers
                reader.inputs = operator.outputs
            graph.operators.remove(readers[0])
        read = {int(index) for op in graph.operators for index in op.inputs} | {int(index) for index in graph.outputs}
        graph.operators = [
            op for op in graph.operators if codes[op.opcodeIndex] != known.DEQUANTIZE or int(op.outputs[0]) in read
        ]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
