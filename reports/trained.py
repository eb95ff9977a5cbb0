"""What training and evaluation gave, as ``docs/data/results-*.json`` keeps it: a row for each recipe and seed.

The files are ``{"rows": [{"recipe": "mobilenetv1-fashion", "seed": 0, "top1": 92.1, ...}, ...]}``. Whoever writes them
may add keys; a row without a recipe or without a figure is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 64 << 20
METRICS = ("top1", "top5", "accuracy", "map", "miou")


@dataclass(frozen=True)
class Trained:
    """The figures of a recipe over its seeds, in the metric's unit (percent for top1 and top5)."""

    recipe: str
    metric: str
    values: tuple[float, ...]
    seeds: tuple[str, ...]
    dataset: str
    file: str

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return math.fsum(self.values) / len(self.values)

    def words(self) -> str:
        """``91.20 top1, fashion-mnist, 3 seeds, 90.95 to 91.40 (results-quant.json)``."""
        spread = ""
        if len(self.values) > 1:
            spread = f", {len(self.values)} seeds, {min(self.values):.2f} to {max(self.values):.2f}"
        data = f", {self.dataset}" if self.dataset else ""
        return f"{self.mean:.2f} {self.metric}{data}{spread} ({self.file})"


def folder() -> Path:
    """Where the files are: beside the code in a wheel, in docs/data of a checkout."""
    here = Path(__file__).parent
    return next((path for path in (here / "data", here.parent / "docs" / "data") if path.is_dir()), here / "data")


def load(where: Path | None = None) -> tuple[Trained, ...]:
    """Every recipe's figures, by recipe, metric and file; a file that is no such JSON has none."""
    rows: dict[tuple[str, str, str, str], list[tuple[str, float]]] = {}
    place = where or folder()
    for path in sorted(place.glob("results-*.json")) if place.is_dir() else ():
        for row in _rows(path):
            for recipe, metric, value in _figures(row):
                dataset = str(row.get("dataset") or row.get("data") or "")
                rows.setdefault((recipe, metric, dataset, path.name), []).append((str(row.get("seed", "")), value))
    return tuple(
        Trained(recipe, metric, tuple(v for _, v in sorted(found)), tuple(s for s, _ in sorted(found)), dataset, file)
        for (recipe, metric, dataset, file), found in sorted(rows.items())
    )


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    try:
        if path.stat().st_size > MOST_BYTES:
            return []
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    rows = found.get("rows") if isinstance(found, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _figures(row: dict[str, Any]) -> Iterable[tuple[str, str, float]]:
    recipe = row.get("recipe")
    if not isinstance(recipe, str) or not recipe:
        return
    for metric in METRICS:
        value = row.get(metric)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield recipe, metric, float(value)
