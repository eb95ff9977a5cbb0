"""What a virtual phone answers at its control socket: a JSON object per line, and one back.

``{"do": "fault", "kind": ..., ...}``  see :class:`devices.lab.phone_faults.Fault`
``{"do": "clear"}``                    forget the faults that may still happen
``{"do": "authorise"}``                confirm on the screen
``{"do": "return"}``                   be back now from being offline
``{"do": "heat", "celsius": N}``       be that warm now
``{"do": "set", "properties": {}, "battery": {}, "wakefulness": ""}``  change what getprop and dumpsys print
``{"do": "status"}``                   temperatures, clocks, faults, connections
``{"do": "processes"}``                what runs on the phone
``{"do": "files", "folder": PATH}``    every file below a folder
``{"do": "kill"}``                     end what runs on the phone, as a reboot would
``{"do": "wipe"}``                     remove what is in /data/local/tmp and /sdcard
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from devices.lab import phone_root, phone_shell
from devices.lab.phone_faults import Fault
from devices.lab.phone_profile import battery_text, getprop_text

if TYPE_CHECKING:
    from devices.lab.phone_daemon import Phone


async def converse(phone: Phone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one client until it goes away."""
    with contextlib.suppress(OSError):
        while line := await reader.readline():
            try:
                answer = {"ok": True, **_answer(phone, msgspec.json.decode(line, type=dict[str, Any]))}
            except (ValueError, TypeError, OSError) as error:
                answer = {"ok": False, "error": str(error)}
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
    writer.close()


def write(phone: Phone) -> None:
    """Write what getprop and dumpsys print. With the rights of root."""
    folder = Path("/", phone_root.STATE)
    texts = {
        "properties": getprop_text(phone.properties),
        "battery": battery_text(phone.battery),
        "power": f"Power Manager State:\n  mWakefulness={phone.wakefulness}\n",
    }
    for name, text in texts.items():
        partial = folder / f".{name}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)


def _answer(phone: Phone, asked: dict[str, Any]) -> dict[str, Any]:
    what = asked.pop("do", None)
    if what not in _COMMANDS:
        raise ValueError(f"cannot do {what!r}; there is {', '.join(sorted(_COMMANDS))}")
    return _COMMANDS[what](phone, **asked) or {}


def _status(phone: Phone) -> dict[str, Any]:
    return {
        "celsius": phone.heat.celsius,
        "capped": phone.heat.capped,
        "commands": phone_shell.children(),
        "connections": len(phone.connections),
        "authorised": phone.authorised,
        "listening": phone.listening,
        "port": phone.port,
        "happened": phone.faults.happened,
        "faults": msgspec.to_builtins(phone.faults.all()),
    }


def _fault(phone: Phone, **asked: Any) -> dict[str, Any]:
    fault = msgspec.convert(asked, Fault)
    number = phone.faults.add(fault)
    if fault.kind == "offline":
        phone.faults.happens(fault, "")
        if fault.silent:
            phone.silent(fault.seconds)
        else:
            phone.away(fault.seconds)
    elif fault.kind == "unauthorised":
        phone.faults.happens(fault, "")
        phone.forget_host(fault.seconds)
    return {"id": number}


def _heat(phone: Phone, celsius: float) -> None:
    with phone_root.files_as(0):
        phone.heat.heat(celsius)


def _kill(_: Phone) -> None:
    for pid in _processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wipe(_: Phone) -> None:
    with phone_root.files_as(0):
        for path in (path for folder in ("/data/local/tmp", "/sdcard") for path in Path(folder).iterdir()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _set(
    phone: Phone,
    properties: dict[str, str] | None = None,
    battery: dict[str, str | int | bool] | None = None,
    wakefulness: str | None = None,
) -> None:
    phone.properties |= properties or {}
    phone.battery |= battery or {}
    phone.wakefulness = wakefulness or phone.wakefulness
    with phone_root.files_as(0):
        write(phone)


def _processes() -> dict[int, str]:
    """Command lines by process number, without the phone's own two and those that have ended."""
    own = {1, os.getpid()}
    found: dict[int, str] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) not in own:
            with contextlib.suppress(OSError):
                state = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
                if state not in "ZX":
                    line = Path(entry.path, "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
                    found[int(entry.name)] = line.decode("utf-8", "replace")
    return found


def _files(folder: str) -> list[str]:
    with phone_root.files_as(0):
        return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)  # noqa: PTH118


_COMMANDS: dict[str, Callable[..., dict[str, Any] | None]] = {
    "fault": _fault,
    "clear": lambda phone: phone.faults.clear(),
    "authorise": lambda phone: phone.authorise(),
    "return": lambda phone: phone.come_back(),
    "heat": _heat,
    "set": _set,
    "status": _status,
    "processes": lambda _: {"processes": _processes()},
    "files": lambda _, folder: {"files": _files(folder)},
    "kill": _kill,
    "wipe": _wipe,
}
