"""How long ``--help`` of each command takes as a whole process, beside ``python -c pass``, turn by turn.

``python -m benchmarks.startup [--rounds N]``
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from benchmarks.report import show

LIMIT_MS = 100.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    scripts = Path(sysconfig.get_path("scripts"))
    commands: dict[str, list[str]] = {"python -c pass": [sys.executable, "-c", "pass"]}
    for name in ("zoo", "harness", "devices", "compress", "reports"):
        commands[f"{name} --help"] = [str(scripts / name), "--help"]
    commands["zoo list (empty zoo)"] = [str(scripts / "zoo"), "list"]
    times: dict[str, list[float]] = {name: [] for name in commands}
    for counted in range(-1, rounds):  # the first round fills the file caches and does not count
        for name, argv in commands.items():
            start = time.perf_counter()
            subprocess.run(
                argv, check=True, capture_output=True, env={"POCKETZOO_HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
            )
            if counted >= 0:
                times[name].append((time.perf_counter() - start) * 1e3)
    bare = statistics.median(times["python -c pass"])
    rows = [
        {
            "command": name,
            "median ms": statistics.median(values),
            "max ms": max(values),
            "over python -c pass": statistics.median(values) / bare,
        }
        for name, values in times.items()
    ]
    show("startup", rows, f"{rounds} rounds, each command once a round; the limit for --help is {LIMIT_MS:.0f} ms.")


if __name__ == "__main__":
    main()
