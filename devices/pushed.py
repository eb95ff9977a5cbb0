"""What is pushed: local files by their hash, and what they are called on a device. No device is asked here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file

ARGUMENTS = 30_000  # characters of arguments in one command; old phones take no more than 32 KiB
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,12}")


def name_there(digest: str, path: Path) -> str:
    """The name on the device: the hash, and the suffix where it is plain (runtimes look at it)."""
    return f"{digest}{path.suffix if _SUFFIX.fullmatch(path.suffix) else ''}"


def size(path: Path) -> int:
    """Bytes of a local file; raises BadInput where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError as error:
        raise BadInput("no such file", where=str(path)) from error


def check_unchanged(path: Path, digest: str) -> None:
    """Raise BadInput where a local file no longer has the hash it is asked for by."""
    found = sha256_file(path)
    if found != digest:
        raise BadInput(
            f"the file has changed: its SHA-256 is {found[:12]}..., {digest[:12]}... was asked for", where=str(path)
        )


def batches(items: Sequence[str]) -> list[list[str]]:
    """Items in order, in as few groups as keep each under the length a command may have."""
    groups: list[list[str]] = []
    room = 0
    for item in items:
        if not groups or len(item) + 1 > room:
            groups.append([])
            room = ARGUMENTS
        groups[-1].append(item)
        room -= len(item) + 1
    return groups
