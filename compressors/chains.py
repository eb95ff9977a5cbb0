"""Which steps can follow which: what cannot work is said before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compressors.sections import Step


def check(steps: Sequence[Step]) -> None:
    """Prune, sparsify and distil in any order, then quantize.

    Raises:
        ValueError: a chain that cannot work, with the reason.
    """
    sparsity: float | None = None
    for number, step in enumerate(steps):
        before = steps[number - 1].kind if number else None
        if step.kind == "quantize":
            if any(other.kind == "sparsify" and other.storage == "sparse" for other in steps):
                raise ValueError(
                    f"steps.{number}: storage: sparse is for float files; the quantizer reads weights that are stored "
                    "dense, and the int8 file has its exact zeros all the same"
                )
            if step.qat is not None and step.qat.weights == "min_max" and sparsity is not None:
                raise ValueError(
                    f"steps.{number}: min_max weights have an offset, so their grid need not hold 0 and the zeros of "
                    "sparsify would be lost; use qat.weights abs_max or channel_wise_abs_max"
                )
            continue
        if before == "quantize":
            raise ValueError(
                f"steps.{number}: {step.kind} trains a float network, and after quantize there is only an int8 file: "
                "write it before the quantize step"
            )
        if step.kind == "distil" and step.scratch and number:
            raise ValueError(
                f"steps.{number}: scratch would throw away what {before} made; write this distil first, or without "
                "scratch"
            )
        if step.kind == "sparsify":
            if sparsity is not None and step.sparsity <= sparsity:
                raise ValueError(
                    f"steps.{number}: {step.sparsity:g} % after {sparsity:g} % would make no weight zero; a further "
                    "sparsify needs a higher sparsity"
                )
            sparsity = step.sparsity
        if step.kind == "prune" and sparsity is not None and step.rebuilds:
            raise ValueError(
                f"steps.{number}: {step.protocol} with its least squares computes the weights anew, so the zeros of "
                "sparsify would be lost; prune first, or choose another protocol or criterion"
            )
