"""A farm looked at: hosts, offers, queue; and what is chosen or cancelled by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.farm import offers as choosing
from harness.farm.records import Host, Offer
from harness.request import Request
from harness.results import Results
from pocketzoo.errors import BadInput
from pocketzoo.farm.link import ask
from pocketzoo.names import did_you_mean

LOOK_S = 0.5
"""Between two looks while something is waited for."""


Tasks = tuple[tuple[str, str, float, str | None], ...]
"""(key, state, priority, worker) of each unfinished task."""


@dataclass(frozen=True)
class Seen:
    """A farm at one moment: hosts, offers (also those withheld), and unfinished tasks."""

    hosts: tuple[Host, ...]
    offers: tuple[Offer, ...]
    tasks: Tasks

    def queued(self) -> dict[str, list[float]]:
        """See :func:`queued`."""
        return queued(self.tasks)


@dataclass(frozen=True)
class Named:
    """What a task's key says; of a training the recipe and the tag stand for campaign and device."""

    kind: str
    campaign: str
    device: str


def parse_key(key: str) -> Named | None:
    """The campaign and device of a task; None where it is none of ours."""
    parts = key.split("|")
    return Named(*parts[:3]) if len(parts) == 4 and parts[0] in ("plan", "turn", "compress") else None


def queued(tasks: Tasks) -> dict[str, list[float]]:
    """The priorities of the turns that wait or run, by device; a plan comes before all of them and is none."""
    found: dict[str, list[float]] = {}
    for key, _, priority, _ in tasks:
        named = parse_key(key)
        if named is not None and named.kind != "plan":
            found.setdefault(named.device, []).append(priority)
    return found


def queue(client: Any) -> Tasks:
    """What is in the queue; costs less than to look at the whole farm.

    Raises:
        FarmUnavailable: the scheduler does not answer any more.
    """
    return tuple((key, state, first, at) for key, state, first, at in ask(client, "farm_tasks", prefix=""))


def see(client: Any) -> Seen:
    """Look at a farm.

    Raises:
        FarmUnavailable: the scheduler does not answer any more.
    """
    hosts, offers = [], []
    workers = ask(client, "identity", n_workers=-1)["workers"].values()
    for worker in workers:
        text = worker["metrics"].get("farm")
        if not isinstance(text, str):
            continue  # its first heartbeat has not come yet
        if "/" in str(worker["name"]):
            offers.append(msgspec.json.decode(text, type=Offer))
        else:
            hosts.append(msgspec.json.decode(text, type=Host))
    withheld = [offer for host in hosts for offer in host.withheld]
    order = sorted([*offers, *withheld], key=lambda offer: (offer.host, offer.device))
    return Seen(tuple(sorted(hosts, key=lambda host: host.name)), tuple(order), queue(client))


def offered(client: Any, wanted: Callable[[Seen], None], wait_s: float, told: Callable[[str], None]) -> Seen:
    """The farm as soon as it offers what is wanted.

    Args:
        client: of the farm.
        wanted: raises NobodyOffers where something is missing.
        wait_s: how long to wait for it.
        told: is told once what is waited for.

    Raises:
        NobodyOffers: somebody still offers it not; with who offers what.
    """
    until, waiting = time.monotonic() + wait_s, False
    while True:
        seen = see(client)
        try:
            wanted(seen)
            return seen
        except choosing.NobodyOffers as error:
            if time.monotonic() >= until:
                raise
            if not waiting:
                told(f"{error.what}; waiting")
            waiting = True
            time.sleep(min(LOOK_S, max(0.0, until - time.monotonic())))


def cancel(client: Any, campaign: str) -> int:
    """Take a campaign's turns, or the jobs of a recipe, from the queue; what runs ends with its repeat, or at once.

    Returns:
        How many there were.

    Raises:
        BadInput: nothing of that name is there.
    """
    keys = [key for key, *_ in queue(client) if (named := parse_key(key)) is not None and named.campaign == campaign]
    if not keys:
        there = sorted({named.campaign for key, *_ in queue(client) if (named := parse_key(key)) is not None})
        close = did_you_mean(campaign, there)
        raise BadInput(
            f"nothing of {campaign!r} is in the queue",
            detail=(close or (f"in the queue: {', '.join(there)}" if there else "the queue is empty"),),
            hint="harness farm status",
        )
    drop(client, keys)
    return len(keys)


def drop(client: Any, keys: Sequence[str]) -> None:
    """Take tasks from the queue, whoever sent them."""
    from distributed import Future

    client.cancel([Future(key, client) for key in keys], force=True)


def expanded(request: Request, wishes: Sequence[choosing.Wish], seen: Seen) -> Request:
    """The request with each ``--any`` dealt to devices: model by model, the shortest queue first.

    Args:
        request: with its models pinned; groups without devices stand for the wishes.
        wishes: what is asked for beside named devices.
        seen: the farm now.

    Raises:
        NobodyOffers: nothing offered fits a wish.
    """
    if not wishes:
        return request
    queued = {device: len(priorities) for device, priorities in seen.queued().items()}
    groups = []
    for group in request.groups:
        if group.devices:
            groups.append(group)
        for wish in wishes:
            for model, device in zip(
                group.models, choosing.dealt(wish, seen.offers, queued, len(group.models)), strict=True
            ):
                groups.append(msgspec.structs.replace(group, devices=(device,), models=(model,)))
                queued[device] = queued.get(device, 0) + 1
    return msgspec.structs.replace(request, groups=tuple(groups))


def check_farm_results(results: Results, farm: str) -> None:
    """Results of several hosts go where all of them reach.

    Raises:
        BadInput: they would go to a file of this machine.
    """
    if farm.startswith("tls://") and results.url.startswith("sqlite"):
        raise BadInput(
            "the results of a farm go to PostgreSQL, and here they would go to a file of this machine",
            where=results.url,
            hint="export POCKETZOO_RESULTS=postgresql://USER@HOST/NAME, the same on every host",
        )
