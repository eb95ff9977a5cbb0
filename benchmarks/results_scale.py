"""How fast is the latest table of one device, and how much memory does it take, with a million repeats stored?

``python -m benchmarks.results_scale [--repeats N] [--devices N] [--postgresql URL] [--only sqlite|postgresql]``

A SQLite file and a PostgreSQL server of its own (Debian's package; or an empty database by URL) are filled with the
same seeded rounds of three repeats of 200 samples: every device measures the same cells again and again, as a nightly
run does. Then seven processes, one after the other, open the database and make the table that ``harness results
--device D`` prints, once from nothing (connection, schema check, query, text) and then warm; and walk the device's
samples as an export does. Figures are medians over the processes, memory is the largest.
Filling goes past :class:`Results` for speed: each cell has one summary, and 512 different repeats take turns.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Connection, func, insert, select, text

from benchmarks.report import show
from devices.facts import ClusterFacts, Conditions, DeviceFacts
from harness.job import Cell, Protocol
from harness.listing import results_text
from harness.results import Results
from harness.results.database import Database
from harness.results.export import sample_rows
from harness.results.records import repeat_columns, summary_text, text_of
from harness.results.schema import newest, repeats, rounds
from zoo.measurement import Evidence, Measurement, Repeat, RunnerRecord, Verdict
from zoo.stats import summarise

SEED = 0
REPEATS_PER_ROUND = 3
MODELS, ABIS, THREADS = 30, ("armv7", "armv8"), (1, 2, 4)
BATCH = 2000
WARM_ROUNDS, PROCESSES = 30, 7
LIMIT_MS, LIMIT_MB = 100.0, 300.0
RUNNER = RunnerRecord(name="python", version="2.3.0", binary_sha256="a" * 64, runtime="ai-edge-litert 2.3.0")


def repeat_of(dice: np.random.Generator) -> Repeat:
    """A repeat of 200 samples around 3 ms, with conditions as a phone gives them."""
    samples = (3_000_000 + np.abs(dice.normal(0, 20_000, 200))).astype(int)
    conditions = Conditions(
        time="2026-11-21T10:00:00+00:00",
        temperatures_c={f"cpu{n}": 41.5 for n in range(8)},
        frequencies_mhz={str(n): 2419.2 for n in range(8)},
        governors={str(n): "schedutil" for n in range(8)},
        load1=0.4,
    )
    return Repeat(samples_ns=tuple(samples.tolist()), init_ns=8_000_000, first_ns=4_000_000, threads_actual=1,
                  pool_threads=1, foreign_cpu_share=0.01, before=conditions, after=conditions)  # fmt: skip


def cells_of(device: int) -> Iterator[tuple[Cell, DeviceFacts]]:
    """The cells that one device measures."""
    clusters = (ClusterFacts(cpus=(0, 1, 2, 3), max_mhz=1785.6), ClusterFacts(cpus=(4, 5, 6, 7), max_mhz=2841.6))
    facts = DeviceFacts(name=f"device{device:03}", fingerprint=f"{device:064x}", soc="Snapdragon 855 (SM8150)",
                        model="phone", os_build="QKQ1.190825.002", kernel="4.14.117", abis=("armv8", "armv7"),
                        cores=8, clusters=clusters)  # fmt: skip
    for model, abi, threads in itertools.product(range(MODELS), ABIS, THREADS):
        yield Cell(
            model=f"model{model:03}", artifact_sha256=f"{model:064x}", device=facts.name,
            device_fingerprint=facts.fingerprint, runner="python", runner_sha256=RUNNER.binary_sha256,
            abi=abi, threads=threads, protocol=Protocol(),
        ), facts  # fmt: skip


def round_of(cell: Cell, facts: DeviceFacts, summary: Any) -> dict[str, object]:
    """The columns of a finished round of a cell, without its id and number."""
    evidence = tuple(Evidence(check=f"check {n}", outcome="ok", value=0.5, limit=1.0, unit="%") for n in range(8))
    measurement = Measurement(
        job_key=cell.key, artifact_sha256=cell.artifact_sha256, model=cell.model, device=facts, runner=RUNNER,
        abi=cell.abi, threads_requested=cell.threads, threads_actual=cell.threads, warmup=100, runs=200, repeats=(),
        summary=summary, verdict=Verdict(name="valid", evidence=evidence), provenance="hardware",
        time="2026-11-21T10:00:00+00:00", versions={"pocketzoo": "0.1.0"},
    )  # fmt: skip
    return {
        "job_key": cell.key, "state": "done", "started": measurement.time, "model": cell.model,
        "artifact_sha256": cell.artifact_sha256, "device": cell.device, "cell": text_of(cell), "facts": text_of(facts),
        "runner": text_of(RUNNER), "measurement": summary_text(measurement),
    }  # fmt: skip


def fill(url: str, repeats_wanted: int, devices: int) -> None:
    """Store so many repeats of the cells that so many devices measure, the same for the same numbers."""
    fill_cells(url, repeats_wanted, [each for device in range(devices) for each in cells_of(device)])


def fill_cells(url: str, repeats_wanted: int, cells: Sequence[tuple[Cell, DeviceFacts]]) -> None:
    """Store so many repeats of these cells, in rounds that take turns, the same for the same numbers."""
    dice = np.random.default_rng(SEED)
    pool = [repeat_of(dice) for _ in range(512)]
    summary = summarise(pool[:REPEATS_PER_ROUND])
    packed = itertools.cycle([repeat_columns(repeat) for repeat in pool])
    templates = [round_of(cell, facts, summary) for cell, facts in cells]
    database = Database(url)
    rounds_wanted = -(-repeats_wanted // REPEATS_PER_ROUND)
    for first in range(0, rounds_wanted, BATCH):
        count = min(BATCH, rounds_wanted - first)
        places = [(n + 1, *divmod(n, len(templates))) for n in range(first, first + count)]
        with database.writing() as connection:
            connection.execute(
                insert(rounds), [{**templates[cell], "id": id_, "number": number} for id_, number, cell in places]
            )
            rows = [(id_, number) for id_, _, _ in places for number in range(REPEATS_PER_ROUND)]
            connection.execute(insert(repeats), [{"round_id": r, "number": n, **next(packed)} for r, n in rows])
    with database.writing() as connection:
        last = select(func.max(rounds.c.id).label("id")).group_by(rounds.c.job_key).subquery()
        columns = (rounds.c.job_key, rounds.c.device, rounds.c.model, rounds.c.id, rounds.c.id.label("done_id"))
        chosen = select(*columns).join_from(last, rounds, rounds.c.id == last.c.id)
        connection.execute(insert(newest).from_select(["job_key", "device", "model", "ended_id", "done_id"], chosen))
        if database.dialect == "postgresql":
            _settle_postgresql(connection)
    database.close()


def _settle_postgresql(connection: Connection) -> None:
    connection.execute(text("SELECT setval('rounds_id_seq', (SELECT max(id) FROM rounds))"))
    # What autovacuum does a minute after a load.
    connection.execute(text("ANALYZE"))


def read(url: str) -> dict[str, object]:
    """Make the latest table of one device in this process, and say how long it took and how much memory."""
    # Imports like the others, that SQLAlchemy leaves until an engine is made; they are not part of the look-up.
    drivers = {"sqlite": "sqlite.pysqlite", "postgresql": "postgresql.psycopg"}
    importlib.import_module(f"sqlalchemy.dialects.{drivers[url.split(':', maxsplit=1)[0]]}").dialect.import_dbapi()
    device = "device000"
    warm: list[float] = []
    for _ in range(1 + WARM_ROUNDS):
        start = time.perf_counter()
        if not warm:
            results = Results(url)
        found = results.latest_summaries(devices=[device])
        shown = results_text(found)
        warm.append((time.perf_counter() - start) * 1e3)
    start = time.perf_counter()
    samples = sum(1 for _ in sample_rows(results.samples(devices=[device])))
    export_s = time.perf_counter() - start
    assert len(shown.splitlines()) > len(found)
    return {
        "cells": len(found),
        "first ms": warm[0],
        "warm ms": statistics.median(warm[1:]),
        "samples": samples,
        "samples s": export_s,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def stored(url: str) -> dict[str, object]:
    """How much is in there."""
    with Database(url).reading() as connection:
        assert connection is not None
        count = connection.execute(select(func.count()).select_from(repeats)).scalar_one()
        if connection.dialect.name == "postgresql":
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        else:
            pages = connection.execute(text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))
            size = pages.scalar_one()
    return {"repeats": count, "GB": size / 1e9}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--postgresql", metavar="URL", help="An empty database; default: a server of its own.")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--folder", help="Where the SQLite file is made; default: a temporary one.")
    parser.add_argument("--read", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read)))
        return
    rows = []
    for name in [options.only] if options.only else ["sqlite", "postgresql"]:
        with ExitStack() as stack:
            if name == "sqlite":
                folder = stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder))
                url = f"sqlite:///{Path(folder) / 'results.sqlite'}"
            elif options.postgresql:
                url = options.postgresql
            else:
                from tests.harness.results import postgres

                url = stack.enter_context(postgres.running()).new_database()
            start = time.perf_counter()
            fill(url, options.repeats, options.devices)
            filled_s = time.perf_counter() - start
            argv = [sys.executable, "-m", "benchmarks.results_scale", "--read", url]
            runs = [
                msgspec.json.decode(subprocess.run(argv, check=True, capture_output=True).stdout, type=dict[str, float])
                for _ in range(PROCESSES)
            ]
            figures: dict[str, object] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            figures["first max ms"] = max(run["first ms"] for run in runs)
            figures["peak MB"] = max(run["peak MB"] for run in runs)
            counts = {key: int(runs[0][key]) for key in ("cells", "samples")}
            rows.append({"database": name, **stored(url), "fill s": filled_s, **figures, **counts})
    note = (
        f"{options.devices} devices, seed {SEED}; first: connection, schema check, query and text in a new process, "
        f"imports done; warm: the same process again, median of {WARM_ROUNDS}; medians over {PROCESSES} processes, "
        f"memory the largest; limits: {LIMIT_MS:.0f} ms and {LIMIT_MB:.0f} MB."
    )
    show("results_scale", rows, note)


if __name__ == "__main__":
    main()
