"""Does the device compute what the host computes? Pure: two descriptions of outputs in, an OutputCheck out.

The agent feeds a seeded input and prints what came out (``harness/agents/tflite_agent.py``). The same file and input
run on the host; here the two are held against each other. Tolerances and the evidence for them: docs/method.md.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from devices.transport import Completed
from pocketzoo.decodable import decodable
from zoo.artifact import Sha256
from zoo.measurement import OutputCheck

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARK = b'{"pocketzoo_agent"'

INT8_STEPS = 2
"""Steps of an integer output that always count as rounding."""

INT8_NOISE = 0.25
"""Beyond that, the differences' root mean square may be this share of the output's standard deviation: kernels of
another version or processor round every requantized sum the other way, and a deep network carries that on. It holds for
float outputs too where the network rounds inside."""

FLOAT_RELATIVE = 1e-3
FLOAT_ABSOLUTE = 1e-3
"""A float output may differ by 1e-3 of the value plus 1e-3 of the output's largest magnitude: sums in another order,
fused multiply-add on ARM. A wrong kernel is off by more than its answer."""


class Output(Struct, frozen=True, kw_only=True):
    """One output tensor as the agent prints it; ``values`` is base64 of little-endian rows of ``width`` elements."""

    name: str
    dtype: Annotated[str, Meta(max_length=16)]
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    sha256: Sha256
    width: Annotated[int, Meta(ge=1)] = 1
    sampled: bool = False
    values: str | None = None


class Outputs(Struct, frozen=True, kw_only=True):
    """What came out of a model for a seeded input. ``output_sha256`` covers every output whole.

    ``rounds`` is set by the host, which knows the file: values are rounded to integers inside the network.
    """

    input_sha256: Sha256
    output_sha256: Sha256
    outputs: tuple[Output, ...]
    rounds: bool = False


decodable(Output, Outputs)


def reported(done: Completed) -> Outputs | None:
    """The outputs in what a tool printed; None where it prints none (only the agent does), or something else."""
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(MARK):
            try:
                return msgspec.json.decode(line, type=Outputs)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
    return None


def not_checked(why: str) -> OutputCheck:
    """The check that could not be made."""
    return OutputCheck(outcome="not checked", says=why)


def compare(device: Outputs, host: Outputs) -> OutputCheck:
    """Hold a device's outputs against the host's.

    Args:
        device: what the device computed.
        host: what the host computed from the same file and seed.

    Returns:
        ``worst_difference`` and ``tolerance`` are in steps (root mean square) for integer outputs, in the output's
        unit (root mean square) for float ones of a network that rounds inside, and in parts of its largest magnitude
        for other float ones; both of the output that is furthest from agreeing.
    """
    if device.input_sha256 != host.input_sha256:
        return not_checked("the seeded input came out differently on the device, so outputs cannot be compared")
    if device.output_sha256 == host.output_sha256:
        return OutputCheck(
            outcome="agrees",
            says="bit for bit what the host computes",
            worst_difference=0.0,
            top1_agrees=True if _single_row(host.outputs) else None,
        )
    if len(device.outputs) != len(host.outputs):
        return _differs(f"{len(device.outputs)} outputs, the host has {len(host.outputs)}")
    found = []
    for mine, theirs in zip(device.outputs, host.outputs, strict=True):
        if (mine.shape, mine.dtype) != (theirs.shape, theirs.dtype):
            return _differs(
                f"output {theirs.name}: {mine.dtype} {_shape(mine)}, on the host {theirs.dtype} {_shape(theirs)}"
            )
        one = _one(mine, theirs, rounds=host.rounds)
        if one is not None:
            found.append(one)
    if not found:
        return not_checked("the outputs are of a type that cannot be compared")
    return max(found, key=lambda check: (check.outcome == "differs", _excess(check)))


def _one(mine: Output, theirs: Output, *, rounds: bool) -> OutputCheck | None:
    import numpy as np

    a, b = _values(mine), _values(theirs)
    if a is None or b is None:
        return None
    if a.shape != b.shape:
        return _differs(f"output {theirs.name}: {a.size} elements came back, {b.size} on the host")
    top1, top1_says = _top1(a, b, theirs)
    part = f"{a.size} of {int(np.prod(theirs.shape))} elements of " if theirs.sampled else ""
    if a.dtype.kind in "iub":
        steps = np.abs(a.astype(np.int64) - b.astype(np.int64))
        noise = float(np.sqrt((steps.astype(np.float64) ** 2).mean()))
        worst, limit = noise, max(1.0, INT8_NOISE * float(b.std())) if a.dtype.itemsize == 1 else 0.0
        outcome = noise <= limit or (a.dtype.itemsize == 1 and int(steps.max()) <= INT8_STEPS)
        says = (
            f"{part}{theirs.name}: {noise:.1f} steps from the host's (root mean square, at most {steps.max()}), "
            f"{limit:.1f} allowed"
        )
    elif rounds and np.isfinite(a).all() and np.isfinite(b).all():
        deviation = float(b.std())
        worst = float(np.sqrt(((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean()))
        limit = max(INT8_NOISE * deviation, FLOAT_ABSOLUTE * float(np.abs(b).max()))
        outcome = worst <= limit
        says = (
            f"{part}{theirs.name}: {worst:.2g} from the host's (root mean square), {limit:.2g} allowed: "
            "the network rounds to integers inside"
        )
    else:
        largest = float(np.abs(b[np.isfinite(b)]).max()) if np.isfinite(b).any() else 0.0
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return _differs(f"output {theirs.name}: infinite or undefined numbers where the host has others")
        finite = np.isfinite(b)
        distance = np.abs(a[finite].astype(np.float64) - b[finite].astype(np.float64))
        allowed = FLOAT_RELATIVE * np.abs(b[finite].astype(np.float64)) + FLOAT_ABSOLUTE * largest
        worst = float(distance.max()) / largest if largest and distance.size else float(distance.max(initial=0.0))
        limit = FLOAT_ABSOLUTE
        outcome = bool((distance <= allowed).all())
        says = (
            f"{part}{theirs.name}: at most {worst:.2g} of the largest value from the host's, "
            f"{FLOAT_ABSOLUTE:g} and {FLOAT_RELATIVE:g} of each value allowed"
        )
    return OutputCheck(
        outcome="agrees" if outcome else "differs",
        says=f"{says}{top1_says}",
        worst_difference=worst,
        tolerance=limit,
        top1_agrees=top1,
    )


def _top1(a: NDArray[Any], b: NDArray[Any], spec: Output) -> tuple[bool | None, str]:
    """Whether the largest of one row is at the same place; of many rows only the share is told."""
    if spec.width < 2:
        return None, ""
    mine, theirs = a.reshape(-1, spec.width).argmax(axis=1), b.reshape(-1, spec.width).argmax(axis=1)
    same = int((mine == theirs).sum())
    if len(mine) == 1:
        return bool(same), f"; top-1 {'agrees' if same else 'differs'}"
    return None, f"; top-1 agrees in {same} of {len(mine)} rows"


def _values(output: Output) -> NDArray[Any] | None:
    import numpy as np

    if output.values is None:
        return None
    try:
        dtype = np.dtype(output.dtype)
        raw = base64.b64decode(output.values, validate=True)
        return np.frombuffer(raw, dtype=dtype.newbyteorder("<")) if dtype.kind in "fiub" else None
    except (TypeError, ValueError, binascii.Error):
        return None


def _single_row(outputs: Sequence[Output]) -> bool:
    return bool(outputs) and outputs[0].width > 1 and _elements(outputs[0]) == outputs[0].width


def _elements(output: Output) -> int:
    count = 1
    for size in output.shape:
        count *= size
    return count


def _excess(check: OutputCheck) -> float:
    return (check.worst_difference or 0.0) / (check.tolerance or 1.0)


def _shape(output: Output) -> str:
    return "x".join(str(size) for size in output.shape)


def _differs(says: str) -> OutputCheck:
    return OutputCheck(outcome="differs", says=says)
