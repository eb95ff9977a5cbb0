"""Who offers what, which of it a request wants, and in which order turns come. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.farm.records import Offer
from pocketzoo.errors import BadInput
from pocketzoo.names import did_you_mean

ATTRIBUTES = ("soc", "model", "abi", "tag", "host", "runner")
_LOCAL = re.compile(r"(?:^|[-@])(?:127\.[0-9.]+|localhost|\[?::1\]?|emulator-[0-9]+)(?::|$)")


def device_resource(device: str) -> str:
    """The Dask resource of a device: 1 unit, taken by who measures on it."""
    return f"device:{device}"


def facts_resource(fingerprint: str) -> str:
    """The Dask resource of devices with these facts: cells are planned for them and run on no others."""
    return f"facts:{fingerprint[:16]}"


def hardware_of(lock: str, host: str) -> str:
    """Names a piece of hardware the same wherever it is reached from.

    Args:
        lock: as :func:`devices.reach.reach` names it.
        host: the machine's own name; what is reached over loopback exists on that machine alone.
    """
    kind, _, rest = lock.partition("-")
    return f"{lock}@{host}" if kind == "local" or _LOCAL.search(rest) else lock


@dataclass(frozen=True)
class Wish:
    """One ``--any``: attributes that a device must have, all of them."""

    wanted: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """As it is written."""
        return ",".join(f"{key}={value}" for key, value in self.wanted)

    def fits(self, offer: Offer) -> bool:
        """Whether a device has them; compared without regard to case."""
        return all(value.lower() in _values(offer, key) for key, value in self.wanted)


def _values(offer: Offer, key: str) -> tuple[str, ...]:
    found: Mapping[str, Sequence[str | None]] = {
        "soc": (offer.soc,),
        "model": (offer.model,),
        "abi": offer.abis,
        "tag": offer.tags,
        "host": (offer.host,),
        "runner": (offer.runner,),
    }
    return tuple(value.lower() for value in found[key] if value)


def parse_wish(text: str) -> Wish:
    """``soc=kirin970,abi=armv8`` as attributes.

    Raises:
        BadInput: not of that form, or an attribute that offers do not have.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or key not in ATTRIBUTES or key in found:
            raise BadInput(
                f"--any does not take {part.strip()!r}",
                detail=tuple(filter(None, [did_you_mean(key, ATTRIBUTES)])),
                hint=f"write e.g. --any soc=kirin970,abi=armv8; attributes: {', '.join(ATTRIBUTES)}",
            )
        found[key] = value
    return Wish(tuple(found.items()))


def dealt(wish: Wish, offers: Sequence[Offer], queued: Mapping[str, int], parts: int) -> list[str]:
    """Devices for so many parts of a campaign: those that fit, the shortest queue first, in turn.

    Args:
        wish: what they must be.
        offers: what there is.
        queued: turns that wait for each device.
        parts: how many there are to deal.

    Raises:
        BadInput: nobody offers such a device.
    """
    fitting = sorted({offer.device for offer in offers if offer.reason is None and wish.fits(offer)})
    if not fitting:
        raise NobodyOffers([f"--any {wish.text}"], offers)
    length = {device: float(queued.get(device, 0)) for device in fitting}
    chosen = []
    for _ in range(parts):
        device = min(fitting, key=lambda name: (length[name], name))
        length[device] += 1
        chosen.append(device)
    return chosen


def best(device: str, offers: Sequence[Offer]) -> Offer | None:
    """The offer of a device that a campaign is planned for: of the facts that most units of that name have."""
    units = [offer for offer in offers if offer.device == device and offer.reason is None]
    if not units:
        return None
    count = {offer.fingerprint: sum(o.fingerprint == offer.fingerprint for o in units) for offer in units}
    return min(units, key=lambda offer: (-count[offer.fingerprint], offer.fingerprint, offer.host))


class NobodyOffers(BadInput):
    """Devices that no host of the farm offers; says who offers what."""

    def __init__(self, wanted: Sequence[str], offers: Sequence[Offer]) -> None:
        there = sorted(f"{offer.device} on {offer.host}" for offer in offers if offer.reason is None)
        why = [line for name in wanted for line in why_not(name, offers)]
        super().__init__(
            f"nobody offers {', '.join(wanted)}",
            detail=(*why, f"offered: {', '.join(there) if there else 'nothing'}"),
            hint="harness farm status; --wait S waits until somebody does",
        )


def why_not(device: str, offers: Sequence[Offer]) -> tuple[str, ...]:
    """Why the hosts that know a device do not offer it."""
    return tuple(
        f"{o.device} on {o.host} is not offered: {o.reason}" for o in offers if o.device == device and o.reason
    )


def missing(devices: Sequence[str], offers: Sequence[Offer]) -> list[str]:
    """Those of the devices that nobody offers."""
    offered = {offer.device for offer in offers if offer.reason is None}
    return [name for name in devices if name not in offered]


def priorities(turns: int, first: int) -> list[int]:
    """Dask's priorities of a campaign's turns on one device.

    Turn *k* of one campaign comes beside turn *k* of another: each further turn is one lower, and who comes later
    begins where the queue stands now. Start-time fair queueing (Goyal, Vin and Cheng, 1996), in units of a turn.

    Args:
        turns: how many.
        first: :func:`standing` of the device's queue.
    """
    return [first - number for number in range(turns)]


def standing(waiting: Sequence[float]) -> int:
    """Where a queue stands: the priority of what runs or comes next; 0 for an empty one."""
    return int(max(waiting)) if waiting else 0


def in_turns(cells: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Job keys in pieces of at most ``size``, in order."""
    return [tuple(cells[start : start + size]) for start in range(0, len(cells), size)]
