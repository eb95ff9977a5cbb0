"""A host of a farm as a process: a Dask worker for the host, and one for each device while it is healthy.

A device that comes is a Dask worker that starts, one that goes is a worker that retires: its turns go back to the queue
by Dask's own means. Everything of Dask runs in one event loop; each device's worker has one thread, which owns the
device while it works.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from devices.spec import DeviceSpec
from harness.farm.benches import Hands, Warm
from harness.farm.offers import device_resource, facts_resource
from harness.farm.records import Host, Offer
from harness.farm.runners import Brought, RunnerTrust
from harness.farm.spool import RETRY_S, Spool
from harness.farm.turns import DATABASE_S, Turns
from harness.farm.versions import mine
from harness.reference import Kept
from harness.results import Results, Unreachable
from pocketzoo.errors import PocketzooError
from pocketzoo.farm.gate import close_gate, disarm
from pocketzoo.farm.scheduler import configure, silence
from pocketzoo.farm.security import security_for
from zoo.store import Store

EXAMINED_AT_ONCE = 8
FEW_MS = 2000
"""Between two signs of life where a farm has up to 200 workers, by Dask's reckoning."""
LESS_OFTEN = 4
STOP_S = 30.0
"""How long turns may take to end their repeat when the host is stopped."""


@dataclass(frozen=True)
class Config:
    """How a host takes part.

    Args:
        address: of the scheduler, checked.
        name: of the host; no two hosts of a farm have one.
        certs: see :func:`pocketzoo.farm.security.security_for`.
        check_s: between two examinations of a device, in seconds.
        cpu: jobs without a device that it takes at once; 0: none.
        gpu: GPUs it offers to jobs.
        database_s: see :data:`harness.farm.turns.DATABASE_S`.
        runners: whose runners it starts on its devices beside its own.
    """

    address: str
    name: str
    certs: str | None = None
    check_s: float = 30.0
    cpu: int = 0
    gpu: int = 0
    database_s: float = DATABASE_S
    runners: RunnerTrust = field(default_factory=RunnerTrust)


class FarmHost:
    """See the module.

    Args:
        config: how it takes part.
        hands: its devices.
        results: the farm's database.
        store: its zoo.
        told: is told what a person should know, a line at a time.
    """

    def __init__(
        self, config: Config, hands: Hands, results: Results, *, store: Store, told: Callable[[str], None]
    ) -> None:
        self.config = config
        self._hands = hands
        self._spool = Spool(results)
        self._store = store
        self._told = told
        self._kept = Kept()
        self._brought = Brought(config.runners)
        self._security = security_for(config.address, config.certs)
        self._folder = Path(tempfile.mkdtemp(prefix="pocketzoo-farm-"))
        self._pool = ThreadPoolExecutor(EXAMINED_AT_ONCE, thread_name_prefix="examine")
        self._withheld: dict[str, Offer] = {}
        self._waiting = 0
        self._tended: dict[str, asyncio.Task[None]] = {}
        self._host: Any = None
        self._joined = asyncio.Event()
        self._ending = False

    async def serve(self) -> None:
        """Take part until cancelled; a scheduler that goes away is waited for."""
        configure()
        close_gate()
        silence()
        delivering = asyncio.create_task(self._deliver())
        devices = asyncio.create_task(self._devices())
        try:
            await self._stay_joined()
        finally:
            self._ending = True
            for task in (delivering, devices, *self._tended.values()):
                task.cancel()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(
                    asyncio.gather(delivering, devices, *self._tended.values(), return_exceptions=True), STOP_S + 5
                )
            if self._host is not None:
                await _closed(self._host)
            self._pool.shutdown(wait=False, cancel_futures=True)
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _stay_joined(self) -> None:
        away = False
        while True:
            try:
                self._host = await self._worker(
                    self.config.name, {"cpu": self.config.cpu, "gpu": self.config.gpu}, self._host_record,
                    threads=max(1, self.config.cpu + self.config.gpu),
                )  # fmt: skip
            except (TimeoutError, OSError, RuntimeError, ValueError) as error:
                if not away:
                    self._told(f"the scheduler at {self.config.address} does not let us in; trying on: {error}")
                away = True
                await asyncio.sleep(RETRY_S)
                continue
            away = False
            self._told(f"{self.config.name} is part of the farm at {self.config.address}")
            self._joined.set()
            await self._host.finished()
            self._joined.clear()
            self._told("the scheduler went away; waiting for it")
            away = True

    async def _worker(
        self,
        name: str,
        resources: dict[str, float],
        record: Callable[[], msgspec.Struct],
        *,
        threads: int = 1,
        plugins: tuple[Any, ...] = (),
        turns: Turns | None = None,
    ) -> Any:
        """A Dask worker that has joined. ``record`` goes along with every heartbeat; tasks find ``turns`` on it."""
        from distributed.worker import DEFAULT_METRICS

        async def told(_worker: Any) -> str:
            return msgspec.json.encode(record()).decode()

        worker = _quiet_worker()(
            self.config.address,
            nthreads=threads,
            name=name,
            resources={key: value for key, value in resources.items() if value},
            security=self._security,
            metrics={**DEFAULT_METRICS, "farm": told},
            local_directory=str(self._folder),
            memory_limit=0,
            plugins=plugins,
            dashboard=False,
            dashboard_address="127.0.0.1:0",
            extensions={},
            death_timeout=20,
            # Plain TCP is for one machine alone: nobody else may reach a worker either.
            host="127.0.0.1" if self.config.address.startswith("tcp://") else None,
            protocol=self.config.address.partition("://")[0],
        )
        disarm(worker)
        worker.turns = turns  # before it joins: the first task comes at once
        try:
            await worker
        except BaseException:
            await _closed(worker)
            raise
        disarm(worker)
        return worker

    def _host_record(self) -> Host:
        return Host(
            name=self.config.name,
            versions=mine(),
            results=self._spool.results.url,
            withheld=tuple(self._withheld.values()),
            waiting=self._waiting,
            cpu=self.config.cpu,
            gpu=self.config.gpu,
        )

    async def _deliver(self) -> None:
        """Bring what waits on this disk to the database as soon as it is there."""
        loop = asyncio.get_running_loop()
        while True:
            self._waiting = self._spool.waiting()
            if self._waiting:
                with contextlib.suppress(Unreachable):
                    try:
                        count = await loop.run_in_executor(self._pool, self._spool.deliver)
                        if count:
                            self._told(f"{count} results that waited for the database are stored now")
                    except PocketzooError as error:
                        if not isinstance(error, Unreachable):
                            self._told(f"results that wait cannot be delivered: {error.what}")
                            await asyncio.sleep(self.config.check_s)
            await asyncio.sleep(RETRY_S)

    async def _devices(self) -> None:
        """Tend each device of the inventory; the lab's come and go with it."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                specs = await loop.run_in_executor(self._pool, self._hands.specs)
            except PocketzooError as error:
                self._told(f"the inventory cannot be read: {error.what}")
                specs = []
            for spec in specs:
                task = self._tended.get(spec.name)
                if task is None or task.done():
                    self._tended[spec.name] = asyncio.create_task(_Tended(self, spec).tend())
            await asyncio.sleep(self.config.check_s)


class _Tended:
    """One device of a host: examined, offered while it is healthy, taken back when it is not."""

    def __init__(self, host: FarmHost, spec: DeviceSpec) -> None:
        self._farm = host
        self._spec = spec
        self._warm = Warm(host._hands, spec, host._brought)
        self._worker: Any = None
        self._offer: Offer | None = None
        self._look = asyncio.Event()
        self._gone = False
        self._stop = threading.Event()
        self._turns: Turns | None = None

    @property
    def _name(self) -> str:
        return f"{self._farm.config.name}/{self._spec.name}"

    async def tend(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._farm._joined.wait()
                if not self._warm.held or self._gone:
                    self._gone = False
                    examined = await loop.run_in_executor(
                        self._farm._pool, self._farm._hands.examine, self._spec, self._farm.config.name
                    )
                    await self._act(await self._claimed(examined), loop)
                elif not self._offering and self._offer is not None and self._farm._joined.is_set():
                    await self._act(self._offer, loop)  # the scheduler went away and came back during a turn
                await self._wait()
        finally:
            await self._take_back()
            self._warm.let_go(idle_s=0)

    @property
    def _offering(self) -> bool:
        from distributed.core import Status

        return self._worker is not None and self._worker.status == Status.running

    async def _wait(self) -> None:
        """Until the next examination, or until somebody has a reason to look; an idle device is let go of meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._farm.config.check_s
        while loop.time() < until and not self._look.is_set():
            if self._worker is not None and not self._offering:
                break
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._look.wait(), min(1.0, until - loop.time()))
            if self._warm.idle():
                await loop.run_in_executor(self._farm._pool, self._warm.let_go)
        self._look.clear()

    async def _claimed(self, offer: Offer) -> Offer:
        """The offer, held back where another host offers the same hardware."""
        if offer.reason is not None or not offer.hardware:
            return offer
        try:
            holder = await self._farm._host.scheduler.farm_claim(hardware=offer.hardware, member=self._name)
        except (OSError, AttributeError):
            return offer  # the scheduler is going away; offered it is not before it is back
        if holder != self._name:
            return msgspec.structs.replace(offer, reason=f"{holder} offers the same hardware ({offer.hardware})")
        return offer

    async def _act(self, offer: Offer, loop: asyncio.AbstractEventLoop) -> None:
        before, self._offer = self._offer, offer
        if offer.reason is not None:
            self._farm._withheld[self._spec.name] = offer
            if before is None or before.reason is None:
                self._farm._told(f"{self._spec.name} is not offered: {offer.reason}")
            await self._take_back()
            return
        self._farm._withheld.pop(self._spec.name, None)
        if self._offering and before is not None and before.fingerprint == offer.fingerprint:
            return
        await self._take_back()
        self._stop = threading.Event()

        def lost() -> None:
            self._gone = True
            loop.call_soon_threadsafe(self._look.set)

        self._turns = Turns(
            self._farm.config.name, self._warm, self._farm._spool, self._farm._store, self._stop, lost,
            kept=self._farm._kept, database_s=self._farm.config.database_s,
        )  # fmt: skip
        resources = {device_resource(self._spec.name): 1.0, facts_resource(offer.fingerprint): 1.0}
        try:
            self._worker = await self._farm._worker(
                self._name, resources, self._record, plugins=(_teardown(self._stop),), turns=self._turns
            )
        except (TimeoutError, OSError, RuntimeError, ValueError):
            self._worker = None  # tried again at the next look
            return
        self._farm._told(f"{self._spec.name} is offered")

    def _record(self) -> Offer:
        offer = self._offer or Offer(device=self._spec.name, host=self._farm.config.name, reason="not examined yet")
        return msgspec.structs.replace(offer, owner=self._turns.owner if self._turns is not None else None)

    async def _take_back(self) -> None:
        """No turn begins here any more; the one that runs ends with its repeat and goes back to the queue."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        self._stop.set()
        with contextlib.suppress(OSError, asyncio.TimeoutError, RuntimeError):
            await asyncio.wait_for(worker.close_gracefully(reason="not offered any more"), STOP_S)
        await _closed(worker)


@cache
def _quiet_worker() -> Any:
    """Dask's worker; one of many says less often that it lives.

    Dask lets all workers together do so 200 times a second, which is half a core where a host has fifty of them. That
    a worker is gone shows in its connection; what its word tells beside that is who owns the device.
    """
    from distributed.worker import Worker

    class QuietWorker(Worker):  # type: ignore[misc]
        async def heartbeat(self) -> None:
            await super().heartbeat()
            beat = self.periodic_callbacks.get("heartbeat")
            if beat is not None and beat.callback_time > FEW_MS:
                beat.callback_time *= LESS_OFTEN

    return QuietWorker


def _teardown(stop: threading.Event) -> Any:
    """A Dask plugin that tells the turn that runs to end when its worker closes, for whatever reason."""
    from distributed.diagnostics.plugin import WorkerPlugin

    class Teardown(WorkerPlugin):  # type: ignore[misc]
        name = "pocketzoo-stop"

        def teardown(self, worker: Any) -> None:  # noqa: ARG002  Dask passes it by name
            stop.set()

    return Teardown()


async def _closed(worker: Any) -> None:
    with contextlib.suppress(Exception):
        await asyncio.wait_for(worker.close(timeout=STOP_S, executor_wait=False), STOP_S)
