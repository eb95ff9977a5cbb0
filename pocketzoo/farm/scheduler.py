"""The scheduler of a farm: Dask's, with a closed gate, and the few questions that members of a farm ask it.

``farm_hello``   which farm protocol and which Dask it speaks
``farm_tasks``   the tasks whose key begins with a prefix: state, priority, where
``farm_claim``   which host offers a piece of hardware: two that reach one phone must not both offer it
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pocketzoo.farm.gate import close_gate, disarm
from pocketzoo.farm.security import check_address, security_for

PROTOCOL = 1
"""Raised when members of two versions would not understand each other."""

ALLOWED_DEATHS = 3
"""Workers that may die under one task before it is given up."""


def configure() -> None:
    """Dask's settings for every process of a farm. Called before anything of it is made."""
    import dask

    dask.config.set(
        {
            "distributed.worker.profile.enabled": False,
            "distributed.admin.system-monitor.gil.enabled": False,
            "distributed.admin.low-level-log-length": 100,
            "distributed.admin.log-length": 1000,
            "distributed.comm.timeouts.connect": "10s",
            "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
            # A turn lies at a worker until its device is free, which may take days: that makes it no long task.
            "distributed.scheduler.work-stealing": True,
            "distributed.scheduler.worker-saturation": "inf",
            "distributed.worker.memory.target": False,
            "distributed.worker.memory.spill": False,
            "distributed.worker.memory.pause": False,
            "distributed.worker.memory.terminate": False,
            "distributed.worker.daemon": False,
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            # A host has a worker for each device: what each does by the clock it does fifty times. Dask looks at its
            # event loop 50 times a second and asks the system for its load twice, and nobody here reads either.
            "distributed.admin.tick.interval": "2s",
            "distributed.admin.tick.cycle": "60s",
            "distributed.admin.tick.limit": "60s",
            "distributed.admin.system-monitor.interval": "30s",
            "distributed.admin.system-monitor.disk": False,
        }
    )


def silence() -> None:
    """Dask talks of each connection that comes and goes; what matters is told in words of ours. After its import."""
    import distributed  # noqa: F401  sets the levels of its own loggers when it is imported

    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def serve(address: str, certs: str | None, told: Callable[[str], None]) -> None:
    """Be the scheduler until the process ends.

    Args:
        address: to listen at; port 0 takes a free one.
        certs: see :func:`pocketzoo.farm.security.security_for`.
        told: is told the address it listens at.

    Raises:
        BadInput: not an address, or no certificate.
        OSError: the address cannot be listened at.
    """
    asyncio.run(_serve(address, certs, told))


async def _serve(address: str, certs: str | None, told: Callable[[str], None]) -> None:
    configure()
    close_gate()
    from distributed.scheduler import Scheduler
    from distributed.stealing import WorkStealing

    silence()
    protocol, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    security = security_for(check_address(address if port != "0" else f"{protocol}://{host}:1"), certs)
    async with Scheduler(
        host=host.strip("[]"),
        port=int(port),
        protocol=protocol,
        security=security,
        extensions={"stealing": WorkStealing},
        dashboard=False,
        dashboard_address="127.0.0.1:0",
        idle_timeout=None,
    ) as scheduler:
        disarm(scheduler)
        Questions(scheduler).answer()
        told(scheduler.address)
        await scheduler.finished()


class Questions:
    """What a scheduler of a farm answers beyond Dask's own; messages are plain values, nothing is unpickled.

    Args:
        scheduler: Dask's.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._claims: dict[str, tuple[str, str]] = {}

    def answer(self) -> None:
        """Begin to."""
        self._scheduler.handlers.update(
            farm_hello=self.hello, farm_tasks=self.tasks, farm_claim=self.claim, farm_yield=self.give_up
        )

    def hello(self) -> dict[str, Any]:
        """What it is."""
        import distributed

        return {"farm": PROTOCOL, "dask": distributed.__version__}

    def tasks(self, prefix: str = "") -> list[list[Any]]:
        """[key, state, priority, host] of each unfinished task whose key begins so. A host is a worker's name."""
        found = []
        for key, task in self._scheduler.tasks.items():
            if isinstance(key, str) and key.startswith(prefix):
                worker = task.processing_on
                first = -task.priority[0] if task.priority else 0
                found.append([key, task.state, float(first), str(worker.name) if worker is not None else None])
        return found

    def claim(self, hardware: str, member: str) -> str:
        """The member that offers a piece of hardware: who asked first and is still here.

        Args:
            hardware: names it the same on every host.
            member: ``host/device``, which is also the name of the Dask worker that will offer it.
        """
        holder = self._claims.get(hardware)
        if holder is None or holder[0] == member or not self._here(holder[1]):
            self._claims[hardware] = (member, member.partition("/")[0])
            return member
        return holder[0]

    def give_up(self, hardware: str, member: str) -> None:
        """It is not offered any more."""
        if self._claims.get(hardware, ("", ""))[0] == member:
            del self._claims[hardware]

    def _here(self, host: str) -> bool:
        return host in self._scheduler.aliases
