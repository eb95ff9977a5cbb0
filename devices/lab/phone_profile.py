"""What a virtual phone pretends to be: properties, battery, heat, clocks. Data only; read from a JSON file."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct, field

from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput

# What a phone of today offers over adb, as far as it is spoken here.
FEATURES = ("shell_v2", "cmd", "stat_v2", "ls_v2", "fixed_push_mkdir", "sendrecv_v2")


class Zone(Struct, frozen=True, forbid_unknown_fields=True):
    """A thermal zone. ``heats``: whether it gets warm when commands run."""

    type: str
    celsius: float = 30.0
    heats: bool = True


class Heating(Struct, frozen=True, forbid_unknown_fields=True):
    """How zones get warm: towards ``hot_c`` while commands run, back towards their own value when none does.

    Above ``limit_c`` no core may run faster than ``cap`` times its maximum, until it is ``release_c`` cooler.
    """

    hot_c: float = 85.0
    rise_s: float = 30.0  # after this time 63% of the way is done
    fall_s: float = 60.0
    limit_c: float = 75.0
    release_c: float = 5.0
    cap: float = 0.6


class Cpu(Struct, frozen=True, forbid_unknown_fields=True):
    """The clock of one core, where ``mounts`` brings no /sys that has it."""

    max_khz: int
    min_khz: int = 300_000
    governor: str = "schedutil"


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a virtual phone that a file says.

    Attributes:
        properties: what ``getprop`` prints; ``ro.product.name``, ``.model`` and ``.device`` are in adb's banner too.
        battery: lines of ``dumpsys battery`` that differ from a charged phone on USB, such as ``{"level": 12}``.
        wakefulness: of ``dumpsys power``: Awake or Asleep.
        zones: thermal zones.
        heating: how they get warm; none: they stay as written.
        cpus: clocks by core number.
        mounts: pairs of a place on this machine and one on the phone, both absolute. Read-only there. What goes to
            /sys is copied, because the phone changes it.
        env: variables of every command, such as QEMU_CPU.
        features: of adb's banner. Without ``shell_v2`` it is a phone older than Android 7.
        disk_mb: size of /data/local/tmp; it is memory, and gone with the phone.
    """

    properties: dict[str, str] = field(default_factory=dict)
    battery: dict[str, str | int | bool] = field(default_factory=dict)
    wakefulness: str = "Awake"
    zones: tuple[Zone, ...] = ()
    heating: Heating | None = None
    cpus: tuple[Cpu, ...] = ()
    mounts: tuple[tuple[str, str], ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = FEATURES
    disk_mb: int = 4096

    def banner(self) -> bytes:
        """How the phone introduces itself to the adb server."""
        said = "".join(
            f"{key}={self.properties.get(key, 'virtual')};"
            for key in ("ro.product.name", "ro.product.model", "ro.product.device")
        )
        return f"device::{said}features={','.join(self.features)}".encode()


decodable(Zone, Heating, Cpu, Profile)


def load_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        BadInput: it cannot be read, or is not of that form.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"the phone's profile cannot be used: {error}", where=str(path)) from error


def getprop_text(properties: dict[str, str]) -> str:
    """What ``getprop`` prints without a name."""
    return "".join(f"[{key}]: [{value}]\n" for key, value in sorted(properties.items()))


def battery_text(battery: dict[str, str | int | bool]) -> str:
    """What ``dumpsys battery`` prints."""
    lines: dict[str, str | int | bool] = {
        "AC powered": False,
        "USB powered": True,
        "Wireless powered": False,
        "Max charging current": 500000,
        "Max charging voltage": 5000000,
        "Charge counter": 3000000,
        "status": 2,
        "health": 2,
        "present": True,
        "level": 95,
        "scale": 100,
        "voltage": 4200,
        "temperature": 281,
        "technology": "Li-ion",
    }
    lines |= battery
    shown = {key: str(value).lower() if isinstance(value, bool) else value for key, value in lines.items()}
    return "Current Battery Service state:\n" + "".join(f"  {key}: {value}\n" for key, value in shown.items())
