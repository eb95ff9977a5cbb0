"""How long does a report take with ten thousand entries and a million repeats, and how long when little has changed?

``python -m benchmarks.reports_scale [--entries N] [--repeats N] [--format markdown|site|all] [--keep DIR]``

A seeded zoo (:mod:`benchmarks.zoo_scale`) whose entries were each measured on two devices with one and four threads,
and published once; and a results database (:mod:`benchmarks.results_scale`) in which those cells were measured again
and again until there are so many repeats of 200 samples. Then ``reports build`` as a process of its own: from nothing;
again with nothing changed; and after one cell was measured once more. Wall time, the time that it and the processes it
started computed, and the most memory that all of them held together (PSS, looked at four times a second). And the
largest page, opened in Chromium (where there is one): from the start of the navigation until its table has been sorted,
the median of five visits.

A machine with other work makes a build wait; the time that it computed tells that apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from benchmarks.processes import memory_mb
from benchmarks.report import show
from benchmarks.results_scale import RUNNER, fill_cells, repeat_of
from benchmarks.zoo_scale import fill as fill_zoo
from devices.facts import DeviceFacts
from harness.job import Cell, Protocol
from harness.results import Results
from tests.records import FACTS
from zoo.measurement import Measurement, Verdict
from zoo.stats import summarise
from zoo.store import Store

SEED = 11
DEVICES, THREADS = 2, (1, 4)
FULL_S, CHANGED_S, LIMIT_MB, PAGE_MB, READY_S = 60.0, 5.0, 1000.0, 2.0, 1.0
VISITS = 5
LOOK_S = 0.25
PAGES = (".md", ".html", ".js")


def cells_of(store: Store) -> Iterator[tuple[Cell, DeviceFacts]]:
    """The cells in which the entries were measured."""
    for entry in store.listing():
        for device in range(DEVICES):
            facts = msgspec.structs.replace(FACTS, name=f"phone{device}", fingerprint=f"{device + 1:064x}")
            for threads in THREADS:
                yield Cell(
                    model=entry.name, artifact_sha256=entry.digest, device=facts.name,
                    device_fingerprint=facts.fingerprint, runner="python", runner_sha256=RUNNER.binary_sha256,
                    abi="armv8", threads=threads, protocol=Protocol(),
                ), facts  # fmt: skip


def measure_again(home: Path) -> None:
    """One more round of the first cell, later and with other samples than each before."""
    import numpy as np

    cell, facts = next(cells_of(Store(home / "zoo")))
    results = Results(f"sqlite:///{home / 'results.sqlite'}")
    round_ = results.begin(cell, facts, RUNNER, fresh=True)
    dice = np.random.default_rng([SEED, round_.number])
    repeats = tuple(repeat_of(dice) for _ in range(3))
    time_ = datetime(2026, 11, 22, 10, tzinfo=UTC) + timedelta(minutes=round_.number)
    for number, repeat in enumerate(repeats):
        results.append(round_, number, repeat)
    results.finish(
        round_,
        Measurement(
            job_key=cell.key, artifact_sha256=cell.artifact_sha256, model=cell.model, device=facts, runner=RUNNER,
            abi=cell.abi, threads_requested=cell.threads, threads_actual=cell.threads, warmup=100, runs=200,
            repeats=repeats, summary=summarise(repeats), verdict=Verdict(name="valid"), provenance="hardware",
            time=time_.isoformat(),
        ),
    )  # fmt: skip
    results.close()


@dataclasses.dataclass(frozen=True)
class Took:
    """Of one build: seconds, seconds computed, peak memory in MB, files made anew, all files."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    made: int
    files: int


def build(home: Path, out: Path, kind: str) -> Took:
    """One ``reports build`` as a process."""
    argv = [
        str(Path(sysconfig.get_path("scripts")) / "reports"),
        "build",
        "--out",
        str(out),
        "--format",
        kind,
        "--json",
    ]
    start = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, "POCKETZOO_HOME": str(home)})
    assert process.stdout is not None
    watched = Watched(process.pid)
    document = msgspec.json.decode(process.stdout.read())
    watched.ended.set()
    watched.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"reports build: exit {process.returncode}: {document}")
    wall = time.perf_counter() - start
    return Took(wall, usage.ru_utime + usage.ru_stime, watched.most_mb, document["made"], len(document["files"]))


class Watched(threading.Thread):
    """The most memory that a process and those it started were seen to hold."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.most_mb = 0.0
        self.ended = threading.Event()
        self._pid = pid
        self.start()

    def run(self) -> None:
        """Look until the process has ended."""
        while not self.ended.wait(LOOK_S):
            self.most_mb = max(self.most_mb, memory_mb(self._pid))


def ready_s(page: Path) -> float | None:
    """Seconds from the start of the navigation until the page's first table is sorted by a click.

    The median of some visits; None where there is no browser, or where the page has no table.
    """
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        return None
    from tests.reports.browser import chromium

    # `data-ready` is set on a table that can be sorted; `.tools button` offers that for the rows of a long one.
    script = """const done = arguments[0];
    const look = () => {
      const sheets = [...document.querySelectorAll('.sheet')];
      const ready = sheets.every((s) => s.hasAttribute('data-ready') || s.querySelector('.tools button'));
      if (!sheets.length) done(null);
      else if (document.readyState === 'complete' && ready) {
        const heading = document.querySelector('.sheet[data-ready] .dt-column-order');
        if (heading) heading.click();
        done(performance.now() / 1000);
      } else setTimeout(look, 5);
    };
    look();"""
    with chromium() as browser:
        found = []
        for _ in range(VISITS):
            browser.get(page.as_uri())
            found.append(browser.execute_async_script(script))
    return statistics.median(found) if all(one is not None for one in found) else None


def main() -> int:
    """Print the table; returns 1 where a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=1_000_000)
    parser.add_argument("--format", default="all", choices=["markdown", "site", "all"])
    parser.add_argument("--keep", type=Path, help="make zoo and results there, or use those that are there")
    options = parser.parse_args()
    with ExitStack() as stack:
        home = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (home / "zoo").exists():
            fill_zoo(home / "zoo", options.entries, 1)
            fill_cells(f"sqlite:///{home / 'results.sqlite'}", options.repeats, list(cells_of(Store(home / "zoo"))))
            time.sleep(2.1)  # files younger than two seconds are not believed to be settled
        out = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "report"
        rows = [
            _row("from nothing", build(home, out, options.format), FULL_S),
            _row("nothing changed", build(home, out, options.format), CHANGED_S),
        ]
        measure_again(home)
        rows.append(_row("one cell measured again", build(home, out, options.format), CHANGED_S))
        sizes = {path: path.stat().st_size / 1e6 for path in out.rglob("*") if path.suffix in PAGES}
        largest = max(sizes, key=lambda path: sizes[path])
        pages = [path for path in sizes if path.suffix == ".html"]
        ready = ready_s(max(pages, key=lambda path: sizes[path])) if pages else None
        whole = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    note = (
        f"{options.entries} entries, {options.repeats} repeats, format {options.format}, seed {SEED}; the largest page "
        f"is {largest.relative_to(out)} with {sizes[largest]:.2f} MB (limit {PAGE_MB:g}); all have {whole:.0f} MB; "
        + (
            f"the largest HTML page can be used after {ready:.2f} s (limit {READY_S:g})."
            if ready is not None
            else "how soon it can be used was not looked at: no Chromium."
        )
    )
    show("reports_scale", rows, note)
    slow = ready is not None and ready > READY_S
    return 1 if slow or sizes[largest] > PAGE_MB or any(row["holds"] == "no" for row in rows) else 0


def _row(name: str, took: Took, limit_s: float) -> dict[str, object]:
    holds = took.wall_s < limit_s and took.peak_mb < LIMIT_MB
    return {
        "build": name, "wall s": took.wall_s, "CPU s": took.cpu_s, "limit s": limit_s, "peak MB": took.peak_mb,
        "limit MB": LIMIT_MB, "files made": took.made, "files": took.files, "holds": "yes" if holds else "no",
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
