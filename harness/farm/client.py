"""A campaign sent to a farm and watched. What is measured goes from the hosts to the database; the client may leave."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from harness.campaign import Report
from harness.farm import offers as choosing
from harness.farm.answers import Lost, Unknown, identity, text_of
from harness.farm.records import Job, Measured, Offer, PlannedCells
from harness.farm.seeing import LOOK_S, Seen, drop, offered, parse_key, queue, queued, see
from harness.farm.versions import check, mine
from harness.job import Cell
from harness.plan import Impossible
from harness.progress import Board, Progress
from harness.registry import Registry
from harness.request import Request
from harness.results import Campaign, Results, Unreachable
from pocketzoo.errors import DeviceUnavailable, PocketzooError, WorkFailed
from pocketzoo.farm.failure import error_of
from pocketzoo.farm.link import FarmUnavailable, connected
from zoo.measurement import Measurement

RETURNS = 3
"""How often a turn goes back to the queue: for a lost device, for a worker that died under it, for a lost scheduler."""
TURN = 6
"""Cells of a turn: measured interleaved, as at home; then another campaign's turn may come."""
AWAY_S = 1800.0
"""How long a device that nobody offers any more is waited for: a host that reboots, a phone that cools down."""
LOOK_FOR_AWAY_S = 15.0
DATABASE_S = 900.0
"""How long the database is waited for."""

Result = TypeVar("Result")


@dataclass
class _Turn:
    """Some cells of a device that are measured one after the other's repeats."""

    device: str
    cells: tuple[str, ...]
    priority: int
    returns: int = 0
    future: Any = None
    key: str = ""


@dataclass
class _Device:
    """What is known of one device of the campaign."""

    report: Report
    progress: Progress
    cells: dict[str, Cell] = field(default_factory=dict)
    fingerprint: str = ""
    ended: set[str] = field(default_factory=set)


class Watched:
    """A campaign on a farm.

    Args:
        request: with models by digest; ``farm`` names the scheduler.
        campaign: as stored.
        results: the farm's database.
        board: shows what runs.
        told: is told what a person should know.
        certs: see :func:`pocketzoo.farm.security.security_for`.
        failed: cells that failed in this campaign and are not tried again, by job key.
        wait_s: how long a device that nobody offers is waited for before it begins.
        away_s: how long one that nobody offers any more is waited for; then its cells are given up.
        turn: cells of a turn.
    """

    def __init__(
        self,
        request: Request,
        campaign: Campaign,
        results: Results,
        board: Board,
        told: Callable[[str], None],
        *,
        certs: str | None = None,
        failed: Mapping[str, Measurement] | None = None,
        wait_s: float = 0.0,
        away_s: float = AWAY_S,
        turn: int = TURN,
    ) -> None:
        self._request = request
        self._campaign = campaign
        self._results = results
        self._told = told
        self._certs = certs
        self._failed = dict(failed or {})
        self._wait_s = wait_s
        self._away_s = away_s
        self._turn = turn
        self._devices = {name: _Device(Report(name), board.device(name)) for name in request.devices}
        self._plans: dict[str, Any] = {}
        self._turns: list[_Turn] = []
        self._gone: dict[str, float] = {}
        self._looked = 0.0
        self._began = False
        self._scheduler = ""
        self._before: set[str] = set()
        self._stored: dict[str, dict[str, Cell]] = {}
        self._binaries = {f"{binary.name}/{binary.abi}": binary.sha256 for binary in Registry().in_use()}

    def carry_out(self) -> list[Report]:
        """Send what the campaign lacks, and watch until each cell has ended or its device is given up.

        Raises:
            BadInput: see :func:`pocketzoo.farm.link.connected`; nobody offers a device; versions differ.
            KeyboardInterrupt: the farm goes on.
        """
        for lost in range(RETURNS + 1):
            try:
                with connected(self._request.farm or "", self._certs, wait_s=10.0 if not lost else 60.0) as client:
                    self._send(client)
                    self._watch(client)
                break
            except FarmUnavailable as error:
                if not self._began:
                    raise
                if lost == RETURNS:
                    self._give_up(self._turns, error)
                    break
                self._told(f"{error.what}; going on when it is back")
        for device in self._devices.values():
            device.progress.end()
        return [device.report for device in self._devices.values()]

    def _send(self, client: Any) -> None:
        names = [name for name, device in self._devices.items() if device.report.error is None]

        def wanted(seen: Seen) -> None:
            missing = choosing.missing(names, seen.offers)
            if missing:
                raise choosing.NobodyOffers(missing, seen.offers)

        # What ran before a scheduler went away is offered again when its hosts have found the new one.
        seen = offered(client, wanted, max(self._wait_s, 60.0 if self._began else 0.0), self._told)
        self._check(seen)
        self._began, self._turns, self._scheduler = True, [], identity(client)
        self._before, self._stored = self._ended(), self._wanted()
        self._plans = self._submit_plans(client, seen)

    def _take_planned(self, client: Any) -> None:
        """What devices have said by now: stored as wanted where the campaign had nothing there, and queued."""
        done = [name for name, future in self._plans.items() if future.done()]
        if not done:
            return
        for name in done:
            self._planned(name, self._plans.pop(name), self._stored.get(name, {}))
        new = [cell for name in done if name not in self._stored for cell in self._devices[name].cells.values()]
        if new:
            self.settled(lambda: self._results.want(self._campaign.id, new))
        self._queue(client, done)

    def _queue(self, client: Any, names: Sequence[str]) -> None:
        """Send the turns of devices that have just been planned."""
        # The queue as it stands now: it went on while the devices were planned.
        tasks, ended = queue(client), self._before
        waiting = queued(tasks)
        parsed = [(key, parse_key(key)) for key, *_ in tasks]
        there = {n.device: key for key, n in parsed if n and n.kind == "turn" and n.campaign == self._campaign.id}
        for name in names:
            device = self._devices[name]
            left = [key for key in device.cells if key not in ended and key not in self._failed]
            device.ended = {key for key in device.cells if key in ended}
            device.progress.begin(len(left), name)
            if device.report.error is not None or not left:
                continue
            if name in there:
                # They were sent before and are there still; when they are over, the database says what is missing.
                self._turns.append(_Turn(name, tuple(left), 0, key=there[name]))
                continue
            pieces = choosing.in_turns(left, self._turn)
            first = choosing.standing(waiting.get(name, []))
            for cells, priority in zip(pieces, choosing.priorities(len(pieces), first), strict=True):
                self._submit(client, _Turn(name, cells, priority))

    def _check(self, seen: Seen) -> None:
        names = set(self._devices)
        for host in seen.hosts:
            if any(offer.host == host.name and offer.device in names and not offer.reason for offer in seen.offers):
                check(mine(), host.versions, host.name)

    def _submit_plans(self, client: Any, seen: Seen) -> dict[str, Any]:
        """Have each device say which cells the request means there; the futures by device."""
        futures, waiting = {}, seen.queued()
        for name, device in self._devices.items():
            offer = choosing.best(name, seen.offers)
            if device.report.error is not None or offer is None:
                continue
            device.fingerprint = offer.fingerprint
            key = f"plan|{self._campaign.id}|{name}|{secrets.token_hex(4)}"
            # Before every turn that waits: whoever plans learns what it takes; it opens the device for a moment.
            first = choosing.standing(waiting.get(name, [])) + 1
            futures[name] = self._call(client, "plan", key, name, first)
        return futures

    def _planned(self, name: str, future: Any, wanted: Mapping[str, Cell]) -> None:
        """Take in what a device said; ``wanted`` is what the campaign had before."""
        device = self._devices[name]
        try:
            planned = msgspec.json.decode(text_of(future), type=PlannedCells)
        except Lost as error:
            device.report.error = error.error
            return
        if planned.error is not None:
            device.report.error = error_of(planned.error, planned.host)
            return
        cells = {cell.key: cell for cell in (msgspec.convert(one, Cell) for one in planned.cells)}
        device.report.impossible = tuple(Impossible(**msgspec.to_builtins(i)) for i in planned.impossible)
        device.report.changed = tuple(cell for key, cell in wanted.items() if key not in cells)
        device.cells = {key: cell for key, cell in cells.items() if not wanted or key in wanted}

    def _wanted(self) -> dict[str, dict[str, Cell]]:
        """What the campaign wants, by device and job key."""
        found: dict[str, dict[str, Cell]] = {}
        for cell in self.settled(lambda: self._results.wanted(self._campaign.id)):
            found.setdefault(cell.device, {})[cell.key] = cell
        return found

    def _call(self, client: Any, task: str, key: str, device: str, priority: int, cells: tuple[str, ...] = ()) -> Any:
        from distributed import fire_and_forget

        from harness.farm import turns

        groups = [msgspec.structs.replace(g, devices=(device,)) for g in self._request.groups if device in g.devices]
        request = msgspec.structs.replace(self._request, inventory=None, groups=tuple(groups))
        job = Job(
            versions=mine(),
            campaign=self._campaign.id,
            since=self._campaign.started,
            sent=datetime.now(UTC).isoformat(timespec="milliseconds"),
            device=device,
            request=request,
            cells=cells,
            failed=tuple(self._failed),
            binaries=self._binaries,
        )
        resources = {
            choosing.device_resource(device): 1,
            choosing.facts_resource(self._devices[device].fingerprint): 1,
        }
        future = client.submit(
            getattr(turns, task), msgspec.json.encode(job).decode(),
            key=key, resources=resources, retries=RETURNS, priority=priority, pure=False,
        )  # fmt: skip
        if task == "measure":
            fire_and_forget(future)
        return future

    def _submit(self, client: Any, turn: _Turn) -> None:
        turn.key = f"turn|{self._campaign.id}|{turn.device}|{secrets.token_hex(4)}"
        turn.future = self._call(client, "measure", turn.key, turn.device, turn.priority, turn.cells)
        if turn not in self._turns:
            self._turns.append(turn)

    def _watch(self, client: Any) -> None:
        """Until every device is planned and every turn has ended."""
        asked = time.monotonic()
        there: set[str] | None = None
        while self._plans or self._turns:
            if client.status != "running":
                raise FarmUnavailable("the scheduler went away")
            self._take_planned(client)
            self._look_for_gone(client)
            unseen = any(turn.future is None for turn in self._turns)
            if unseen and (there is None or time.monotonic() - asked > 10 * LOOK_S):
                there = {key for key, *_ in queue(client)}
                asked = time.monotonic()
            for turn in list(self._turns):
                if turn.future is None:
                    # Sent by an earlier client, in several turns: over when none of them is there any more.
                    prefix = f"turn|{self._campaign.id}|{turn.device}|"
                    if there is not None and not any(key.startswith(prefix) for key in there):
                        self._turns.remove(turn)
                        self._settle(client, turn)
                elif turn.future.done():
                    self._turns.remove(turn)
                    self._over(client, turn)
            time.sleep(LOOK_S / 5)

    def _look_for_gone(self, client: Any) -> None:
        """Tell of devices that nobody offers any more, and give them up when they stay away."""
        now = time.monotonic()
        if now - self._looked < min(LOOK_FOR_AWAY_S, self._away_s):
            return
        self._looked = now
        waiting = sorted({*self._plans, *(turn.device for turn in self._turns)})
        offers = see(client).offers
        missing = choosing.missing(waiting, offers)
        back = [name for name in waiting if name in self._gone and name not in missing]
        new = [name for name in missing if name not in self._gone]
        self._gone = {name: self._gone.get(name, now) for name in missing}
        if back:
            self._told(f"offered again: {some(back)}")
        if new:
            self._told(f"nobody offers {some(new)} any more; what is left waits for up to {self._away_s:g} s")
        given_up = {name for name in missing if now - self._gone[name] >= self._away_s}
        if given_up:
            self._give_up_devices(client, given_up, offers)

    def _give_up_devices(self, client: Any, names: Collection[str], offers: Sequence[Offer]) -> None:
        parsed = ((key, parse_key(key)) for key, *_ in queue(client))
        drop(client, [key for key, n in parsed if n and n.device in names and n.campaign == self._campaign.id])
        self._turns = [turn for turn in self._turns if turn.device not in names]
        for name in names:
            self._plans.pop(name, None)
            self._gone.pop(name, None)
            self._devices[name].report.error = DeviceUnavailable(
                f"nobody has offered it for {self._away_s:g} s",
                where=name,
                detail=choosing.why_not(name, offers),
                hint=f"harness resume {self._campaign.id} when its host is back; --away waits longer",
            )

    def settled(self, work: Callable[[], Result]) -> Result:
        """What needs the database, when it is there.

        Raises:
            Unreachable: it was away for longer than DATABASE_S.
        """
        until, told = time.monotonic() + DATABASE_S, False
        while True:
            try:
                return work()
            except Unreachable as error:
                if time.monotonic() >= until:
                    raise
                if not told:
                    self._told(f"{error.what}; the farm goes on, waiting for it")
                told = True
                time.sleep(LOOK_S)

    def _over(self, client: Any, turn: _Turn) -> None:
        device = self._devices[turn.device]
        try:
            done = msgspec.json.decode(text_of(turn.future), type=Measured)
        except Unknown:
            # Dask says the same of what a person cancelled and of everything that it knew before a connection broke.
            if client.status != "running" or identity(client) != self._scheduler:
                raise
            if any(key == turn.key for key, *_ in queue(client)):
                raise
            if set(turn.cells) - self._ended():
                hint = f"harness resume {self._campaign.id}"
                device.report.error = WorkFailed("its turns were taken out of the queue", where=turn.device, hint=hint)
            return
        except Lost as error:
            if error.deaths and turn.returns < RETURNS:
                # One of its cells may be what ends workers: from now on each is on its own.
                turn.returns += 1
                left = [key for key in turn.cells if key not in self._ended()]
                self._told(f"{turn.device}: {error.error.what}; {len(left)} cells are tried once more, one at a time")
                for key in left:
                    self._submit(client, _Turn(turn.device, (key,), turn.priority, returns=RETURNS))
                return
            device.report.error = error.error
            return
        device.report.outcome.stored += done.stored
        new = set(done.ended) - device.ended
        device.ended |= new
        for key in new:
            device.progress.step(f"{device.cells[key].label}: measured on {done.host}")
        if done.error is not None:
            device.report.error = error_of(done.error, done.host)

    def _settle(self, client: Any, turn: _Turn) -> None:
        """Turns of an earlier client are over: send again what the database lacks."""
        ended = self._ended()
        left = [key for key in turn.cells if key not in ended]
        device = self._devices[turn.device]
        device.ended |= {key for key in turn.cells if key in ended}
        if left and turn.returns < RETURNS:
            for cells in choosing.in_turns(left, self._turn):
                self._submit(client, _Turn(turn.device, cells, 0, returns=turn.returns + 1))

    def _ended(self) -> set[str]:
        """The job keys that this campaign has measured, or that failed in it. What is older, a turn judges."""
        keys = {cell.key for cell in self.settled(lambda: self._results.wanted(self._campaign.id))}
        if not keys:
            return set()
        found = self.settled(lambda: self._results.latest_summaries(devices=self._request.devices))
        return {m.job_key for m in found if m.job_key in keys and m.time >= self._campaign.started}

    def _give_up(self, turns: Iterable[_Turn], error: PocketzooError) -> None:
        for turn in turns:
            self._devices[turn.device].report.error = error


def some(names: Sequence[str], most: int = 5) -> str:
    """Names for a line of text: the first ones, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
