"""The log of a training: JSON lines, one for each interval of steps and one for each epoch, made to be plotted.

    {"kind": "steps", "step": 40, "epoch": 1, "loss": 0.71, "lr": 0.05, "images_per_s": 5120.3}
    {"kind": "epoch", "step": 391, "epoch": 1, "loss": 0.62, "lr": 0.05, "accuracy": 84.1, "images_per_s": 5040.0}

``loss`` is the mean since the line before (of the whole epoch on an epoch's line), ``accuracy`` the top-1 on the
held-out split in percent. pandas reads it with ``read_json(path, lines=True)``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pocketzoo.files import write_atomically


def cut(path: Path, step: int) -> None:
    """Drop what was logged after ``step``: a resumed training does these steps again."""
    if path.is_file():
        kept = [line for line in path.read_text().splitlines() if _step(line) <= step]
        write_atomically(path, "".join(f"{line}\n" for line in kept).encode())


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # the half line a killed process left


def append(path: Path, **values: Any) -> None:
    """Add a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
