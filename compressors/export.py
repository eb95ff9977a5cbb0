"""From a torch network to a .tflite file, and the proof that both compute the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.culprit import culprit
from compressors.quiet import quiet
from pocketzoo.errors import PocketzooError, WorkFailed
from zoo import tflite

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

# Of the output's range. Reordered float32 sums differ by about 1e-6; a wrong layout or layer by far more than this.
LARGEST_DIFFERENCE = 1e-3
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Difference:
    """The network against its file, on ``samples`` inputs.

    ``largest`` is the largest absolute difference of any output element, ``relative`` the largest one divided by the
    range (maximum - minimum) of its output, ``same_top1`` the samples whose first output is largest in the same place.
    """

    samples: int
    largest: float
    relative: float
    same_top1: int


def export_tflite(
    model: torch.nn.Module, size: int, target: Path, channels: int = 3, image_outputs: Sequence[int] = ()
) -> None:
    """Convert to float32 .tflite with input (1, size, size, channels), channels last: the layout phones compute in.

    Args:
        model: takes (1, channels, size, size); in evaluation mode.
        size: height and width in pixels.
        target: where to write.
        channels: 3, or 1 for grey images.
        image_outputs: the outputs that are (1, C, H, W); in the file they are (1, H, W, C).

    Raises:
        WorkFailed: the converter fails, or the result needs operators no standard runtime has.
    """
    import torch

    sample = (torch.zeros(1, size, size, channels),)
    with quiet() as noise:
        try:
            import litert_torch

            # Without this wrapper the file would start with a TRANSPOSE from NCHW on every inference.
            wrapped = litert_torch.to_channel_last_io(model, args=[0], outputs=list(image_outputs)).eval()
            content = bytes(litert_torch.convert(wrapped, sample).model_content())
        except (KeyboardInterrupt, MemoryError, PocketzooError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            found = culprit(error, model, torch.zeros(1, channels, size, size))
            raise WorkFailed(
                "the network cannot be converted to .tflite",
                detail=(reason_of(error), *(found or noise.tail(2))),
                hint="replace the operation named above in the network, or run again with --debug",
            ) from error
    # Not the converter's own export(): on a full disk its C++ writer ends the whole process without a word.
    target.write_bytes(content)
    facts = tflite.inspect(target)
    if facts.custom_operators:
        raise WorkFailed(
            f"the converted file needs custom operators: {', '.join(facts.custom_operators)}",
            hint="replace these operations in the network; no standard runtime has them",
        )


def reason_of(error: BaseException) -> str:
    """The first line of an exporter's error that says something."""
    lines = (COLOUR.sub("", line).strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:300]


def compare(
    model: torch.nn.Module, file: Path, samples: Iterable[NDArray[np.float32]], image_outputs: Sequence[int] = ()
) -> Difference:
    """Run a network and its exported file on the same inputs.

    Args:
        model: takes (1, C, H, W).
        file: its .tflite, which takes (1, H, W, C).
        samples: (1, H, W, C) float32 each.
        image_outputs: see :func:`export_tflite`.

    Raises:
        WorkFailed: they differ by more than :data:`LARGEST_DIFFERENCE` of an output's range, or give NaN.
    """
    import numpy as np
    import torch

    from compressors.evaluate import FileModel

    runs = FileModel(file, many=True)
    count, same = 0, 0
    largest: list[float] = []
    low, high = [np.inf], [-np.inf]
    for sample in samples:
        with torch.no_grad():
            answer = model(torch.from_numpy(sample).permute(0, 3, 1, 2))
        each = [answer] if isinstance(answer, torch.Tensor) else list(answer)
        expected = [
            (one.permute(0, 2, 3, 1) if number in image_outputs else one).numpy() for number, one in enumerate(each)
        ]
        got = runs.outputs(sample)
        if [one.shape for one in got] != [one.shape for one in expected]:
            shapes = [", ".join(str(one.shape) for one in outputs) for outputs in (got, expected)]
            raise WorkFailed(f"the file answers with shape {shapes[0]}, the network with {shapes[1]}")
        if not all(np.isfinite(one).all() for one in (*expected, *got)):
            raise WorkFailed(
                "the network gives NaN or infinite outputs on ordinary input",
                hint="check that the weights belong to this network and preprocessing",
            )
        if not count:
            largest, low, high = [0.0] * len(got), [np.inf] * len(got), [-np.inf] * len(got)
        count += 1
        apart = [float(np.abs(one - other).max()) for one, other in zip(expected, got, strict=True)]
        largest = [max(pair) for pair in zip(largest, apart, strict=True)]
        same += int(expected[0].argmax() == got[0].argmax())
        low = [min(so_far, float(one.min())) for so_far, one in zip(low, expected, strict=True)]
        high = [max(so_far, float(one.max())) for so_far, one in zip(high, expected, strict=True)]
    relative = max(
        (d / (top - bottom) if top > bottom else d for d, bottom, top in zip(largest, low, high, strict=True)),
        default=0.0,
    )
    found = Difference(samples=count, largest=max(largest, default=0.0), relative=relative, same_top1=same)
    if relative > LARGEST_DIFFERENCE:
        raise WorkFailed(
            f"the exported file does not compute what the network does: {relative:.2%} of the output's range apart",
            detail=(f"{same} of {count} samples have the same top-1",),
            hint="run again with --debug and report the network's layers",
        )
    return found
