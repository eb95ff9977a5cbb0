"""How many repeats a second does PostgreSQL take from many writers, as a farm's hosts write them?

``python -m benchmarks.results_writers [--writers 20] [--seconds 15]``

Processes append repeats of 200 samples to rounds of their own through :class:`harness.results.Results`: one transaction
each, committed, with the unique keys. PostgreSQL runs with fsync on here, unlike in the tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.processes import cpu_s
from benchmarks.report import show
from benchmarks.results_scale import RUNNER, repeat_of
from devices.facts import DeviceFacts
from harness.results import Results
from tests.harness.cells import cell_of
from tests.harness.results import postgres

PER_ROUND = 1000


def write(url: str, number: int, until: float) -> None:
    """Append until the moment (seconds since the epoch) has come; print how many."""
    results, dice = Results(url), np.random.default_rng(number)
    repeats = [repeat_of(dice) for _ in range(16)]
    facts = DeviceFacts(name=f"d{number}", fingerprint=f"{number:064x}", cores=8)
    count = 0
    while time.time() < until:
        if count % PER_ROUND == 0:
            cell = cell_of(device=facts.name, device_fingerprint=facts.fingerprint, threads=count // PER_ROUND + 1)
            round_ = results.begin(cell, facts, RUNNER)
            if count == 0:
                print("ready", flush=True)
                sys.stdin.readline()
        results.append(round_, count % PER_ROUND, repeats[count % 16])
        count += 1
    print(count, flush=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--writers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--write", nargs=3, metavar=("URL", "NUMBER", "UNTIL"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write(given.write[0], int(given.write[1]), float(given.write[2]))
        return
    with postgres.running(fsync=True) as server:
        url = server.new_database()
        Results(url).create_campaign({})
        # Far enough ahead for every writer to be ready; what counts is measured from the moment they all are.
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.results_writers", "--write", url, str(n), str(time.time() + 1e6)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
            )
            for n in range(given.writers)
        ]  # fmt: skip
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        before, began = _stored(url), time.monotonic()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        time.sleep(given.seconds)
        stored, wall = _stored(url) - before, time.monotonic() - began
        cpu = sum(cpu_s(process.pid) for process in processes)
        for process in processes:
            process.kill()
            process.wait()
    row = {
        "writers": given.writers,
        "repeats": stored,
        "repeats a second": stored / wall,
        "writers' CPU ms a repeat": 1e3 * cpu / max(1, stored),
        "load": os.getloadavg()[0],
    }
    show("results_writers", [row], "Writers and server share this machine; a CPU's share includes the writers' start.")


def _stored(url: str) -> int:
    from sqlalchemy import func, select

    from harness.results.schema import repeats

    results = Results(url)
    with results.database.reading() as connection:
        assert connection is not None
        found: int = connection.execute(select(func.count(repeats.c.id))).scalar_one()
    results.close()
    return found


if __name__ == "__main__":
    main()
