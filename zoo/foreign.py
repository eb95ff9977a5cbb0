"""A model made by others as an artifact: inspected, for .tflite loaded once in a process of its own, hashed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pocketzoo import __version__
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from zoo.artifact import FILE_NAME, Accuracy, Artifact, FileRecord, Format, Parent
from zoo.loadcheck import check_loads
from zoo.onnx_file import inspect_onnx
from zoo.programs import format_of, refuse_pickle
from zoo.quantization import quantization_text
from zoo.reference import check_name, matches
from zoo.safetensors_file import inspect_safetensors
from zoo.tflite import inspect


def describe(
    path: Path,
    name: str,
    *,
    beside: Sequence[Path] = (),
    parent: Parent | None = None,
    licence: str | None = None,
    source: str | None = None,
    task: str | None = None,
    dataset: str | None = None,
) -> Artifact:
    """An artifact for one model; what the file does not say (accuracy, MACs) stays unknown.

    A .tflite file is inspected and loaded once; an .onnx or .safetensors file is inspected. Programs of other runtimes
    are recognised and not loaded: that runs code of theirs, or needs a GPU.

    Args:
        path: the model; its bytes name the entry.
        name: the model's name.
        beside: further files of the entry, e.g. labels; they keep their names.

    Raises:
        BadInput: no such file, another format, damaged, a pickle, or the runtime refuses it (a custom operator is
            named); a file beside it whose name cannot be kept.
    """
    check_name(name)
    for each in (path, *beside):
        if not each.is_file():
            raise BadInput("no such file" if not each.exists() else "not a file", where=str(each))
        refuse_pickle(each)
    facts = _inspected(path)
    notes = facts.pop("notes", ())
    versions = {"pocketzoo": __version__, **facts.pop("versions", {})}
    return Artifact(
        name=name,
        files=(_record(path, f"{name}{path.suffix}"), *_beside(beside, f"{name}{path.suffix}")),
        parent=parent,
        licence=licence,
        source=source or f"added from {path.name}",
        task=task,
        dataset=dataset,
        versions=versions,
        notes=tuple(notes),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
    )


def check_readable(path: Path, form: Format) -> str | None:
    """Read a stored file again the way it was read when it was added; for ``zoo verify``.

    Returns:
        What was found; None for formats of which only the digest is known.

    Raises:
        BadInput: it cannot be read, or the runtime refuses it.
    """
    if form == "tflite":
        return check_loads(path)
    if form == "onnx":
        onnx = inspect_onnx(path)
        return f"{sum(onnx.operators.values()):,} operators, {onnx.parameters:,} weights; read, not run"
    if form == "safetensors":
        weights = inspect_safetensors(path)
        return f"{weights.tensors:,} tensors, {weights.parameters:,} weights"
    return None


def published_accuracy(text: str, dataset: str, split: str, samples: int, measured_on: str) -> Accuracy:
    """``top1=70.9``, as a publication gives it, in percent.

    Raises:
        BadInput: it is no metric and number, or the number is none a percentage can be.
    """
    metric, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not metric.strip() or not 0 <= value <= 100:
        raise BadInput(f"not a published accuracy: {text!r}", hint="--published top1=70.9, in percent")
    return Accuracy(
        metric=metric.strip(), value=value, dataset=dataset, split=split, samples=samples, measured_on=measured_on,
        provenance="published",
    )  # fmt: skip


def _record(path: Path, name: str) -> FileRecord:
    return FileRecord(name=name, sha256=sha256_file(path), size=path.stat().st_size)


def _beside(paths: Sequence[Path], first: str) -> list[FileRecord]:
    taken = {first.casefold()}
    records = []
    for path in paths:
        if not matches(FILE_NAME, path.name) or len(path.name) > 200:
            raise BadInput(
                f"a file of an entry cannot be called {path.name!r}",
                where=str(path),
                hint="rename it: letters, digits, '.', '_', '+' and '-', not beginning with a dot",
            )
        if path.name.casefold() in taken:
            raise BadInput(f"two files of the entry would be called {path.name}", where=str(path))
        taken.add(path.name.casefold())
        records.append(_record(path, path.name))
    return records


def _inspected(path: Path) -> dict[str, Any]:
    """The fields of an artifact that its file fills."""
    if path.suffix == ".tflite":
        return _tflite(path)
    if path.suffix == ".onnx":
        return _onnx(path)
    if path.suffix == ".safetensors":
        return _safetensors(path)
    notes = ("not loaded when it was added: inputs and outputs are unknown",)
    return {"format": format_of(path), "notes": notes}


def _tflite(path: Path) -> dict[str, Any]:
    facts = inspect(path)
    custom = facts.custom_operators
    try:
        runtime = check_loads(path)
    except BadInput as refusal:
        if custom:
            raise BadInput(
                f"the runtime refuses the model; it uses custom operators: {', '.join(custom)}",
                where=str(path),
                detail=refusal.detail,
                hint="export the model with standard operators only",
            ) from refusal
        raise
    scheme = quantization_text(facts.layers)
    notes = [
        f"quantization: {scheme}" if scheme else "",
        f"custom operators the runtime knows: {', '.join(custom)}" if custom else "",
        f"description: {facts.description}" if facts.description else "",
        f"needs TFLite runtime {facts.needs} or newer" if facts.needs else "",
        f"metadata: {', '.join(name for name, _ in facts.metadata)}" if facts.metadata else "",
    ]
    return {
        "format": "tflite",
        "inputs": facts.inputs,
        "outputs": facts.outputs,
        "operators": facts.operator_counts,
        "versions": {"loaded by": runtime},
        "notes": [note for note in notes if note],
    }


def _onnx(path: Path) -> dict[str, Any]:
    facts = inspect_onnx(path)
    custom = facts.custom_operators
    notes = [
        "not loaded when it was added: it was read, not run",
        f"weights: {_elements(facts.weights)}" if facts.weights else "",
        f"operators outside the ONNX standard: {', '.join(custom)}" if custom else "",
    ]
    opsets = {f"opset {domain}": str(version) for domain, version in facts.opsets.items()}
    return {
        "format": "onnx",
        "inputs": facts.inputs,
        "outputs": facts.outputs,
        "operators": facts.operators,
        "parameters": facts.parameters,
        "versions": {**opsets, **({"exported by": facts.producer} if facts.producer else {})},
        "notes": [note for note in notes if note],
    }


def _safetensors(path: Path) -> dict[str, Any]:
    facts = inspect_safetensors(path)
    metadata = ", ".join(f"{key}={value[:100]}" for key, value in list(facts.metadata.items())[:10])
    notes = [
        "weights alone, without a program: nothing can run or measure them",
        f"weights: {_elements(facts.elements)} in {facts.tensors:,} tensors",
        f"metadata: {metadata}" if metadata else "",
    ]
    return {"format": "safetensors", "parameters": facts.parameters, "notes": [note for note in notes if note]}


def _elements(by_dtype: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {dtype}" for dtype, count in sorted(by_dtype.items(), key=lambda item: -item[1]))
