"""How long planning takes, by the number of cells: devices x models x threads, with every job key computed.

``python -m benchmarks.planning [--rounds N]``
"""

from __future__ import annotations

import argparse
import statistics
import time

from benchmarks.report import show
from devices.facts import DeviceFacts
from harness.estimate import estimate
from harness.plan import make_plan
from pocketzoo.files import sha256_bytes
from zoo.artifact import Artifact, FileRecord
from zoo.measurement import RunnerRecord

RUNNER = RunnerRecord(name="python", version="1", binary_sha256="a" * 64)
LIMIT_S = 1.0


def plan_cells(devices: int, models: int) -> tuple[int, int]:
    """Plan that many devices and models at ten thread counts; the number of cells and of different job keys."""
    artifacts = [
        Artifact(
            name=f"model{n}",
            format="tflite",
            files=(FileRecord(name=f"model{n}.tflite", sha256=sha256_bytes(b"%d" % n), size=1),),
        )
        for n in range(models)
    ]
    keys: set[str] = set()
    count = 0
    for number in range(devices):
        facts = DeviceFacts(name=f"device{number}", fingerprint=sha256_bytes(b"d%d" % number), cores=8)
        plan = make_plan(artifacts, facts, {"armv8": RUNNER}, threads=range(1, 11))
        keys |= {cell.key for cell in plan.cells}
        estimate(plan.cells, [])
        count += len(plan.cells)
    return count, len(keys)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = []
    for devices, models in ((1, 10), (10, 10), (10, 100)):
        times, cells, keys = [], 0, 0
        for _ in range(rounds):
            start = time.perf_counter()
            cells, keys = plan_cells(devices, models)
            times.append(time.perf_counter() - start)
        rows.append({"cells": cells, "different keys": keys, "median s": statistics.median(times), "max s": max(times)})
    show("planning", rows, f"{rounds} rounds; the limit for 10,000 cells is {LIMIT_S:g} s.")


if __name__ == "__main__":
    main()
