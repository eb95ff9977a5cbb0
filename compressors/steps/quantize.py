"""Post-training quantization of a float .tflite, and the check that it happened.

Ranges. The quantizer's own ``calibrate()`` keeps an exponential moving average of each tensor's minimum and maximum
(smoothing 0.95). That settles near the mean of the samples' extremes, so about half of the samples' largest activations
are clipped: int8 MobileNetV2 falls from 18 to 7..11 right answers of 20. ``min-max`` here therefore means the true
minimum and maximum over all samples (17 of 20). docs/decisions/0201-calibration-ranges.md has the figures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors.quiet import quiet
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from zoo import tflite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compressors.recipe import Quantize

RELATION = "quantized"
# Operators that hold nearly all weights and work; one of them left in float is a failed quantization.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
INTEGERS = ("int8", "int4", "int16", "int32", "int64", "uint8", "bool")


def quantize(
    source: Path,
    target: Path,
    step: Quantize,
    samples: Iterable[NDArray[np.float32]],
    on_sample: Callable[[], None] = lambda: None,
) -> None:
    """Quantize a float .tflite with one input.

    Args:
        source: the float file.
        target: where to write.
        step: scheme, ranges and the size that counts as done.
        samples: calibration inputs, each of the file's input shape; only ``static-int8`` looks at them, one at a time.
        on_sample: called after each.

    Raises:
        BadInput: no samples, or samples that are not finite.
        WorkFailed: the quantizer fails, or its result is not what was asked for.
    """
    with quiet() as noise:
        try:
            model = _run(source, step, samples, on_sample)
        except (KeyboardInterrupt, MemoryError, PocketzooError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise WorkFailed(
                f"{step.scheme} quantization failed: {(str(error) or type(error).__name__).splitlines()[0][:300]}",
                detail=noise.tail(2),
                hint="run again with --debug",
            ) from error
    target.write_bytes(model)
    check(source, target, step)


def _run(source: Path, step: Quantize, samples: Iterable[NDArray[np.float32]], on_sample: Callable[[], None]) -> bytes:
    from ai_edge_quantizer import quantizer, recipe

    recipes: dict[str, Any] = {
        "static-int8": recipe.static_wi8_ai8,
        "dynamic-int8": recipe.dynamic_wi8_afp32,
        "weight-only-int8": recipe.weight_only_wi8_afp32,
    }
    chosen = recipes[step.scheme]()
    engine = quantizer.Quantizer(str(source))
    engine.load_quantization_recipe(chosen)
    ranges = _ranges(source, chosen, step, samples, on_sample) if step.scheme == "static-int8" else None
    return bytes(engine.quantize(ranges).quantized_model)


def _ranges(
    source: Path, chosen: Any, step: Quantize, samples: Iterable[NDArray[np.float32]], on_sample: Callable[[], None]
) -> Any:
    """Tensor name -> its range over the samples."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(chosen)
    # See the top of this module: the default update is the moving average.
    update = {"min-max": qsv_utils.min_max_update, "moving-average": qsv_utils.moving_average_update}[step.ranges]
    watcher = calibrator.Calibrator(str(source), num_threads=len(os.sched_getaffinity(0)), qsv_update_func=update)
    signature, names = next(iter(Interpreter(model_path=str(source)).get_signature_list().items()))
    seen = 0
    for sample in samples:
        if not np.isfinite(sample).all():
            raise BadInput(f"calibration sample {seen} holds NaN or infinite values")
        # One at a time: calibrate() makes a list of what it is given, and a data set need not fit into memory.
        watcher.calibrate({signature: [{names["inputs"][0]: sample}]}, manager)
        seen += 1
        on_sample()
    if not seen:
        raise BadInput("no calibration samples", hint="--set data.calibration.folder=FOLDER")
    found = watcher.get_model_qsvs()
    broken = [name for name, r in found.items() if not all(np.isfinite(r[end]).all() for end in ("min", "max"))]
    if broken:
        raise WorkFailed(
            "the float model gives NaN or infinite activations on the calibration photos",
            detail=(f"in {len(broken)} tensors, {broken[0][:120]} for one",),
            hint="check that the weights belong to this network and preprocessing",
        )
    return found


def check(source: Path, target: Path, step: Quantize) -> None:
    """Was the file really quantized as asked?

    Raises:
        WorkFailed: with every reason why not.
    """
    facts = tflite.inspect(target)
    weighted = [operator for operator in facts.operators if operator.name in WEIGHTED]
    problems = []
    if not weighted:
        problems.append(f"it has none of the operators that hold weights ({', '.join(WEIGHTED)})")
    if step.scheme == "static-int8":
        for what, tensors in (("input", facts.inputs), ("output", facts.outputs)):
            problems += [f"{what} {t.name} is {t.dtype}, not int8" for t in tensors if t.dtype != "int8"]
        floating = [op for op in facts.operators if set(op.input_dtypes + op.output_dtypes) - set(INTEGERS)]
        if floating:
            names = ", ".join(sorted({op.name for op in floating}))
            problems.append(f"{len(floating)} of {len(facts.operators)} operators still compute in float: {names}")
    elif step.scheme == "dynamic-int8":
        left = [op for op in weighted if "int8" not in op.input_dtypes]
        if left:
            problems.append(f"{len(left)} of {len(weighted)} weighted operators have no int8 weights")
    elif not any(op.name == "DEQUANTIZE" and "int8" in op.input_dtypes for op in facts.operators):
        problems.append("no weight is stored as int8")
    before, after = source.stat().st_size, target.stat().st_size
    if after > step.max_ratio * before:
        problems.append(
            f"{after:,} bytes are {after / before:.3f} of the float file's {before:,}; "
            f"at most {step.max_ratio} was asked"
        )
    if problems:
        raise WorkFailed(
            f"the file was not quantized to {step.scheme} as asked",
            detail=tuple(problems),
            hint="choose another scheme with --set steps.N.scheme=..., or raise steps.N.max_ratio for a tiny network",
        )
