"""Do devices run side by side? Simulated devices that take their time, against the time one alone needs.

``python -m benchmarks.side_by_side [--devices 1,4,16] [--seconds S] [--cells N]``

A simulated device sleeps instead of computing and refuses every command it does not expect; everything else (threads,
database, intervals, verdicts) is the harness's own. Ideal is the devices' own time: repeats x seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import show
from devices.facts import DeviceFacts
from harness.measuring import Device, Outcome, Settings
from harness.progress import Silent
from harness.results import Results
from harness.shared import Shared
from harness.side_by_side import side_by_side
from tests.harness.simulated import SimulatedSession, Simulation, steady
from zoo.measurement import RunnerRecord

WANTED = 0.95


def run(folder: Path, count: int, cells: int, seconds: float) -> tuple[float, int]:
    """Wall time of a campaign over so many devices, and the repeats that are stored."""
    results = Results(f"sqlite:///{folder / 'results.sqlite'}")
    results.begin(Simulation(folder, SimulatedSession("first", answer=steady)).task().cell, *_records(folder))
    shared = Shared(results)
    worlds = {}
    for number in range(count):
        name = f"device{number}"
        (folder / name).mkdir()
        worlds[name] = Simulation(folder / name, SimulatedSession(name, answer=_samples, seconds=seconds))
    outcomes = {name: Outcome() for name in worlds}
    settings = Settings(since=datetime.now(UTC).isoformat(timespec="milliseconds"), retry=0)
    stop = threading.Event()

    def work(name: str) -> None:
        world = worlds[name]
        tasks = [world.task(threads=count + 1) for count in range(cells)]
        Device(
            world.bench, {task.cell.artifact_sha256: world.model for task in tasks}, shared, world.kept, settings,
            progress=Silent(), stop=stop, outcome=outcomes[name],
        ).measure(tasks)  # fmt: skip

    start = time.perf_counter()
    ran = side_by_side(list(worlds), work, stop)
    wall = time.perf_counter() - start
    for one in ran:
        if one.error:
            raise one.error
    return wall, sum(outcome.stored for outcome in outcomes.values())


def _samples(argv: list[str], number: int) -> dict[str, object]:
    """As many samples as the default protocol has."""
    return {**steady(argv, number), "samples_ns": [1_000_000 + 500 * ((number + n) % 3) for n in range(200)]}


def _records(folder: Path) -> tuple[DeviceFacts, RunnerRecord]:
    world = Simulation(folder, SimulatedSession("first", answer=steady))
    return world.facts, world.bench.prepared.runners["x86_64"].record


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--devices", default="1,4,16")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--cells", type=int, default=2)
    options = parser.parse_args()
    ideal = 3 * options.cells * options.seconds
    rows = []
    for count in (int(part) for part in options.devices.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            wall, stored = run(Path(folder), count, options.cells, options.seconds)
        rows.append(
            {"devices": count, "repeats": stored, "ideal s": ideal, "wall s": wall, "ideal / wall": ideal / wall}
        )
    show("side-by-side", rows, f"{options.cells} cells x 3 repeats x {options.seconds:g} s each; wanted {WANTED}.")


if __name__ == "__main__":
    main()
