"""A model file made by others as an artifact: inspected, loaded once in a process of its own, hashed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pocketzoo import __version__
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from zoo.artifact import Artifact, FileRecord, Parent
from zoo.loadcheck import check_loads
from zoo.programs import format_of
from zoo.reference import check_name
from zoo.tflite import inspect


def describe(
    path: Path,
    name: str,
    *,
    parent: Parent | None = None,
    licence: str | None = None,
    source: str | None = None,
    task: str | None = None,
) -> Artifact:
    """An artifact for one model file; what the file does not say (accuracy, MACs) stays unknown.

    A .tflite file is inspected and loaded once. Programs of other runtimes are recognised and not loaded: that runs
    code of theirs, or needs a GPU.

    Raises:
        BadInput: no such file, another format, damaged, or the runtime refuses it (a custom operator is named).
    """
    check_name(name)
    if not path.is_file():
        raise BadInput("no such file" if not path.exists() else "not a file", where=str(path))
    if path.suffix != ".tflite":
        return Artifact(
            name=name,
            format=format_of(path),
            files=(FileRecord(name=f"{name}{path.suffix}", sha256=sha256_file(path), size=path.stat().st_size),),
            parent=parent,
            licence=licence,
            source=source or f"added from {path.name}",
            task=task,
            versions={"pocketzoo": __version__},
            notes=("not loaded when it was added: inputs and outputs are unknown",),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
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
    notes = (f"custom operators the runtime knows: {', '.join(custom)}",) if custom else ()
    return Artifact(
        name=name,
        format="tflite",
        files=(FileRecord(name=f"{name}.tflite", sha256=sha256_file(path), size=path.stat().st_size),),
        inputs=facts.inputs,
        outputs=facts.outputs,
        operators=facts.operator_counts,
        parent=parent,
        licence=licence,
        source=source or f"added from {path.name}",
        task=task,
        versions={"pocketzoo": __version__, "loaded by": runtime},
        notes=notes,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
