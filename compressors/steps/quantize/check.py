"""Was a file really quantized as asked? Looked up in the file itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from compressors.evaluate import FileModel
from compressors.sections import Quantize
from compressors.steps.quantize import graph
from pocketzoo.errors import WorkFailed
from zoo import tflite

# Operators that hold nearly all weights and work; one of them left in float is a failed quantization.
WEIGHTED = graph.WEIGHTED
INTEGERS = ("int8", "int4", "int16", "int32", "int64", "uint8", "bool")
ACTIVATION = {"static-int8": "int8", "static-int8x16": "int16"}
SCALE_TOLERANCE = 1e-5  # of float32 arithmetic on a scale


def check(source: Path, target: Path, step: Quantize, kept: int = 0) -> None:
    """Check a quantized file against what was asked for.

    Args:
        source: the float file it was made from.
        target: the quantized file.
        step: what was asked for.
        kept: weighted operators that were to stay in float; then float operators are allowed.

    Raises:
        WorkFailed: with every reason why not.
    """
    facts = tflite.inspect(target)
    weighted = [operator for operator in facts.operators if operator.name in WEIGHTED]
    problems = []
    if not weighted:
        problems.append(f"it has none of the operators that hold weights ({', '.join(WEIGHTED)})")
    wanted = ACTIVATION.get(step.scheme)
    if wanted is not None:
        if not kept:
            for what, tensors in (("input", facts.inputs), ("output", facts.outputs)):
                problems += [f"{what} {t.name} is {t.dtype}, not {wanted}" for t in tensors if t.dtype != wanted]
        floating = islands(facts)
        if floating and not kept:
            names = ", ".join(sorted(set(floating)))
            problems.append(f"{len(floating)} of {len(facts.operators)} operators still compute in float: {names}")
        left = sum(name in WEIGHTED for name in floating)
        if kept and left != kept:
            problems.append(f"{left} weighted operators compute in float, {kept} were to")
    elif step.scheme == "dynamic-int8":
        left = sum("int8" not in op.input_dtypes for op in weighted)
        if left > kept:
            problems.append(f"{left} of {len(weighted)} weighted operators have no int8 weights")
    elif not any(op.name == "DEQUANTIZE" and "int8" in op.input_dtypes for op in facts.operators):
        problems.append("no weight is stored as int8")
    problems += _granularity(target, step)
    before, after = source.stat().st_size, target.stat().st_size
    # What stays in float keeps its size; that the rest became smaller is still to be seen.
    allowed = step.max_ratio if not kept else 1.0
    if after > allowed * before or after == before:
        problems.append(
            f"{after:,} bytes are {after / before:.3f} of the float file's {before:,}; at most {allowed} was asked"
        )
    if problems:
        raise WorkFailed(
            f"the file was not quantized to {step.scheme} as asked",
            detail=tuple(problems),
            hint="choose another scheme with --set steps.N.scheme=..., or raise steps.N.max_ratio for a tiny network",
        )
    FileModel(target, many=True)  # scales can be written that no kernel takes


def islands(facts: tflite.TfliteFacts) -> list[str]:
    """The operators of a static file that compute in float; the conversions around them are not counted."""
    return [
        op.name
        for op in facts.operators
        if set(op.input_dtypes + op.output_dtypes) - set(INTEGERS) and op.name not in ("QUANTIZE", "DEQUANTIZE")
    ]


def _granularity(target: Path, step: Quantize) -> list[str]:
    """Weights whose scales are not one per tensor, or one per output channel, as asked."""
    made, problems = graph.read(target), []
    for node in made.weighted:
        weight = made.tensors[graph.parts(node)[1]]
        found = weight.quantization
        if found is None or weight.dtype != "int8":
            continue
        channels = weight.shape[3 if node.operator == "DEPTHWISE_CONV_2D" else 0]
        expected = channels if step.weights == "channel" else 1
        # One scale written for every channel is one scale (docs/decisions/0221).
        repeated = step.scheme == "dynamic-int8" and expected == 1 and len(set(found.scales)) == 1
        if len(found.scales) != expected and not repeated:
            problems.append(
                f"the weight of {node.outputs[0][:80]} has {len(found.scales)} scales, {expected} were asked"
            )
        if any(found.zero_points):
            problems.append(f"the weight of {node.outputs[0][:80]} has a zero point that is not 0")
    return problems


def check_learnt(
    target: Path,
    learnt: Mapping[str, tuple[float, float]],
    *,
    symmetric: bool,
    floating: Collection[str] = (),
) -> None:
    """Every learnt range is the file's, scale for scale.

    Args:
        target: a static int8 file.
        learnt: tensor name -> (low, high).
        symmetric: scale is high / 127 and the zero point 0; else the range has 255 steps.
        floating: tensors that may be float in the file, because layers that read them are.

    Raises:
        WorkFailed: with the tensors whose scale or zero point is another.
    """
    made, problems = graph.read(target), []
    for name, (low, high) in learnt.items():
        tensors = [made.tensors[known] for known in (name, f"{name}_quantized") if known in made.tensors]
        found = next((tensor.quantization for tensor in tensors if tensor.quantization is not None), None)
        scale = high / 127 if symmetric else (high - low) / 255
        if found is None and name in floating:
            continue
        if found is None or abs(found.scales[0] - scale) > SCALE_TOLERANCE * scale:
            problems.append(f"{name[:100]}: scale {found.scales[0] if found else 'none'}, learnt {scale:.8g}")
        elif symmetric and found.zero_points[0] != 0:
            problems.append(f"{name[:100]}: zero point {found.zero_points[0]}, not 0")
    if problems:
        raise WorkFailed(
            f"{len(problems)} of {len(learnt)} learnt ranges did not reach the file", detail=tuple(problems[:6])
        )
