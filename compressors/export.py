"""From a torch network to a .tflite file, and the proof that both compute the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
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

    ``largest`` is the largest absolute difference of any output element, ``relative`` that divided by the range
    (maximum - minimum) of the network's outputs, ``same_top1`` the samples whose largest output is the same one.
    """

    samples: int
    largest: float
    relative: float
    same_top1: int


def export_tflite(model: torch.nn.Module, size: int, target: Path, channels: int = 3) -> None:
    """Convert to float32 .tflite with input (1, size, size, channels), channels last: the layout phones compute in.

    Args:
        model: takes (1, channels, size, size); in evaluation mode.
        size: height and width in pixels.
        target: where to write.
        channels: 3, or 1 for grey images.

    Raises:
        WorkFailed: the converter fails, or the result needs operators no standard runtime has.
    """
    import torch

    sample = (torch.zeros(1, size, size, channels),)
    with quiet() as noise:
        try:
            import litert_torch

            # Without this wrapper the file would start with a TRANSPOSE from NCHW on every inference.
            wrapped = litert_torch.to_channel_last_io(model, args=[0]).eval()
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


def compare(model: torch.nn.Module, file: Path, samples: Iterable[NDArray[np.float32]]) -> Difference:
    """Run a network and its exported file on the same inputs.

    Args:
        model: takes (1, C, H, W).
        file: its .tflite, which takes (1, H, W, C).
        samples: (1, H, W, C) float32 each.

    Raises:
        WorkFailed: they differ by more than :data:`LARGEST_DIFFERENCE` of the output's range, or give NaN.
    """
    import numpy as np
    import torch

    from compressors.evaluate import FileModel

    runs = FileModel(file)
    count, largest, same = 0, 0.0, 0
    low, high = np.inf, -np.inf
    for sample in samples:
        with torch.no_grad():
            expected = model(torch.from_numpy(sample).permute(0, 3, 1, 2)).numpy()
        got = runs(sample)
        if got.shape != expected.shape:
            raise WorkFailed(f"the file answers with shape {got.shape}, the network with {expected.shape}")
        if not (np.isfinite(expected).all() and np.isfinite(got).all()):
            raise WorkFailed(
                "the network gives NaN or infinite outputs on ordinary input",
                hint="check that the weights belong to this network and preprocessing",
            )
        count += 1
        largest = max(largest, float(np.abs(expected - got).max()))
        same += int(expected.argmax() == got.argmax())
        low, high = min(low, float(expected.min())), max(high, float(expected.max()))
    relative = largest / (high - low) if high > low else largest
    found = Difference(samples=count, largest=largest, relative=relative, same_top1=same)
    if relative > LARGEST_DIFFERENCE:
        raise WorkFailed(
            f"the exported file does not compute what the network does: {relative:.2%} of the output's range apart",
            detail=(f"{same} of {count} samples have the same top-1",),
            hint="run again with --debug and report the network's layers",
        )
    return found
