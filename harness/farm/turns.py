"""The two tasks of a farm: a campaign planned on a device, and a few of its cells measured there.

A task is the name of one of the two functions at the end and a :class:`harness.farm.records.Job` as JSON. They find
the device through the Dask worker they run in; its thread owns the device while it works.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from devices.errors import DeviceError
from harness.campaign import Planned, plan_for
from harness.execute import Bench
from harness.farm.benches import Warm
from harness.farm.records import Job, Measured, PlannedCells
from harness.farm.spool import Spool, Spooled
from harness.farm.versions import check, mine
from harness.instructions import counting
from harness.measuring import Device, Outcome, Settings
from harness.progress import Silent
from harness.reference import Kept
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.farm.failure import failed, said_of
from pocketzoo.farm.running import unwanted
from zoo import getting
from zoo.store import Store

DATABASE_S = 900.0
"""How long a turn waits for the database before it goes back to the queue."""
BEHIND_S = 2.0
"""How far a host's clock may be behind the client's; whether a cell was measured in a campaign is told by the time."""


Result = TypeVar("Result")


class _Either(threading.Event):
    """Set when an event is, or when a question is answered with yes."""

    def __init__(self, event: threading.Event, asked: Callable[[], bool]) -> None:
        super().__init__()
        self._event = event
        self._asked = asked

    def is_set(self) -> bool:
        return self._event.is_set() or self._asked()

    def wait(self, timeout: float | None = None) -> bool:
        return self._event.wait(timeout) or self._asked()


class Turns:
    """What the tasks do on one device.

    Args:
        host: this host's name.
        warm: the device.
        spool: where results wait.
        store: the zoo of this host.
        stop: when set, no further repeat begins.
        lost: told when the device does not answer any more.
        database_s: see DATABASE_S.
    """

    def __init__(
        self,
        host: str,
        warm: Warm,
        spool: Spool,
        store: Store,
        stop: threading.Event,
        lost: Callable[[], None],
        *,
        kept: Kept | None = None,
        database_s: float = DATABASE_S,
    ) -> None:
        self.owner: str | None = None
        self._host = host
        self._warm = warm
        self._spool = spool
        self._store = store
        self._stop = stop
        self._lost = lost
        self._kept = kept or Kept()
        self._database_s = database_s

    def plan(self, job: Job) -> PlannedCells:
        """The cells of a campaign on this device.

        Raises:
            TaskFailed: the device was lost, or the database is away: another host, or a later moment, may do.
        """
        try:
            return self._on_device(job, self._plan)
        except PocketzooError as error:
            return PlannedCells(host=self._host, error=said_of(error))

    def measure(self, job: Job, cancelled: Callable[[], bool] = lambda: False) -> Measured:
        """Measure the cells of a turn; what is measured already is not measured again.

        Args:
            job: the turn.
            cancelled: when it is true no further repeat begins.

        Raises:
            TaskFailed: see :meth:`plan`; the repeats that were measured are stored.
        """
        try:
            return self._on_device(job, partial(self._measure, _Either(self._stop, cancelled)))
        except PocketzooError as error:
            return Measured(host=self._host, error=said_of(error))

    def _on_device(self, job: Job, work: Callable[[Job, Bench, Planned, Spooled], Result]) -> Result:
        from harness.results import Unreachable

        spooled = Spooled(self._spool, self._stop, limit_s=self._database_s)
        self.owner = job.campaign
        ended: PocketzooError
        try:
            self._check(job, spooled)
            self._fetch(job)
            with self._warm.turn(job.binaries) as bench:
                ready = counting(bench, job.request.metric)
                return work(job, ready, plan_for(job.request, ready, self._store), spooled)
        except DeviceError as error:
            self._lost()
            ended = error
        except Unreachable as error:
            ended = error
        except KeyboardInterrupt:
            ended = WorkFailed(f"{self._host} was stopped", where=job.device)
        finally:
            self.owner = None
        # Outside of the handlers: an error's context travels with it, and the gate lets no class of ours pass but one.
        raise failed(ended)

    def _check(self, job: Job, spooled: Spooled) -> None:
        check(mine(), job.versions, self._host)
        now = datetime.now(UTC)
        behind = datetime.fromisoformat(job.sent) - now
        if behind > timedelta(seconds=BEHIND_S):
            raise BadInput(
                f"the clock of {self._host} is {behind.total_seconds():.0f} s behind the client's",
                where=self._host,
                hint="let both take the time from one source (NTP)",
            )
        if not spooled.settled(lambda: self._spool.knows(job.campaign)):
            raise BadInput(
                f"{self._host} stores its results in another database: it knows no campaign {job.campaign}",
                where=self._spool.results.url,
                hint="set POCKETZOO_RESULTS to the same PostgreSQL on every host and for the client",
            )

    def _fetch(self, job: Job) -> None:
        """Models by their digest: out of this host's zoo, else from its remotes, verified and kept."""
        for group in job.request.groups:
            if job.device in group.devices:
                for reference in group.models:
                    try:
                        getting.get(reference, store=self._store)
                    except BadInput as error:
                        # The client has it: it pinned the digest. What travels goes through the remote.
                        raise BadInput(
                            error.what,
                            where=error.where,
                            detail=error.detail,
                            hint=f"zoo push {reference.partition('@')[0]}, on the client: models come from the remote",
                        ) from error

    def _plan(self, _job: Job, _bench: Bench, planned: Planned, _spooled: Spooled) -> PlannedCells:
        return PlannedCells(
            host=self._host,
            cells=tuple(msgspec.to_builtins(task.cell) for task in planned.tasks),
            impossible=planned.impossible,
        )

    def _measure(self, stop: threading.Event, job: Job, bench: Bench, planned: Planned, spooled: Spooled) -> Measured:
        tasks = [task for task in planned.tasks if task.cell.key in job.cells]
        outcome = Outcome()
        settings = Settings(
            since=job.since,
            seed=job.request.seed,
            retry=job.request.retry,
            fresh=job.request.fresh,
            deadline_s=job.request.deadline_s,
            failed=job.failed,
        )
        device = Device(
            bench, self._models(job), spooled, self._kept, settings,
            progress=Silent(), stop=stop, outcome=outcome,
        )  # fmt: skip
        device.measure(tasks)
        spooled.settled(lambda: None)  # a turn has ended when its results are where everybody sees them
        gone = len(job.cells) - len(tasks)
        changed = WorkFailed(
            f"{gone} cells cannot be measured any more, because the device, its system or the runner has changed",
            where=job.device,
            hint="harness run, as a new campaign",
        )
        return Measured(
            host=self._host,
            ended=tuple(m.job_key for m in outcome.measurements),
            stored=outcome.stored,
            error=said_of(changed) if gone else None,
        )

    def _models(self, job: Job) -> dict[str, Path]:
        from harness.campaign import entries_of

        groups = [group for group in job.request.groups if job.device in group.devices]
        entries = [entry for group in groups for entry in entries_of(self._store, group.models)]
        return {e.artifact.digest: self._store.file(e.artifact.files[0]) for e in entries if e.artifact.files}


def plan(document: str) -> str:
    """The task ``plan``: a :class:`Job` as JSON in, :class:`PlannedCells` as JSON out."""
    return msgspec.json.encode(_turns().plan(msgspec.json.decode(document, type=Job))).decode()


def measure(document: str) -> str:
    """The task ``measure``: a :class:`Job` as JSON in, :class:`Measured` as JSON out."""
    from distributed import get_worker

    return msgspec.json.encode(
        _turns().measure(msgspec.json.decode(document, type=Job), unwanted(get_worker()))
    ).decode()


def _turns() -> Turns:
    from distributed import get_worker

    turns: Turns = get_worker().turns
    return turns
