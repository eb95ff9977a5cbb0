"""A host's devices: examined, and kept ready between two turns so that a campaign does not open them for each."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from devices.doctor import condition_checks, identity_checks
from devices.errors import DeviceBusy
from devices.inventory import load_inventory
from devices.session import open_session
from devices.spec import DeviceSpec, LocalTransport
from harness.during import look
from harness.execute import Bench, prepare
from harness.farm.offers import hardware_of
from harness.farm.records import Offer
from harness.farm.runners import Brought, ForJob
from harness.registry import Registry
from pocketzoo.errors import PocketzooError

IDLE_S = 5.0
"""A device is let go of when no turn has come for so long."""
BUSY_S = 30.0
"""How long a turn waits for a device that somebody beside the farm has just taken."""


class Hands(Protocol):
    """How a host reaches devices."""

    def specs(self) -> list[DeviceSpec]:
        """Those it may offer."""
        ...

    def examine(self, spec: DeviceSpec, host: str) -> Offer:
        """The device as it can be offered now, or the reason why not. Never raises for a device."""
        ...

    def open(self, spec: DeviceSpec, registry: Registry | None) -> AbstractContextManager[Bench]:
        """The device, owned and ready to measure with a runner out of the registry; None: this host's own.

        Raises:
            PocketzooError: it cannot be used.
        """
        ...


class Inventoried:
    """The devices of an inventory.

    Args:
        inventory: a file over the shipped one, or None.
        only: offer these alone; all that answer where empty.
    """

    def __init__(self, inventory: Path | None, only: tuple[str, ...] = ()) -> None:
        self._inventory = inventory
        self._only = only

    def specs(self) -> list[DeviceSpec]:
        """Those of the inventory; devices of the lab come and go with it.

        Raises:
            BadInput: the file is not right, or names in ``only`` are not in it.
        """
        known = load_inventory(self._inventory)
        return [known.get(name) for name in self._only] if self._only else list(known)

    def examine(self, spec: DeviceSpec, host: str) -> Offer:
        """What ``devices doctor`` finds decides: one check that fails, and it is not offered."""
        offer = Offer(device=spec.name, host=host, tags=spec.tags, runner=spec.runner)
        try:
            with open_session(spec) as session:
                facts, conditions = session.facts(), session.conditions()
                hardware = hardware_of(session.hardware, socket.gethostname())
        except DeviceBusy as error:
            return _with(offer, reason=error.what, owner="somebody beside the farm")
        except PocketzooError as error:
            return _with(offer, reason=error.what)
        checks = [*identity_checks(spec, facts), *condition_checks(spec, conditions, cores=facts.cores or 1)]
        failed = "; ".join(f"{check.name}: {check.says}" for check in checks if check.outcome == "fail")
        return _with(
            offer,
            hardware=hardware,
            fingerprint=facts.fingerprint,
            soc=facts.soc or spec.soc,
            model=facts.model or spec.model,
            abis=facts.abis,
            reason=failed or None,
        )

    @contextmanager
    def open(self, spec: DeviceSpec, registry: Registry | None) -> Iterator[Bench]:
        """See :class:`Hands`."""
        with open_session(spec, wait_s=BUSY_S) as session:
            yield prepare(session, registry)


class Warm:
    """One device, opened for the first turn and kept while turns follow each other.

    Args:
        hands: how it is reached.
        spec: the device.
        brought: runners that came for jobs.
    """

    def __init__(self, hands: Hands, spec: DeviceSpec, brought: Brought | None = None) -> None:
        self.spec = spec
        self._hands = hands
        self._brought = brought or Brought()
        self._turn = threading.Lock()
        self._open: contextlib.ExitStack | None = None
        self._bench: Bench | None = None
        self._binaries: Mapping[str, str] = {}
        self._used = 0.0

    @property
    def held(self) -> bool:
        """Whether this host owns it at the moment."""
        return self._bench is not None or self._turn.locked()

    def idle(self, *, idle_s: float = IDLE_S) -> bool:
        """Whether it is open and no turn has used it for so many seconds."""
        return self._bench is not None and not self._turn.locked() and time.monotonic() - self._used >= idle_s

    @contextmanager
    def turn(self, binaries: Mapping[str, str]) -> Iterator[Bench]:
        """The device for one turn; others wait. After an error, or for other runners, it is opened anew.

        Args:
            binaries: the runners to measure with, ``name/abi`` -> digest; this host's own where they name none.
        """
        with self._turn:
            try:
                mine = {known: d for known, d in binaries.items() if known.partition("/")[0] == self.spec.runner}
                if self._bench is not None and mine != self._binaries:
                    self._let_go()
                if self._bench is None:
                    here = isinstance(self.spec.transport, LocalTransport)
                    self._open, self._binaries = contextlib.ExitStack(), mine
                    registry = ForJob(mine, self._brought, here=here)
                    self._bench = self._open.enter_context(self._hands.open(self.spec, registry))
                else:
                    fresh = look(self._bench.session, here=self._bench.here)
                    self._bench = replace(self._bench, opened=fresh)
                yield self._bench
            except BaseException:
                self._let_go()
                raise
            self._used = time.monotonic()

    def let_go(self, *, idle_s: float = IDLE_S) -> None:
        """Close it where no turn has used it for so many seconds."""
        if self._bench is not None and self._turn.acquire(blocking=False):
            try:
                if self._bench is not None and time.monotonic() - self._used >= idle_s:
                    self._let_go()
            finally:
                self._turn.release()

    def _let_go(self) -> None:
        stack, self._open, self._bench = self._open, None, None
        if stack is not None:
            with contextlib.suppress(PocketzooError):
                stack.close()


def _with(offer: Offer, **changes: object) -> Offer:
    import msgspec

    return msgspec.structs.replace(offer, **changes)
