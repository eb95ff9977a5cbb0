"""Accuracies of candidates, each measured once: a file of lines that survives a kill in the middle of a write."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pocketzoo.errors import BadInput, WorkFailed

Evaluate = Callable[[Mapping[str, int]], float]


class Remembered:
    """An ``evaluate(counts) -> accuracy`` that asks once for each candidate and writes every answer down.

    The file's first line names what the answers depend on, each other line one candidate. A line that was cut by a
    kill is dropped when the file is opened again.

    Args:
        evaluate: top-1 in 0..1 of a network with these counts kept.
        path: the file; made when the first answer comes.
        identity: all that the answers depend on; a file with another one is refused.

    Raises:
        BadInput: the file belongs to another search.
    """

    def __init__(self, evaluate: Evaluate, path: Path, identity: str) -> None:
        self._evaluate, self._path, self._identity = evaluate, path, identity
        self._known: dict[str, float] = {}
        self.asked = 0
        if path.is_file():
            self._read()

    def __call__(self, counts: Mapping[str, int]) -> float:
        """Top-1 in 0..1.

        Raises:
            WorkFailed: the evaluation gave no number in 0..1.
        """
        key = json.dumps(dict(sorted(counts.items())))
        if key not in self._known:
            accuracy = float(self._evaluate(counts))
            self.asked += 1
            if not (math.isfinite(accuracy) and 0 <= accuracy <= 1):
                raise WorkFailed(f"a candidate's accuracy came out as {accuracy}, not as a share of 1", detail=(key,))
            self._write(json.dumps({"counts": json.loads(key), "accuracy": accuracy}))
            self._known[key] = accuracy
        return self._known[key]

    def __len__(self) -> int:
        """Candidates with an answer."""
        return len(self._known)

    def _read(self) -> None:
        content = self._path.read_bytes()
        whole, _, cut = content.rpartition(b"\n")
        if cut:
            with self._path.open("r+b") as file:
                file.truncate(len(content) - len(cut))
        lines = whole.decode(errors="replace").split("\n") if whole else []
        if not lines:
            return
        try:
            identity = json.loads(lines[0])["identity"]
            for line in lines[1:]:
                found = json.loads(line)
                self._known[json.dumps(found["counts"])] = float(found["accuracy"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(
                "a damaged file of candidates",
                where=str(self._path),
                detail=(str(error)[:200],),
                hint=f"rm {self._path}, and they are evaluated again",
            ) from error
        if identity != self._identity:
            raise BadInput(
                "the candidates were evaluated for another search",
                where=str(self._path),
                hint=f"rm {self._path}, and they are evaluated again",
            )

    def _write(self, line: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            if file.tell() == 0:
                line = json.dumps({"identity": self._identity}) + "\n" + line
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
