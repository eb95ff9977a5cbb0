"""Models of other formats than .tflite, recognised by what is in the file. Nothing is loaded, nothing unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path

from pocketzoo.errors import BadInput
from zoo.artifact import Format
from zoo.onnx_file import inspect_onnx
from zoo.safetensors_file import inspect_safetensors

ENDINGS: dict[str, Format] = {
    ".onnx": "onnx",
    ".pt": "torchscript",
    ".torchscript": "torchscript",
    ".pt2": "pt2",
    ".engine": "tensorrt",
    ".plan": "tensorrt",
    ".safetensors": "safetensors",
}
# What people call files that hold pickles; loading one runs whatever code it brings.
PICKLES = (".pkl", ".pickle", ".pth", ".ckpt", ".bin", ".joblib", ".npy")
LARGEST_DIRECTORY = 16 << 20  # bytes of an archive's list of files; a network's program has kilobytes


def format_of(path: Path) -> Format:
    """The format of a model file, its ending held against its content.

    Raises:
        BadInput: an ending the zoo does not know, or a file that is not what its ending says.
    """
    refuse_pickle(path)
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
        inspect_onnx(path)
    elif expected == "safetensors":
        inspect_safetensors(path)
    elif path.stat().st_size == 0:
        raise BadInput("an empty file", where=str(path))
    return expected


def refuse_pickle(path: Path) -> None:
    """Refuse what is a pickle by its ending or its first bytes.

    Raises:
        BadInput: it is one.
    """
    with path.open("rb") as file:
        start = file.read(2)
    pickled = len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5  # PROTO, versions 2 to 5
    if pickled or path.suffix.lower() in PICKLES:
        raise BadInput(
            "a pickle, or a file of a kind that holds one: loading it would run code, so the zoo takes none",
            where=str(path),
            hint="save weights as .safetensors, or the network as .tflite, .onnx, .pt (torch.jit.save) or .pt2",
        )


def _directory_size(path: Path) -> int:
    """Bytes of a zip archive's central directory as its end record claims; 0 where there is no such record."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 65_557))  # the end record and the longest comment behind it
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < 22:
            return 0
        claimed = int.from_bytes(tail[at + 12 : at + 16], "little")
        locator = tail[at - 20 : at] if at >= 20 else b""
        if locator[:4] == b"PK\6\7":
            file.seek(min(int.from_bytes(locator[8:16], "little"), size))
            record = file.read(56)
            if record[:4] == b"PK\6\6" and len(record) == 56:
                claimed = max(claimed if claimed != 0xFFFFFFFF else 0, int.from_bytes(record[40:48], "little"))
    return claimed


def _check_archive(path: Path, expected: Format) -> None:
    if (claimed := _directory_size(path)) > LARGEST_DIRECTORY:
        raise BadInput(f"its list of files has {claimed:,} bytes; at most {LARGEST_DIRECTORY:,}", where=str(path))
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
