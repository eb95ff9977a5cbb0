"""The report of ``tests.reports.records`` as it is known to be right.

After a change that is meant: ``python -m tests.reports.golden`` writes the files anew; read the difference.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from reports.build import build
from reports.cells import Material
from tests.reports.records import hostile, material

FOLDER = Path(__file__).parent.parent / "golden" / "reports"
PAGES = ("README.md", "latency.md", "quantization.md", "accuracy.md")
REPORTS = {"full": material, "hostile": hostile, "empty": Material}


def main() -> None:
    for name, make in REPORTS.items():
        with tempfile.TemporaryDirectory() as folder:
            build(make(), Path(folder))
            for page in PAGES:
                target = FOLDER / name / page
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((Path(folder) / page).read_bytes())


if __name__ == "__main__":
    main()
