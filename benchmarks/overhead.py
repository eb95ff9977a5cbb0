"""What the harness costs: wall time of ``harness run`` beyond the time its measuring processes ran themselves.

``python -m benchmarks.overhead [--rounds N] [--threads 1,2,4] [REF ...]``

The processes' own time is taken inside the harness, around each of them; the rest is start-up, probing, looking at the
device, storing, intervals and verdicts. Without REF the demo's two models are taken from the local zoo.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import show

WANTED = 0.05
# The real command, with a clock around what it starts to measure.
TIMED = """
import sys, time
from devices.session import Session
whole = Session.run
spent = [0.0]
def run(self, argv, **options):
    start = time.perf_counter()
    try:
        return whole(self, argv, **options)
    finally:
        if "--model" in argv:
            spent[0] += time.perf_counter() - start
Session.run = run
from harness.cli import harness
harness.main(args=sys.argv[1:], prog_name="harness", standalone_mode=False)
print(spent[0])
"""


def measure(models: list[str], threads: str, folder: Path) -> tuple[float, float]:
    """Wall time of one campaign with default protocol, and the time of its processes; the results lie in ``folder``."""
    argv = [sys.executable, "-c", TIMED, "run", "--device", "local", "--threads", threads, "--retry", "0", "--json"]
    argv += ["--fresh", *(part for model in models for part in ("--model", model))]
    env = {**os.environ, "POCKETZOO_RESULTS": f"sqlite:///{folder / 'results.sqlite'}"}
    start = time.perf_counter()
    done = subprocess.run(argv, env=env, capture_output=True, check=True)
    wall = time.perf_counter() - start
    return wall, float(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="1,2,4")
    parser.add_argument("models", nargs="*", default=["mobilenetv2", "mobilenetv2-quant"])
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        measure(options.models, options.threads, Path(folder))  # makes the database, fills caches and host's outputs
        for number in range(options.rounds):
            wall, processes = measure(options.models, options.threads, Path(folder))
            rows.append(
                {"round": number + 1, "wall s": wall, "processes s": processes, "beyond": (wall - processes) / wall}
            )
    show("overhead", rows, f"{', '.join(options.models)}; threads {options.threads}; wanted: at most {WANTED:.0%}.")


if __name__ == "__main__":
    main()
