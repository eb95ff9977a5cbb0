"""What is known of a device: facts that stay, and conditions at one moment. Records only, no I/O.

Both are read by probing, never assumed. What could not be read is None or absent, with the reason under ``unknown``
by the field's name; it is never 0.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from pocketzoo.decodable import decodable

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class ClusterFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cores of one kind: the CPU numbers, the core's name where it is known, the top frequency in MHz."""

    cpus: tuple[int, ...]
    core: str | None = None
    max_mhz: float | None = None


class DeviceFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device as probed.

    ``fingerprint`` is the SHA-256 of the facts that decide a latency (SoC, model, OS build, kernel, ABIs, cores): two
    measurements are of the same device only where it is equal. ``abis`` holds what an ELF of that class proved, best
    first; ``abi_proofs`` says how, by ABI. ``properties`` are the device's own names for itself that an inventory's
    ``expect`` may ask for: getprop keys of a phone, ``gpu`` of a server.
    """

    name: str
    fingerprint: Sha256
    soc: str | None = None
    model: str | None = None
    os_build: str | None = None
    kernel: str | None = None
    abis: tuple[str, ...] = ()
    cores: int | None = None
    clusters: tuple[ClusterFacts, ...] = ()
    ram_bytes: int | None = None
    cpu_features: tuple[str, ...] = ()
    abi_proofs: dict[str, str] = {}
    properties: dict[str, str] = {}
    unknown: dict[str, str] = {}


class Conditions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device at one moment.

    Temperatures in degrees Celsius by zone, frequencies in MHz by CPU number ("0", or "gpu0"), load as the 1-minute
    average, time in UTC (ISO 8601). ``max_frequencies_mhz`` is what the governor may use at this moment: below the
    cluster's ``max_mhz`` where the system has capped it.
    """

    time: str
    temperatures_c: dict[str, float] = {}
    frequencies_mhz: dict[str, float] = {}
    max_frequencies_mhz: dict[str, float] = {}
    governors: dict[str, str] = {}
    load1: float | None = None
    battery_percent: float | None = None
    battery_c: float | None = None
    charging: bool | None = None
    free_bytes: int | None = None
    screen_on: bool | None = None
    unknown: dict[str, str] = {}


decodable(ClusterFacts, DeviceFacts, Conditions)
