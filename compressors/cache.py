"""Finished stages, kept by the content of everything they depend on.

    root/KEY/record.json     what was made: stage, files with SHA-256, result, time; its last line is its own SHA-256
    root/KEY/...             the files

A stage is made in a hidden folder and appears by rename, so Ctrl-C or a full disk leaves either a finished stage or
none. Every reuse hashes the files again; what does not match is made anew. Of two processes that need one stage the
second waits for the first: a training may take hours, and its checkpoints are those of the stage.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pocketzoo.files import locked_file, sha256_bytes, sha256_file, sha256_json

Result = dict[str, Any]  # JSON values


@dataclass(frozen=True)
class Finished:
    """A stage that is done: its key, folder, result, when it was made (UTC), and whether it was found or made now."""

    key: str
    folder: Path
    files: Mapping[str, str]
    result: Result
    made: str
    reused: bool
    damaged: bool = False

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name


class StageCache:
    """Stages under one folder, which is made when something is first kept."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self,
        stage: str,
        depends: Mapping[str, Any],
        work: Callable[[Path], Result],
        waiting: Callable[[], None] = lambda: None,
    ) -> Finished:
        """The finished stage with this key, made by ``work`` if it is not there or is damaged.

        Args:
            stage: its name, part of the key.
            depends: JSON values that say all the result depends on: settings, input digests, versions, code.
            work: writes the stage's files into the folder it is given and returns its result, JSON values.
            waiting: called where another process makes it and is waited for.
        """
        found = self.find(stage, depends)
        if found is not None:
            return found
        with self.alone(stage, depends, waiting):
            return self.find(stage, depends) or self.make(stage, depends, work)

    def make(self, stage: str, depends: Mapping[str, Any], work: Callable[[Path], Result]) -> Finished:
        """Make a stage, in the place of what is there; for whoever is :meth:`alone` with it."""
        key = self._key(stage, depends)
        folder = self.root / key
        damaged = folder.exists()
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".making-", ignore_cleanup_errors=True) as temporary:
            making = Path(temporary) / "stage"
            making.mkdir()
            result = json.loads(json.dumps(work(making)))
            files = {path.name: sha256_file(path) for path in sorted(making.iterdir())}
            made = datetime.now(UTC).isoformat(timespec="seconds")
            record = json.dumps({"stage": stage, "key": key, "files": files, "result": result, "made": made}).encode()
            (making / "record.json").write_bytes(record + b"\n" + sha256_bytes(record).encode())
            if damaged:
                folder.rename(Path(temporary) / "damaged")
            making.rename(folder)
        return Finished(key, folder, files, result, made, reused=False, damaged=damaged)

    @contextlib.contextmanager
    def alone(self, stage: str, depends: Mapping[str, Any], waiting: Callable[[], None]) -> Iterator[None]:
        """Nobody else makes this stage meanwhile; who does is waited for. See :meth:`run`."""
        path = self.root / f".{self._key(stage, depends)}.lock"
        with locked_file(path, waiting):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def find(self, stage: str, depends: Mapping[str, Any]) -> Finished | None:
        """The finished stage with this key, if it is there and sound."""
        return self._read(self._key(stage, depends))

    @staticmethod
    def _key(stage: str, depends: Mapping[str, Any]) -> str:
        return sha256_json({"stage": stage, "depends": depends})

    def _read(self, key: str) -> Finished | None:
        folder = self.root / key
        try:
            record, _, digest = (folder / "record.json").read_bytes().rpartition(b"\n")
            if sha256_bytes(record).encode() != digest:
                return None
            found = json.loads(record)
            if found["key"] != key or any(sha256_file(folder / n) != s for n, s in found["files"].items()):
                return None
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, KeyError, TypeError):
            return None
        return Finished(key, folder, found["files"], found["result"], found["made"], reused=True)

    def clear(self) -> None:
        """Forget every stage."""
        shutil.rmtree(self.root, ignore_errors=True)


def code_digest(*sources: Path) -> str:
    """SHA-256 of source files (folders: every .py in them), so that a stage is made anew when its code changed."""
    parts = []
    for source in sources:
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            parts.append(f"{path.name} {sha256_file(path)}")
    return sha256_bytes("\n".join(parts).encode())
