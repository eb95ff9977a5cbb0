"""What every benchmark prints: the machine, the figures as JSON, and a table."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pocketzoo import __version__


def machine() -> dict[str, object]:
    """The machine and the day a figure belongs to."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith(("model name", "Model"))
        ),
        platform.processor() or "unknown",
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "pocketzoo": __version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def show(name: str, rows: Sequence[dict[str, Any]], note: str) -> None:
    """Print one JSON document, then the same as a table that can be pasted into docs/benchmarks.md."""
    where = machine()
    print(json.dumps({"benchmark": name, "machine": where, "rows": list(rows), "note": note}))
    print()
    print(tabulate([list(row.values()) for row in rows], headers=list(rows[0]), tablefmt="github", floatfmt=".3f"))
    print(f"\n{note}\n{where['cpu']}, {where['cores']} cores, Python {where['python']}, {where['date']}\n", flush=True)
