"""A report's folder on disk: a file is made again only when what it shows has changed, and none is left over.

Each file has a *content key*, a digest of everything it is made from. ``report.json`` in the folder holds the keys of
the last build. A file whose key is the same, that is there and was not touched since, is kept without being made. The
list holds neither times nor sizes, so the same input gives the same bytes here, too.

Files are entered first, which is cheap; what has to be made is made at the end, in *units*. The number of a unit
depends on what is entered alone, not on what is on disk, so that two processes that enter the same can share the units
(:mod:`reports.helper`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import msgspec

import harness.published
import reports
import zoo
from pocketzoo import __version__
from pocketzoo.errors import BadInput
from pocketzoo.files import write_atomically
from reports.rows import Rows

LIST = "report.json"
_PART = r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,199}"
_OURS = re.compile(rf"(?:{_PART}/){{0,4}}{_PART}\.(?:md|json|svg|png|html|js|css|txt|woff2)")
_SOURCES = frozenset({".py", ".yaml", ".html", ".j2", ".css", ".js", ".json"})


def key_of(*parts: object) -> str:
    """A digest of whatever a file is made from: records, dataclasses, texts, numbers, rows, and mappings of them."""
    return hashlib.sha256(msgspec.json.encode(parts, enc_hook=_hook, order="deterministic")).hexdigest()


def _hook(part: object) -> object:
    if isinstance(part, Rows):
        return part.key()
    raise TypeError(f"no key of {type(part).__name__}")


@cache
def code_key() -> str:
    """A digest of the code and templates that draw: another version of them may draw the same records otherwise."""
    digest = hashlib.sha256(__version__.encode())
    for package in (reports, harness.published):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*")):
            if path.suffix in _SOURCES and path.is_file():
                digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    for name in ("markdown.py", "stats.py", "timings.py"):
        digest.update((Path(zoo.__path__[0]) / name).read_bytes())
    return digest.hexdigest()


@cache
def _code_digest() -> hashlib._Hash:
    return hashlib.sha256(f"{code_key()} ".encode())


class Folder:
    """The files of one build.

    Args:
        out: the folder; made where it is missing.

    Raises:
        BadInput: ``out`` is a file.
    """

    def __init__(self, out: Path) -> None:
        if out.exists() and not out.is_dir():
            raise BadInput("a file, where the report's folder should be", where=str(out), hint="choose another --out")
        self.out = out
        self._top = str(out)
        self.keys: dict[str, str] = {}
        self.made = 0
        self.lacking = 0
        # What a unit makes; None where all of it is there. It returns how often it made something.
        self.units: list[Callable[[], int] | None] = []
        self._before, self._built_ns = _last_build(out / LIST)

    def add(self, name: str, key: str, make: Callable[[], bytes]) -> None:
        """One file.

        Args:
            name: its path inside the folder, with ``/``.
            key: :func:`key_of` what it is made from.
            make: its bytes; called only where the key is another or the file is not as it was left.
        """
        self.add_group([name], key, lambda: {name: make()})

    def add_group(self, names: Iterable[str], key: str, make: Callable[[], Mapping[str, bytes]]) -> None:
        """Files that are made together, such as a plot as SVG and PNG.

        Raises:
            ValueError: a name that is not a plain relative path, or is there already.
        """
        wanted = sorted(names)

        def unit() -> int:
            found = make()
            if sorted(found) != wanted:
                raise ValueError(f"made {sorted(found)} where {wanted} was promised")
            for name in wanted:
                self._put(name, found[name])
            return 1

        # Every name is asked for, so that each has its key.
        self.units.append(unit if any([self._lacks(name, key) for name in wanted]) else None)

    def add_series(
        self, files: Iterable[tuple[str, str]], make: Callable[[Sequence[int]], Iterable[bytes]], together: int
    ) -> None:
        """Many files that are made some at a time, such as pages whose samples are read together.

        Args:
            files: name and key of each.
            make: from the numbers of those that are wanted to their bytes, in that order.
            together: so many make a unit.
        """
        left = enumerate(files)
        while batch := list(islice(left, together)):
            # Keys are long and many; names alone are kept until the files are made.
            wanted = {number: name for number, (name, key) in batch if self._lacks(name, key)}

            def unit(wanted: dict[int, str] = wanted) -> int:
                for name, data in zip(wanted.values(), make(list(wanted)), strict=True):
                    self._put(name, data)
                return len(wanted)

            self.units.append(unit if wanted else None)

    def _lacks(self, name: str, key: str) -> bool:
        """Enter a file into the list; whether it has to be written."""
        # What the last build made has such a name.
        known = self._before.get(name)
        if (known is None and not _OURS.fullmatch(name)) or name in self.keys or name == LIST:
            raise ValueError(f"not a name of a new file of a report: {name!r}")
        # Half a digest is enough to tell keys apart, and a list of a hundred thousand files is read each time.
        digest = _code_digest().copy()
        digest.update(key.encode())
        key = digest.hexdigest()[:32]
        self.keys[name] = key
        lacks = known != key or not self._untouched(name)
        self.lacking += lacks
        return lacks

    @property
    def is_first(self) -> bool:
        """Whether no build into this folder has ended."""
        return not self._before

    def plan(self) -> str:
        """A digest of every file that was entered and what it is made from."""
        told = "\n".join(f"{name} {key}" for name, key in self.keys.items())
        return hashlib.sha256(f"{len(self.units)}\n{told}".encode()).hexdigest()

    def _put(self, name: str, data: bytes) -> None:
        path = self.out / name
        # An unchanged file keeps its time, so that what watches the folder sees only what changed.
        if not path.is_file() or path.read_bytes() != data:
            _replace(f"{self._top}/{name}", data)

    def finish(self) -> tuple[str, ...]:
        """Make what is lacking, remove what an earlier build made and this one did not, and write the list.

        Returns:
            All names, sorted.
        """
        self.made += sum(unit() for unit in self.units if unit is not None)
        return self.close()

    def close(self) -> tuple[str, ...]:
        """The end of :meth:`finish`, where somebody else has run the units and counted them in ``made``."""
        for name in self._before:
            if name not in self.keys:
                path = self.out / name
                # A folder in between may have become a link since; nothing outside is ours to remove.
                if path.resolve().is_relative_to(self.out.resolve()):
                    path.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):
                        path.parent.rmdir() if path.parent != self.out else None
        # Names and keys are plain: nothing in them is to be escaped.
        lines = ",\n".join(f'"{name}": "{key}"' for name, key in sorted(self.keys.items()))
        listed = f'{{\n"schema": 1,\n"files": {{\n{lines}\n}}\n}}\n'.encode()
        path = self.out / LIST
        # Written last: what is younger than this list was touched by somebody else.
        if self.made or not path.is_file() or path.read_bytes() != listed:
            write_atomically(path, listed, durable=False)
        return tuple(sorted({*self.keys, LIST}))

    def _untouched(self, name: str) -> bool:
        try:
            found = os.stat(f"{self._top}/{name}")  # noqa: PTH116  a hundred thousand of them: a Path each takes a second
        except OSError:
            return False
        return found.st_mtime_ns <= self._built_ns


def _replace(path: str, data: bytes) -> None:
    """Write a file as a whole. One build at a time writes into a folder, so the temporary name needs no chance."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        try:
            file = open(temporary, "wb")  # noqa: PTH123, SIM115  a hundred thousand of them, see `_untouched`
        except FileNotFoundError:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            file = open(temporary, "wb")  # noqa: PTH123, SIM115
        with file:
            file.write(data)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _last_build(path: Path) -> tuple[dict[str, str], int]:
    """The keys of the last build by name, only names that a build can have made; and when it ended."""
    try:
        listed = json.loads(path.read_bytes())["files"]
        ended = path.stat().st_mtime_ns
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}, 0
    if not isinstance(listed, dict):
        return {}, 0
    return {name: key for name, key in listed.items() if _OURS.fullmatch(name) and isinstance(key, str)}, ended
