"""Results and the CSV files they are known to give.

After a change that is meant: ``python -m tests.harness.results.golden`` writes the files anew; read the difference.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec
from click.testing import CliRunner

from harness.cli import harness
from harness.results import Results
from tests.harness.cells import cell_of
from tests.harness.results.rounds import failed, measured, store

FOLDER = Path(__file__).parents[2] / "golden" / "harness"
FILES: dict[str, tuple[str, ...]] = {"cells.csv": (), "samples.csv": ("--samples",)}


def fill(results: Results) -> None:
    """A clean cell, a failed one, and one from a device that names itself like a formula."""
    # Not the agent's own digest: these files must not change with it.
    cells = [cell_of(threads=n, device=d, runner_sha256="a" * 64) for n, d in ((1, "local"), (2, "local"), (4, "odd"))]
    store(results, cells[0], measured(cells[0], versions={"pocketzoo": "0.1.0"}))
    store(results, cells[1], failed(cells[1]))
    odd = measured(cells[2])
    device = msgspec.structs.replace(odd.device, soc='=HYPERLINK("http://x","y")', model="'quoted", os_build="a,\nb")
    store(results, cells[2], msgspec.structs.replace(odd, device=device))


def exported(argv: tuple[str, ...]) -> bytes:
    """What ``harness results --format csv`` prints."""
    done = CliRunner().invoke(harness, ["results", "--format", "csv", *argv], catch_exceptions=False)
    return done.stdout_bytes


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["POCKETZOO_RESULTS"] = f"sqlite:///{folder}/results.sqlite"
        fill(Results())
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, argv in FILES.items():
            (FOLDER / name).write_bytes(exported(argv))


if __name__ == "__main__":
    main()
