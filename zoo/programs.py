"""Models of other formats than .tflite, recognised by what is in the file. Nothing is loaded, nothing unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path

from pocketzoo.errors import BadInput
from zoo.artifact import Format

ENDINGS: dict[str, Format] = {
    ".onnx": "onnx",
    ".pt": "torchscript",
    ".torchscript": "torchscript",
    ".pt2": "pt2",
    ".engine": "tensorrt",
    ".plan": "tensorrt",
}


def format_of(path: Path) -> Format:
    """The format of a model file, its ending held against its content.

    Raises:
        BadInput: an ending the zoo does not know, or a file that is not what its ending says.
    """
    try:
        expected = ENDINGS[path.suffix]
    except KeyError:
        raise BadInput(
            f"the zoo holds .tflite models and {', '.join(ENDINGS)} programs; "
            f"{path.suffix or 'a file without an ending'} is neither",
            where=str(path),
            hint="convert it first, or give the file its proper ending",
        ) from None
    if expected in ("torchscript", "pt2"):
        _check_archive(path, expected)
    elif expected == "onnx":
        with path.open("rb") as file:
            if file.read(1) != b"\x08":  # every exporter writes the IR version, field 1, first
                raise BadInput("this is no ONNX model", where=str(path))
    elif path.stat().st_size == 0:
        raise BadInput("an empty file", where=str(path))
    return expected


def _check_archive(path: Path, expected: Format) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise BadInput(f"this is no {expected} program: not an archive", where=str(path), hint=_HINT) from error
    exported = any(name.startswith("models/") for name in names) or "serialized_exported_program.json" in names
    scripted = any(name.startswith("code/") for name in names)
    found: Format | None = "pt2" if exported else "torchscript" if scripted else None
    if found is None:
        raise BadInput(
            "this file holds weights and no program; weights alone cannot be run", where=str(path), hint=_HINT
        )
    if found != expected:
        ending = ".pt2" if found == "pt2" else ".pt"
        raise BadInput(f"this is a {found} program", where=str(path), hint=f"give the file the ending {ending}")


_HINT = "save the network with torch.jit.save (.pt) or torch.export.save (.pt2)"
