"""What a recipe takes out of the zoo: ``weights: zoo:REF`` and ``start.checkpoint: zoo:REF`` a checkpoint,
``parent: zoo:REF`` a float .tflite, which is quantized as it is.

REF is the zoo's own grammar, ``[remote/]name[:tag|@sha256:...]``; what is not in the local zoo is pulled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from compressors.sections import TaskName
from pocketzoo.errors import BadInput
from zoo.artifact import Artifact

PREFIX = "zoo:"
CHECKPOINTS = ("safetensors",)
TASKS = get_args(TaskName)


@dataclass(frozen=True)
class Given:
    """An entry of the zoo a recipe begins with: its record, and its file in the store (named by its digest alone)."""

    artifact: Artifact
    file: Path

    @property
    def reference(self) -> str:
        """What it is, for good: ``zoo:NAME@sha256:DIGEST``."""
        return f"{PREFIX}{self.artifact.name}@sha256:{self.artifact.digest}"


def is_reference(text: str) -> bool:
    """Whether a value of a recipe means an entry of the zoo and not a file."""
    return text.startswith(PREFIX)


def checkpoint(text: str, key: str) -> Given:
    """The checkpoint a recipe's value names.

    Args:
        text: ``zoo:REF``.
        key: the recipe's key, for errors.

    Raises:
        BadInput: no such entry, or one that is no checkpoint.
        PocketzooError: it could not be pulled.
    """
    found = _pulled(text)
    if found.artifact.format not in CHECKPOINTS:
        raise BadInput(
            f"{text} is a .{found.artifact.format} file, and {key} takes a checkpoint (.safetensors)",
            hint=f"to quantize that file as it is, write parent: {text}"
            if found.artifact.format == "tflite"
            else "zoo add FILE.safetensors --name NAME puts a checkpoint into the zoo",
        )
    return found


def model_file(text: str, where: str) -> Given:
    """The float .tflite that ``parent: zoo:REF`` names.

    Args:
        text: ``zoo:REF``.
        where: the recipe's file and line, for errors.

    Raises:
        BadInput: no such entry, another format, a file that is quantized already, or none with one image input and
            one output.
        PocketzooError: it could not be pulled.
    """
    from zoo import tflite
    from zoo.loadcheck import check_loads

    found = _pulled(text)
    kind = found.artifact.format
    if kind in CHECKPOINTS:
        raise BadInput(
            f"{text} is a checkpoint, which has no graph",
            where=where,
            hint=f"name its network with model.architecture and write weights: {text}",
        )
    if kind != "tflite":
        raise BadInput(f"{text} is a .{kind} file; steps work on a float .tflite", where=where, hint="zoo list")
    facts = tflite.inspect(found.file)
    if any("int8" in operator.input_dtypes for operator in facts.operators):
        raise BadInput(
            f"{text} has int8 weights already",
            where=where,
            detail=("quantizing again would round twice",),
            hint="name the float entry it was made from: zoo show tells which",
        )
    inputs = [(tensor.dtype, len(tensor.shape)) for tensor in facts.inputs]
    if inputs != [("float32", 4)] or len(facts.outputs) != 1:
        told = ", ".join(f"{t.dtype} {'x'.join(map(str, t.shape))}" for t in facts.inputs)
        raise BadInput(
            f"{text} has the inputs {told or 'none'} and {len(facts.outputs)} outputs; "
            "a float image classifier has one float32 input of four axes and one output",
            where=where,
            hint=f"zoo show {text.removeprefix(PREFIX)}",
        )
    check_loads(found.file)  # whoever made it: not in this process first
    return found


def inherited(given: Given) -> dict[str, Any]:
    """The values a recipe takes over from the entry it names as its parent; its own go before them."""
    artifact = given.artifact
    values: dict[str, Any] = {"model": {"architecture": given.reference}}
    if artifact.task in TASKS:
        values["task"] = artifact.task
    for key in ("dataset", "licence", "source"):
        if getattr(artifact, key) is not None:
            values[key] = getattr(artifact, key)
    if artifact.preprocessing is not None:
        how = artifact.preprocessing
        values["preprocessing"] = {
            "resize": how.resize,
            "crop": how.crop,
            "mean": list(how.mean),
            "std": list(how.std),
            "interpolation": how.interpolation,
            "fit": "stretch" if how.fit == "stretch" else "crop",
        }
    return values


def check_input(given: Given, crop: int, channels: int, where: str) -> None:
    """A given file against the recipe's preprocessing.

    Raises:
        BadInput: it takes another size or number of channels, or has its channels first.
    """
    shape = given.artifact.inputs[0].shape if given.artifact.inputs else ()
    if shape and tuple(shape) != (1, crop, crop, channels):
        raise BadInput(
            f"the file takes {' x '.join(map(str, shape))}, the recipe's preprocessing makes "
            f"1 x {crop} x {crop} x {channels}",
            where=where,
            hint="check preprocessing.crop and the number of values of preprocessing.mean",
        )


def _pulled(text: str) -> Given:
    from zoo.pull import pull
    from zoo.store import Store

    store = Store()
    entry = pull(text.removeprefix(PREFIX), store=store).entry
    return Given(entry.artifact, store.file(entry.artifact.files[0]))
