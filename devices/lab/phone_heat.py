"""Heat of a virtual phone: thermal zones that rise while commands run and decay after, and clocks that fall with them.

Written into the phone's own /sys, which nobody but the phone's root may change.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

from devices.lab.phone_profile import Profile

_ZONES = Path("/sys/class/thermal")
_CPUS = Path("/sys/devices/system/cpu")


class Heat:
    """The temperatures. Used inside the phone's root, with the rights of root.

    Args:
        profile: zones, how they heat, clocks.
    """

    def __init__(self, profile: Profile) -> None:
        self._zones = profile.zones
        self._how = profile.heating
        self._celsius = [zone.celsius for zone in profile.zones]
        self._at = time.monotonic()
        self._busy = False
        self._capped = False
        for number, zone in enumerate(profile.zones):
            _write(_ZONES / f"thermal_zone{number}" / "type", zone.type)
        for number, cpu in enumerate(profile.cpus):
            folder = _CPUS / f"cpu{number}" / "cpufreq"
            if not (folder / "cpuinfo_max_freq").exists():
                _write(folder / "cpuinfo_max_freq", cpu.max_khz)
                _write(folder / "cpuinfo_min_freq", cpu.min_khz)
                _write(folder / "scaling_governor", cpu.governor)
        for name in ("present", "possible", "online"):
            if profile.cpus and not (_CPUS / name).exists():
                _write(_CPUS / name, f"0-{len(profile.cpus) - 1}" if len(profile.cpus) > 1 else "0")
        self._clocks = {
            path.parent: (int(path.read_text()), int((path.parent / "cpuinfo_min_freq").read_text()))
            for path in _CPUS.glob("cpu*/cpufreq/cpuinfo_max_freq")
        }
        self._show()

    @property
    def celsius(self) -> list[float]:
        """Of each zone, as last shown."""
        return list(self._celsius)

    @property
    def capped(self) -> bool:
        """Whether the clocks are held down."""
        return self._capped

    def update(self, busy: bool) -> None:
        """Bring the files up to now.

        Args:
            busy: whether commands run from now on; until now it was as told the last time.
        """
        now = time.monotonic()
        if self._how is not None:
            tau = self._how.rise_s if self._busy else self._how.fall_s
            stays = math.exp(-(now - self._at) / tau)
            for number, zone in enumerate(self._zones):
                if zone.heats:
                    towards = self._how.hot_c if self._busy else zone.celsius
                    self._celsius[number] = towards + (self._celsius[number] - towards) * stays
        self._at, self._busy = now, busy
        self._show()

    def heat(self, celsius: float) -> None:
        """Be that warm now."""
        self.update(self._busy)
        for number, zone in enumerate(self._zones):
            if zone.heats:
                self._celsius[number] = celsius
        self._show()

    def _show(self) -> None:
        hottest = max((at for at, zone in zip(self._celsius, self._zones, strict=True) if zone.heats), default=0.0)
        if self._how is not None:
            limit = self._how.limit_c - (self._how.release_c if self._capped else 0.0)
            self._capped = hottest > limit
        for number, celsius in enumerate(self._celsius):
            _write(_ZONES / f"thermal_zone{number}" / "temp", round(celsius * 1000))
        for folder, (most, least) in self._clocks.items():
            allowed = round(most * self._how.cap) if self._how is not None and self._capped else most
            _write(folder / "scaling_max_freq", allowed)
            # A governor that keeps the clock up does so also when nothing runs.
            idle = least if (folder / "scaling_governor").read_text().strip() != "performance" else allowed
            _write(folder / "scaling_cur_freq", allowed if self._busy else min(idle, allowed))


def _write(path: Path, value: str | int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = f"{value}\n"
    # In place and at once: a reader must never find the file empty.
    with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
        file.write(data.encode())
        file.truncate()
