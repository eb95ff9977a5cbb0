"""A request (devices x models x ABIs x threads) taken to each device: planned, measured, published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devices.inventory import load_inventory
from devices.session import open_session
from harness.execute import Bench, Outcome, prepare, run_cells
from harness.instructions import as_counted, counting
from harness.job import Protocol
from harness.plan import Plan, make_plan
from harness.progress import Progress
from harness.results import Results
from pocketzoo.errors import BadInput
from zoo.measurement import Measurement, Metric
from zoo.store import Entry, Store


@dataclass(frozen=True)
class Request:
    """What somebody asked to be measured, parsed and checked."""

    devices: tuple[str, ...]
    models: tuple[str, ...]
    abis: tuple[str, ...]
    threads: tuple[int, ...]
    cpus: tuple[int, ...] | None
    protocol: Protocol
    inventory: Path | None
    metric: Metric = "latency"


def entries_of(store: Store, references: Sequence[str]) -> list[Entry]:
    """The entries to measure: those that are named, else every one that the zoo holds.

    Raises:
        BadInput: an unknown reference, or an empty zoo.
    """
    if references:
        named = [store.get(reference) for reference in references]
        return list({entry.artifact.digest: entry for entry in named}.values())
    entries = [entry for entry in store.entries() if entry.tags]
    if not entries:
        raise BadInput(
            "the zoo holds no model to measure", where=str(store.root), hint="compress list, or zoo add FILE"
        )
    return entries


def check_devices(request: Request) -> None:
    """Refuse a request whose inventory or device names are wrong, before any device is touched.

    Raises:
        BadInput: no device was named, or one is not in the inventory.
    """
    inventory = load_inventory(request.inventory)
    if not request.devices:
        raise BadInput("no device was named", hint="add --device local, or another name that `devices list` prints")
    for name in request.devices:
        inventory.get(name)


@contextmanager
def bench_on(request: Request, device: str) -> Iterator[Bench]:
    """A device of the request, owned, probed and ready to measure."""
    spec = load_inventory(request.inventory).get(device)
    with open_session(spec) as session:
        yield counting(prepare(session), request.metric)


def plan_for(request: Request, bench: Bench, entries: Sequence[Entry]) -> Plan:
    """The request's cells on one device."""
    plan = make_plan(
        [entry.artifact for entry in entries],
        bench.facts,
        bench.runner.record,
        runner_abi=bench.runner_abi,
        abis=request.abis,
        threads=request.threads,
        cpus=request.cpus,
        protocol=request.protocol,
    )
    return plan if request.metric == "latency" else as_counted(plan, bench.session.spec)


def measure(
    bench: Bench,
    plan: Plan,
    entries: Sequence[Entry],
    store: Store,
    results: Results,
    *,
    fresh: bool,
    seed: int,
    deadline_s: float | None,
    progress: Progress,
) -> Outcome:
    """Run a plan's cells; see :func:`harness.execute.run_cells`."""
    models = {entry.artifact.digest: store.file(entry.artifact.files[0]) for entry in entries}
    return run_cells(
        bench, plan.cells, models, results, fresh=fresh, seed=seed, deadline_s=deadline_s, progress=progress
    )


def publish(store: Store, measurements: Sequence[Measurement]) -> int:
    """Append measurements to their zoo entries; failed ones are kept in the results only.

    Returns:
        How many were new to the zoo.
    """
    return sum(store.attach(m) for m in measurements if m.verdict.name != "failed")


def estimate_s(plan: Plan, results: Results) -> float | None:
    """Seconds the unmeasured cells will take, from earlier cells of the same models on the same device.

    None where a model was never measured there: a guess would be worth nothing.
    """
    if any(cell.metric != "latency" for cell in plan.cells):
        return None
    known = {m.job_key for m in results.latest(failed=False)}
    medians: dict[str, float] = {}
    for m in results.latest(devices=sorted({c.device for c in plan.cells}), failed=False):
        if m.summary is not None:
            medians[m.artifact_sha256] = max(m.summary.median_ms, medians.get(m.artifact_sha256, 0.0))
    total = 0.0
    for cell in plan.cells:
        if cell.key in known:
            continue
        if cell.artifact_sha256 not in medians:
            return None
        runs = cell.protocol.warmup + cell.protocol.runs
        # Half a second for each process: interpreter, runtime, loading; the rest is the inferences themselves.
        total += cell.protocol.repeats * (0.5 + runs * medians[cell.artifact_sha256] / 1e3)
    return total
