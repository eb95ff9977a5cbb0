"""The report of ``tests.reports.records`` as it is known to be right.

After a change that is meant: ``python -m tests.reports.golden`` writes the files anew; read the difference.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from reports import regressions
from reports.build import build
from reports.cells import Material
from reports.render import markdown
from tests.reports.records import earlier, hostile, material

FOLDER = Path(__file__).parent.parent / "golden" / "reports"
PAGES = (
    "README.md",
    "latency.md",
    "quantization.md",
    "accuracy.md",
    "pruning.md",
    "threads.md",
    "gpu.md",
    "amc.md",
    "fastest.md",
    "status.md",
)
REPORTS = {"full": material, "hostile": hostile, "empty": Material}


def what_changed() -> str:
    """The difference that ``reports diff`` would print."""
    found = regressions.difference(earlier(), material(), gate=0.05)
    return markdown.page(regressions.parts(found, "2026-10-01", "now", markdown.escape))


def main() -> None:
    (FOLDER / "diff.md").write_text(what_changed())
    for name, make in REPORTS.items():
        with tempfile.TemporaryDirectory() as folder:
            build(make(), Path(folder))
            for page in PAGES:
                target = FOLDER / name / page
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((Path(folder) / page).read_bytes())


if __name__ == "__main__":
    main()
