"""Checks of a device: each ok, warn or fail, with the advice that mends it. The checks are pure; one function asks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from msgspec import Struct

from devices.errors import DeviceBusy, DeviceError
from devices.facts import Conditions, DeviceFacts
from devices.probe import contradictions
from devices.session import open_session
from devices.spec import DeviceSpec
from pocketzoo.decodable import decodable
from pocketzoo.errors import DeviceUnavailable, PocketzooError

Outcome = Literal["ok", "warn", "fail"]
LOW_BATTERY, LITTLE_SPACE = 30, 1 << 30


class Check(Struct, frozen=True, kw_only=True):
    """One check. ``unavailable`` marks the failure that there is no device to check."""

    name: str
    outcome: Outcome
    says: str
    advice: str | None = None
    unavailable: bool = False


decodable(Check)


def examine(specs: Sequence[DeviceSpec], *, asked_for: bool) -> dict[str, list[Check]]:
    """Check devices side by side; the checks of each by its name.

    Args:
        specs: the devices.
        asked_for: they were named. Else one that is not there is no failure: an inventory lists more than is attached.
    """
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(specs)))) as pool:
        reports = dict(zip((spec.name for spec in specs), pool.map(check_device, specs), strict=True))
    if asked_for:
        return reports
    return {
        name: [Check(name="connection", outcome="warn", says="not connected", advice=f"devices doctor {name}")]
        if any(check.name == _words("DeviceMissing") for check in checks)
        else checks
        for name, checks in reports.items()
    }


def check_device(spec: DeviceSpec) -> list[Check]:
    """Open a session, probe, and judge."""
    try:
        with open_session(spec) as session:
            facts, conditions = session.facts(), session.conditions()
    except DeviceBusy as error:
        return [Check(name="owner", outcome="warn", says=error.what, advice=error.hint)]
    except PocketzooError as error:
        gone = isinstance(error, DeviceUnavailable)
        name = type(error).__name__ if isinstance(error, DeviceError) else "session"
        return [
            *_server_checks(spec),
            Check(name=_words(name), outcome="fail", says=error.what, advice=error.hint, unavailable=gone),
        ]
    return [
        Check(name="connection", outcome="ok", says=spec.address),
        *_server_checks(spec),
        *identity_checks(spec, facts),
        *condition_checks(spec, conditions, cores=facts.cores or 1),
    ]


def identity_checks(spec: DeviceSpec, facts: DeviceFacts) -> list[Check]:
    """Whether the device is the one the inventory describes, and what could not be found out."""
    wrong = contradictions(spec, facts)
    checks = [
        Check(name="identity", outcome="fail", says=line, advice="attach the right device, or mend its inventory entry")
        for line in wrong
    ] or [Check(name="identity", outcome="ok", says=", ".join(filter(None, (facts.model, facts.soc))) or "as written")]
    if facts.abis:
        checks.append(Check(name="ABI", outcome="ok", says=f"{', '.join(facts.abis)} proven"))
    else:
        checks.append(
            Check(
                name="ABI",
                outcome="fail",
                says=facts.unknown.get("abis", "none proven"),
                advice="the work folder must allow programs (not mounted noexec)",
            )
        )
    return checks


def condition_checks(spec: DeviceSpec, now: Conditions, *, cores: int) -> list[Check]:
    """Whether a measurement started now could be believed."""
    return [
        _governor(now),
        _temperature(spec, now),
        _load(now, cores),
        *_battery(now),
        _space(now),
    ]


def _governor(now: Conditions) -> Check:
    if not now.governors:
        return Check(name="governor", outcome="warn", says=f"unknown: {now.unknown.get('governors', 'not read')}")
    others = sorted({value for value in now.governors.values() if value != "performance"})
    if not others:
        return Check(name="governor", outcome="ok", says="performance")
    advice = "as root: for g in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > $g; done"
    return Check(name="governor", outcome="warn", says=", ".join(others), advice=advice)


def _temperature(spec: DeviceSpec, now: Conditions) -> Check:
    if not now.temperatures_c:
        return Check(
            name="temperature", outcome="warn", says=f"unknown: {now.unknown.get('temperatures_c', 'not read')}"
        )
    zone, hottest = max(now.temperatures_c.items(), key=lambda item: item[1])
    says = f"{hottest:.1f} C at {zone}"
    if spec.cool_below_c is not None and hottest > spec.cool_below_c:
        return Check(name="temperature", outcome="warn", says=says, advice=f"let it cool below {spec.cool_below_c:g} C")
    return Check(name="temperature", outcome="ok", says=says)


def _load(now: Conditions, cores: int) -> Check:
    if now.load1 is None:
        return Check(name="load", outcome="warn", says=f"unknown: {now.unknown.get('load1', 'not read')}")
    busy = now.load1 > max(1.0, cores / 4)
    advice = "end what else runs there; `top` shows it" if busy else None
    return Check(name="load", outcome="warn" if busy else "ok", says=f"{now.load1:.2f}", advice=advice)


def _battery(now: Conditions) -> list[Check]:
    if now.battery_percent is None:
        return []
    low = now.battery_percent < LOW_BATTERY
    says = f"{now.battery_percent:g} %" + (", charging" if now.charging else "")
    advice = "charge it first: a phone saves power with a low battery" if low else None
    return [Check(name="battery", outcome="warn" if low else "ok", says=says, advice=advice)]


def _space(now: Conditions) -> Check:
    if now.free_bytes is None:
        return Check(name="free space", outcome="warn", says=f"unknown: {now.unknown.get('free_bytes', 'not read')}")
    little = now.free_bytes < LITTLE_SPACE
    advice = "remove pushed files: the work folder's files/ may be emptied at any time" if little else None
    return Check(
        name="free space",
        outcome="fail" if now.free_bytes < LITTLE_SPACE // 8 else "warn" if little else "ok",
        says=f"{now.free_bytes / 2**30:.1f} GiB",
        advice=advice,
    )


def _server_checks(spec: DeviceSpec) -> list[Check]:
    """For a phone: adb programs of different versions end each other's server, and every session with it."""
    if spec.transport.kind != "adb":
        return []
    from devices.transports.adb import versions

    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        found = versions(spec.transport.server)
    if len(set(found.values())) <= 1:
        return [Check(name="adb", outcome="ok", says=next(iter(found.values())))] if found else []
    return [
        Check(
            name="adb",
            outcome="warn",
            says=", ".join(f"{where} {version}" for where, version in found.items()),
            advice="adb programs of different versions end each other's server: keep one, or set ADBUTILS_ADB_PATH",
        )
    ]


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
