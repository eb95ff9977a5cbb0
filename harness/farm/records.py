"""What travels between the members of a farm. Records only; every one is JSON of a known form."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from harness.plan import Impossible
from harness.request import Request
from pocketzoo.decodable import decodable
from pocketzoo.farm.failure import Said
from zoo.artifact import Sha256


class Versions(Struct, frozen=True, kw_only=True):
    """What decides whether two members understand each other and measure alike.

    ``farm`` is the protocol between them, ``schema`` of the results database, ``measurement`` a digest of the records'
    form, ``runners`` the digest of each agent that comes with the distribution, by its name.
    """

    pocketzoo: str
    farm: int
    schema: int
    measurement: str
    runners: dict[str, str]


class Offer(Struct, frozen=True, kw_only=True):
    """A device as a host offers it, or why it does not.

    ``hardware`` is the same wherever the same piece is reached from; ``fingerprint`` is that of its facts.
    ``reason`` is None where it is offered. ``owner`` is the campaign that measures on it now, or who else has it.
    """

    device: str
    host: str
    hardware: str = ""
    fingerprint: str = ""
    soc: str | None = None
    model: str | None = None
    abis: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    runner: str = ""
    reason: str | None = None
    owner: str | None = None


class Host(Struct, frozen=True, kw_only=True):
    """A host: its versions, what it offers beside devices, and the devices that it knows and does not offer.

    ``waiting`` counts results on its disk for which the database was away. ``results`` names its database without the
    password.
    """

    name: str
    versions: Versions
    results: str
    withheld: tuple[Offer, ...] = ()
    waiting: int = 0
    cpu: int = 0
    gpu: int = 0


class Job(Struct, frozen=True, kw_only=True):
    """A campaign on one device. ``cells`` are job keys; ``failed`` those that are not tried again.

    ``since`` is when the campaign was made and ``sent`` the client's clock (UTC, ISO 8601, milliseconds).
    ``binaries`` are the client's registered runners, ``name/abi`` -> digest: the same measure on every host, and one
    that has another brings it from its remote of the zoo.
    """

    versions: Versions
    campaign: str
    since: str
    sent: str
    device: str
    request: Request
    cells: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    binaries: dict[str, Sha256] = {}


class PlannedCells(Struct, frozen=True, kw_only=True):
    """What planning on a device gave: cells as builtins of :class:`harness.job.Cell`, and what cannot run."""

    host: str
    cells: tuple[dict[str, Any], ...] = ()
    impossible: tuple[Impossible, ...] = ()
    error: Said | None = None


class Measured(Struct, frozen=True, kw_only=True):
    """What a turn gave: the job keys that have ended, repeats stored, and what ended it early."""

    host: str
    ended: tuple[str, ...] = ()
    stored: int = 0
    error: Said | None = None


decodable(Versions, Offer, Host, Job, PlannedCells, Measured)
