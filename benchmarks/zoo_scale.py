"""How long do ``zoo list`` and choosing take with ten thousand entries measured on eight devices?

``python -m benchmarks.zoo_scale [--entries N] [--devices N] [--rounds N] [--keep DIR]``

A seeded store is written past :class:`Store` for speed: each entry a name, a manifest, a tag and one measurement for
each device. Whole processes, turn by turn, beside ``python -c pass``; medians. The index is made by the first list,
whose time is told apart, and so is that of the first list after one entry was added.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.report import show
from pocketzoo.files import sha256_bytes
from tests.records import FACTS, measurement_for
from zoo.artifact import Accuracy, Artifact, FileRecord, encode
from zoo.kept import measurement_file
from zoo.store import Store

SEED = 5
STEPS = ("", "-quant", "-prune50", "-prune50-quant", "-distil")
FAMILIES = ("mobilenetv1", "mobilenetv2", "resnet18", "resnet50")
LIMITS = {"zoo list": 300.0, "zoo list (empty zoo)": 150.0, "candidates and resolve": 1000.0}
CHOOSE = (
    "from zoo.store import Store; from zoo.constraints import Constraints; from zoo.resolve import resolve;"
    "c = Store().candidates(); r = resolve('mobilenetv1', Constraints(device='device3', max_latency_ms=20.0, threads=4,"
    "minimum=(('top1', 70.0),)), c); assert len(c) == {entries}, len(c); assert r.fits and r.misses"
)


def fill(root: Path, entries: int, devices: int) -> None:
    """Write the store; files of the entries themselves are left out, as nothing here reads them."""
    dice = random.Random(SEED)
    for number in range(entries):
        digest = sha256_bytes(b"%d" % number)
        base = FAMILIES[number % len(FAMILIES)]
        name = f"{base}-{0.25 + number / 1e4:.4f}x{STEPS[number // 4 % len(STEPS)]}"
        top1 = Accuracy(metric="top1", value=round(dice.uniform(40, 80), 2), dataset="imagenet-1k", split="validation",
                        samples=50_000, measured_on=digest)  # fmt: skip
        record = FileRecord(name=f"{name}.tflite", sha256=digest, size=dice.randrange(500_000, 20_000_000))
        artifact = Artifact(name=name, format="tflite", files=(record,), accuracy=(top1,), task="image-classification")
        _put(root / "entries" / name / f"{digest}.json", encode(artifact))
        _put(root / "tags" / name / "latest", digest.encode())
        plain = measurement_for(artifact, threads=4)
        for device in range(devices):
            facts = msgspec.structs.replace(FACTS, name=f"device{device}", fingerprint=f"{device:064x}")
            cell = msgspec.structs.replace(
                plain, device=facts, job_key=f"{number * devices + device:064x}", summary=_around(dice, plain.summary)
            )
            data = encode(cell)
            _put(root / "measurements" / digest / measurement_file(cell.job_key, data), data)


def _around(dice: random.Random, summary: object) -> object:
    median = round(dice.lognormvariate(3, 0.7), 3)
    return msgspec.structs.replace(summary, median_ms=median, ci95_ms=(median * 0.99, median * 1.01))  # type: ignore[type-var]


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def timed(argv: list[str], home: Path) -> tuple[float, float]:
    """Milliseconds that a whole process took, and those that it computed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "POCKETZOO_HOME": str(home)})
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took * 1e3, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def main() -> int:
    """Print the table; returns 1 where a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--keep", type=Path, help="make the store there, or use the one that is there")
    options = parser.parse_args()
    zoo = str(Path(sysconfig.get_path("scripts")) / "zoo")
    with ExitStack() as stack:
        home = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (home / "zoo").exists():
            fill(home / "zoo", options.entries, options.devices)
        empty = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows: list[dict[str, object]] = []
        for path in (home / "zoo" / "index").glob("*"):
            path.unlink()
        time.sleep(2.1)  # files younger than two seconds are not believed to be settled (docs/decisions/0500)
        rows.append(_row("zoo list, no index yet", [timed([zoo, "list"], home)]))
        entry = next(Store(home / "zoo").entries(lambda _: None))
        os.utime(Store(home / "zoo").manifest(entry.artifact.name, entry.artifact.digest))
        rows.append(_row("zoo list, one entry changed", [timed([zoo, "list"], home)]))
        time.sleep(2.1)
        timed([zoo, "list"], home)
        commands = {
            "python -c pass": ([sys.executable, "-c", "pass"], home),
            "zoo list (empty zoo)": ([zoo, "list"], empty),
            "zoo list": ([zoo, "list"], home),
            "zoo list --json": ([zoo, "list", "--json"], home),
            "candidates and resolve": ([sys.executable, "-c", CHOOSE.format(entries=options.entries)], home),
            "zoo list --pareto": ([zoo, "list", "--pareto", "latency,top1", "--device", "device3"], home),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, (argv, where) in commands.items():
                times[name].append(timed(argv, where))
    rows += [_row(name, values) for name, values in times.items()]
    note = (
        f"{options.entries} entries x {options.devices} devices, seed {SEED}, {options.rounds} rounds, whole processes."
    )
    show("zoo_scale", rows, note)
    return 1 if any(row["holds"] == "no" for row in rows) else 0


def _row(name: str, times: list[tuple[float, float]]) -> dict[str, object]:
    took = [each[0] for each in times]
    median, limit = statistics.median(took), LIMITS.get(name)
    held = "" if limit is None else "yes" if median < limit else "no"
    cpu = statistics.median(each[1] for each in times)
    return {"command": name, "median ms": median, "max ms": max(took), "CPU ms": cpu, "limit ms": limit, "holds": held}


if __name__ == "__main__":
    sys.exit(main())
