"""A request taken to its devices: planned there, measured side by side, published."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import msgspec

from devices.inventory import load_inventory
from devices.session import open_session
from harness.affinity import resolve
from harness.execute import Bench, prepare
from harness.farm import side_by_side, unexpected
from harness.instructions import as_counted, counting
from harness.job import Cell
from harness.measuring import Device, Outcome, Settings
from harness.plan import Impossible, Plan, make_plan
from harness.progress import Board
from harness.reference import Kept
from harness.request import Group, Request
from harness.results import Campaign, Results
from harness.results.campaigns import State
from harness.runners.prepared import checked_options
from harness.schedule import Task
from harness.shared import Shared
from pocketzoo.errors import BadInput, PocketzooError
from zoo.measurement import Measurement
from zoo.store import Entry, Store


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


def pinned(request: Request, store: Store) -> Request:
    """The request with every model named by its digest: a tag may move before the campaign is taken up again.

    Raises:
        BadInput: an unknown reference, or an empty zoo.
    """
    groups = [
        msgspec.structs.replace(
            group,
            models=tuple(f"{e.artifact.name}@sha256:{e.artifact.digest}" for e in entries_of(store, group.models)),
        )
        for group in request.groups
    ]
    return msgspec.structs.replace(request, groups=tuple(groups))


def check_devices(request: Request) -> None:
    """Refuse a request whose inventory or device names are wrong, before any device is touched.

    Raises:
        BadInput: no device was named, or one is not in the inventory.
    """
    inventory = load_inventory(Path(request.inventory) if request.inventory else None)
    if not request.devices:
        raise BadInput("no device was named", hint="add --device local, or another name that `devices list` prints")
    for name in request.devices:
        inventory.get(name)


@contextmanager
def bench_on(request: Request, device: str) -> Iterator[Bench]:
    """A device of the request, owned, probed and ready to measure."""
    spec = load_inventory(Path(request.inventory) if request.inventory else None).get(device)
    with open_session(spec) as session:
        yield counting(prepare(session), request.metric)


@dataclass(frozen=True)
class Planned:
    """The tasks of one device, and what of the request cannot run there."""

    tasks: tuple[Task, ...]
    impossible: tuple[Impossible, ...]

    @property
    def plan(self) -> Plan:
        """The cells without how they are measured."""
        return Plan(tuple(task.cell for task in self.tasks), self.impossible)


def plan_for(request: Request, bench: Bench, store: Store) -> Planned:
    """The request's cells on one device; a cell that several groups name is measured as the first says.

    Raises:
        BadInput: a setting that the device's runner does not have.
    """
    tasks: dict[str, Task] = {}
    impossible: dict[Impossible, None] = {}
    prepared = bench.prepared
    for group in request.groups:
        if bench.facts.name not in group.devices:
            continue
        cpus = resolve(group.affinity, bench.facts)
        made = make_plan(
            [entry.artifact for entry in entries_of(store, group.models)],
            bench.facts,
            {abi: runner.record for abi, runner in prepared.runners.items()},
            formats=prepared.formats,
            missing=prepared.missing,
            unpinned=prepared.unpinned,
            options=checked_options(bench.session.spec.runner, prepared.settings, group.options),
            abis=group.abis or prepared.default_abis,
            threads=group.threads,
            cpus=None if isinstance(cpus, str) else cpus,
            protocol=group.protocol,
        )
        if request.metric == "instructions":
            made = as_counted(made, bench.session.spec)
        impossible |= dict.fromkeys(made.impossible)
        if isinstance(cpus, str):
            impossible |= {Impossible(c.model, c.device, c.abi, c.threads, cpus): None for c in made.cells}
            continue
        for cell in made.cells:
            tasks.setdefault(cell.key, task_of(group, cell, bench.session.spec.cool_below_c))
    return Planned(tuple(tasks.values()), tuple(impossible))


def task_of(group: Group, cell: Cell, cool_below_c: float | None) -> Task:
    """A cell as its group has it measured; the inventory says how cool the device must be where the group does not."""
    return Task(
        cell,
        until=group.until,
        most=group.max_repeats,
        cool_below_c=group.cool_below_c if group.cool_below_c is not None else cool_below_c,
        cool_limit_s=group.cool_limit_s,
    )


@dataclass
class Report:
    """What one device gave to a campaign.

    Args:
        device: its name.
        outcome: cells that ended, repeats that were stored.
        impossible: cells that cannot run there.
        changed: cells that the campaign wants and that are no longer the same (another runner, another system).
        error: why the device stopped, where it did.
        stopped: whether Ctrl-C ended it.
    """

    device: str
    outcome: Outcome = field(default_factory=Outcome)
    impossible: tuple[Impossible, ...] = ()
    changed: tuple[Cell, ...] = ()
    error: PocketzooError | None = None
    stopped: bool = False


def carry_out(
    request: Request,
    campaign: Campaign,
    *,
    store: Store,
    results: Results,
    board: Board,
    failed: Mapping[str, Measurement] | None = None,
    kept: Kept | None = None,
) -> list[Report]:
    """Measure what a campaign lacks, on all its devices at once.

    Args:
        request: the campaign's request, with its models pinned.
        campaign: as stored.
        store: the zoo.
        results: where the campaign and its repeats are stored.
        board: shows what runs.
        failed: cells that failed in this campaign and are not tried again, by job key.
        kept: outputs of host and devices; by default those in the state folder.

    Returns:
        A report for each device. Nothing is raised for a device that was lost or for Ctrl-C: they are in the reports.

    Raises:
        Exception: a fault of the program, after the other devices have ended.
    """
    skipped = dict(failed or {})
    shared, kept, stop = Shared(results), kept or Kept(), threading.Event()
    settings = Settings(
        since=campaign.started,
        seed=request.seed,
        retry=request.retry,
        fresh=request.fresh,
        deadline_s=request.deadline_s,
        failed=skipped.keys(),
    )
    reports = {name: Report(name) for name in request.devices}
    wanted = results.wanted(campaign.id)

    def work(name: str) -> None:
        report = reports[name]
        with bench_on(request, name) as bench:
            planned = plan_for(request, bench, store)
            report.impossible = planned.impossible
            mine = {cell.key: cell for cell in wanted if cell.device == name}
            keys = {task.cell.key for task in planned.tasks}
            report.changed = tuple(cell for key, cell in mine.items() if key not in keys)
            tasks = [task for task in planned.tasks if not mine or task.cell.key in mine]
            results.want(campaign.id, [task.cell for task in tasks])
            report.outcome.measurements += [skipped[t.cell.key] for t in tasks if t.cell.key in skipped]
            models = {
                entry.artifact.digest: store.file(entry.artifact.files[0])
                for entry in _entries(request, name, store)
                if entry.artifact.files
            }
            Device(
                bench, models, shared, kept, settings, progress=board.device(name), stop=stop, outcome=report.outcome
            ).measure(tasks)

    # What intervals are computed with takes a tenth of a second to load: now, while the devices are opened and probed.
    threading.Thread(target=import_module, args=("numpy",), daemon=True).start()
    for ran in (ended := side_by_side(request.devices, work, stop)):
        report = reports[ran.device]
        report.stopped = ran.stopped
        report.error = ran.error if isinstance(ran.error, PocketzooError) else None
    fault = unexpected(ended)
    if fault is not None:
        raise fault
    return list(reports.values())


def state_of(reports: Sequence[Report]) -> State:
    """The state a campaign ends in: done, interrupted, or incomplete where a device did not measure all it should."""
    if any(report.stopped for report in reports):
        return "interrupted"
    return "incomplete" if any(report.error for report in reports) else "done"


def publish(store: Store, measurements: Sequence[Measurement]) -> int:
    """Append measurements to their zoo entries; failed ones are kept in the results only.

    Returns:
        How many were new to the zoo.
    """
    return sum(store.attach(m) for m in measurements if m.verdict.name != "failed")


def _entries(request: Request, device: str, store: Store) -> list[Entry]:
    found = [entries_of(store, group.models) for group in request.groups if device in group.devices]
    return [entry for entries in found for entry in entries]
