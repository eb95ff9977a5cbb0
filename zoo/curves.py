"""What a search measured while a model was made, kept beside its entry: ``curves/DIGEST/NAME.json`` in the store.

An entry holds what a model is; the curves that led to it are the business of reports. A file is JSON as
``compress run`` writes it (``sensitivity.json``); whoever reads it checks it, and nothing fails where there is none.
"""

from __future__ import annotations

import re
from pathlib import Path

from pocketzoo.files import write_atomically

MOST_BYTES = 8 << 20
MOST_FILES = 32  # of one model
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\.json")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def keep(root: Path, digest: str, files: list[Path]) -> None:
    """Copy the curves of a model into a store; what is larger than :data:`MOST_BYTES` is left out.

    Args:
        root: of the store.
        digest: of the model's artifact.
        files: each keeps its name.

    Raises:
        ValueError: not a digest, or not a name of such a file.
    """
    for file in files:
        if not _DIGEST.fullmatch(digest) or not _NAME.fullmatch(file.name):
            raise ValueError(f"not curves of an artifact: {digest!r}, {file.name!r}")
        if file.stat().st_size <= MOST_BYTES:
            write_atomically(root / "curves" / digest / file.name, file.read_bytes())


def kept(root: Path) -> dict[str, list[Path]]:
    """The files of each artifact, by its digest; links and what has another name are no such files."""
    folder = root / "curves"
    found: dict[str, list[Path]] = {}
    for own in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _DIGEST.fullmatch(own.name) and own.is_dir() and not own.is_symlink():
            files = [file for file in sorted(own.iterdir()) if _NAME.fullmatch(file.name) and not file.is_symlink()]
            found[own.name] = [file for file in files if file.is_file() and file.stat().st_size <= MOST_BYTES]
    return {digest: files[:MOST_FILES] for digest, files in found.items() if files}
