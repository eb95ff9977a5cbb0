"""What the file of a stored entry says of itself, for comparing two."""

from __future__ import annotations

from pocketzoo.errors import PocketzooError
from zoo.diff import Inside
from zoo.onnx_file import inspect_onnx
from zoo.quantization import quantization_text
from zoo.store import Entry, Store
from zoo.tflite import inspect


def inside(store: Store, entry: Entry) -> Inside | None:
    """Quantization and operators out of the file, where it is here and can be read.

    A damaged file is None too: ``zoo verify`` reports it.
    """
    try:
        path = store.file(entry.artifact.files[0])
        if entry.artifact.format == "tflite":
            facts = inspect(path)
            return Inside(quantization_text(facts.layers), tuple(facts.operator_counts.items()))
        if entry.artifact.format == "onnx":
            return Inside(None, tuple(inspect_onnx(path).operators.items()))
    except PocketzooError:
        return None
    return None
