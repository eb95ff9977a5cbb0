"""A phone behind an adb server: any server address, USB or TCP serial."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from devices import spec as written
from devices.errors import (
    DeadlineExceeded,
    DeviceIncapable,
    DeviceMissing,
    DeviceOffline,
    PermanentDeviceError,
    TransientDeviceError,
    tail,
)
from devices.parse import parse_getprop
from devices.quoting import command_line
from devices.spec import split_address
from devices.transport import Completed, checked
from devices.transports import adb_wire
from devices.transports.adb_wire import Attached, Late, Refused, Server
from pocketzoo.files import replacing

LIST_S = 10.0
START_S = 20.0
FIRST_LOOK_S = 2.0
_HERE = ("127.0.0.1", "localhost", "::1")


class AdbTransport:
    """Implements :class:`devices.transport.Transport` for a phone.

    Args:
        serial: as the server lists it; ``host:port`` is connected over TCP where it is not.
        server: ``host:port`` of the adb server.
    """

    def __init__(self, serial: str, server: str) -> None:
        self._serial = serial
        self._server: Server = split_address(server)
        self._checked = False

    def run(self, argv: Sequence[str], *, deadline_s: float, env: Mapping[str, str], stdin: bytes) -> Completed:
        """See :meth:`devices.transport.Transport.run`. At the deadline the session ends what runs on."""
        command = checked(argv, env)
        start = time.monotonic()
        until = start + deadline_s
        try:
            self._ready(until)
            code, stdout, stderr = adb_wire.shell(self._server, self._serial, command_line(command, env), stdin, until)
        except Late as late:
            raise DeadlineExceeded(
                f"the command did not end within {deadline_s:g} s and was killed",
                command=command,
                output=tail(late.stdout, late.stderr),
            ) from late
        except Refused as refused:
            raise self._lost(f"the phone {self._serial} refused a shell: {refused}") from refused
        except DeviceMissing as gone:  # the server went away; it is started again with the next try
            raise self._lost(gone.what) from gone
        except TransientDeviceError:
            self._checked = False
            raise
        return Completed(argv=command, exit_code=code, stdout=stdout, stderr=stderr, seconds=time.monotonic() - start)

    def push(self, local: Path, remote: str, *, deadline_s: float) -> None:
        """See :meth:`devices.transport.Transport.push`."""
        with adb_wire.opened(local) as reading, self._transfer(f"cannot write {remote}", deadline_s) as until:
            adb_wire.push(self._server, self._serial, reading, remote, until)

    def pull(self, remote: str, local: Path, *, deadline_s: float) -> None:
        """See :meth:`devices.transport.Transport.pull`."""
        with (
            self._transfer(f"cannot read {remote}", deadline_s) as until,
            replacing(local, durable=False) as writing,
        ):
            adb_wire.pull(self._server, self._serial, remote, writing, until)

    def close(self) -> None:
        """Nothing is held: every command is a connection of its own."""
        self._checked = False

    @contextlib.contextmanager
    def _transfer(self, what: str, deadline_s: float) -> Iterator[float]:
        until = time.monotonic() + deadline_s
        try:
            self._ready(until)
            yield until
        except Late as late:
            raise DeadlineExceeded(f"{what}: it did not end within {deadline_s:g} s") from late
        except Refused as refused:
            raise adb_wire.refusing(what, refused) from refused
        except DeviceMissing as gone:
            raise self._lost(gone.what) from gone
        except TransientDeviceError:
            self._checked = False
            raise

    def _ready(self, until: float) -> None:
        """After a drop, and once at the beginning: the phone is there, connected, and knows shell v2."""
        if self._checked:
            return
        _have_server(self._server, until)
        found = _state(self._server, self._serial, until)
        if found is None:
            # It was there when the session was opened: it may come back.
            raise self._lost(f"the phone {self._serial} is gone from the adb server's list")
        if found.state != "device":
            raise adb_wire.unusable(self._serial, found.state)
        try:
            features = adb_wire.ask(self._server, f"host-serial:{self._serial}:features", until)
        except Refused as refused:
            raise adb_wire.unusable(self._serial, str(refused)) from refused
        if "shell_v2" not in features.split(","):
            raise DeviceIncapable(
                f"the phone {self._serial} is older than Android 7: its adb cannot tell a command's exit code"
            )
        self._checked = True

    def _lost(self, what: str) -> DeviceOffline:
        self._checked = False
        return DeviceOffline(what, hint="plug it in again; `adb devices` must list it as 'device'")


def find(name: str, way: written.AdbTransport, expect: Mapping[str, tuple[str, ...]]) -> str:
    """The serial of the phone an inventory entry means, after a look at what is attached.

    Args:
        name: the device's name, for messages.
        way: what is written about its transport.
        expect: without a written serial, exactly one attached phone's properties must hold against this.

    Raises:
        DeviceMissing, NotAuthorised, DeviceOffline: not there, or not usable now.
    """
    server = split_address(way.server)
    until = time.monotonic() + LIST_S + START_S
    try:
        _have_server(server, until)
        if way.serial is not None:
            return _named(name, way.serial, server, until)
        return _fitting(name, expect, server, until)
    except (Late, Refused) as error:
        raise DeviceOffline(
            f"the adb server at {way.server} does not answer: {error}",
            device=name,
            hint="adb kill-server; adb start-server",
        ) from error


def look(server: str, *, timeout_s: float = 1.0) -> list[Attached] | None:
    """What a server lists now; None where none answers. Starts nothing, connects nothing."""
    try:
        return adb_wire.attached(split_address(server), time.monotonic() + timeout_s)
    except (PermanentDeviceError, TransientDeviceError, Late, Refused):
        return None


def versions(server: str) -> dict[str, str]:
    """The protocol version of the running server and of the adb program that would start one, by where it is."""
    import adbutils

    found: dict[str, str] = {}
    with contextlib.suppress(PermanentDeviceError, TransientDeviceError, Late, Refused, ValueError):
        asked = adb_wire.ask(split_address(server), "host:version", time.monotonic() + LIST_S)
        found[f"server {server}"] = f"1.0.{int(asked, 16)}"
    with contextlib.suppress(OSError, subprocess.SubprocessError, adbutils.AdbError):
        path = adbutils.adb_path()
        said = subprocess.run([path, "version"], capture_output=True, timeout=LIST_S, check=False).stdout
        if match := re.search(rb"version (1\.0\.\d+)", said):
            found[path] = match[1].decode()
    return found


def properties(server: Server, serial: str, until: float) -> dict[str, str]:
    """Every getprop key of a phone."""
    _, stdout, _ = adb_wire.shell(server, serial, b"getprop", b"", until)
    return parse_getprop(stdout.decode("utf-8", "replace").splitlines())


def _named(name: str, serial: str, server: Server, until: float) -> str:
    found = _state(server, serial, until)
    if found is None:
        others = ", ".join(f"{one.serial} ({one.state})" for one in adb_wire.attached(server, until)) or "nothing"
        raise DeviceMissing(
            f"the phone {serial} is not attached",
            device=name,
            output=(f"attached to the adb server at {server[0]}:{server[1]}: {others}",),
            hint="plug it in and allow USB debugging; `adb devices` must list that serial",
        )
    if found.state != "device":
        raise adb_wire.unusable(serial, found.state).on(name)
    return serial


def _fitting(name: str, expect: Mapping[str, tuple[str, ...]], server: Server, until: float) -> str:
    from devices.probe import holds

    asked = {key: wanted for key, wanted in expect.items() if "." in key}
    fits, lines, barred = [], [], []
    for one in adb_wire.attached(server, until):
        if one.state != "device":
            lines.append(f"{one.serial}: {one.state}")
            barred.append(adb_wire.unusable(one.serial, one.state))
            continue
        try:
            said = properties(server, one.serial, until)
        except TransientDeviceError as error:
            lines.append(f"{one.serial}: {error.what}")
            continue
        wrong = [
            f"{key} is {said.get(key, 'not set')}" for key, want in asked.items() if not holds(said.get(key, ""), want)
        ]
        lines.append(f"{one.serial}: {', '.join(wrong) or 'fits'}")
        if not wrong:
            fits.append(one.serial)
    if len(fits) == 1:
        return fits[0]
    wanted = ", ".join(f"{key} = {' or '.join(want)}" for key, want in asked.items()) or "any phone"
    write = (
        f"write the serial in a file and give it with --inventory: devices: {{{name}: {{transport: {{serial: ...}}}}}}"
    )
    if fits:
        raise DeviceMissing(f"{len(fits)} attached phones fit {name}", device=name, output=tuple(lines), hint=write)
    if len(barred) == 1 and len(lines) == 1:
        raise barred[0].on(name)
    if lines:
        raise DeviceMissing(
            f"no attached phone is {name} ({wanted})",
            device=name,
            output=tuple(lines),
            hint=f"plug it in and allow USB debugging; `adb devices` shows what is attached; {write}",
        )
    raise DeviceMissing(
        f"{name} is not connected: no phone is attached to the adb server at {server[0]}:{server[1]}",
        device=name,
        hint="turn on USB debugging in the phone's developer options, plug it in, confirm 'Allow USB debugging?' on "
        f"its screen; `adb devices` must list it as 'device'. Where several phones are attached, {write}",
    )


def _state(server: Server, serial: str, until: float) -> Attached | None:
    """The phone in the server's list; over TCP it is connected first, and again where it is offline."""
    found = _listed(server, serial, until)
    if re.fullmatch(r".+:\d{1,5}", serial) and (found is None or found.state == "offline"):
        if found is not None:
            with contextlib.suppress(Refused):
                adb_wire.ask(server, f"host:disconnect:{serial}", until)
        # The answer says "connected" also where nothing is: the list alone tells.
        with contextlib.suppress(Refused):
            adb_wire.ask(server, f"host:connect:{serial}", until)
        found = _settled(server, serial, until)
    return found


def _settled(server: Server, serial: str, until: float) -> Attached | None:
    patience = min(until, time.monotonic() + 3.0)
    while True:
        found = _listed(server, serial, until)
        if found is None or found.state not in ("offline", "connecting", "authorizing"):
            return found
        if time.monotonic() >= patience:
            return found
        time.sleep(0.1)


def _listed(server: Server, serial: str, until: float) -> Attached | None:
    return next((one for one in adb_wire.attached(server, until) if one.serial == serial), None)


def _have_server(server: Server, until: float) -> None:
    """A server on this machine that does not run is started, as every adb client does; a distant one is not."""
    # A new server needs a moment until it has seen what is plugged in.
    if _started(server, until):
        settled = min(until, time.monotonic() + FIRST_LOOK_S)
        while time.monotonic() < settled and not adb_wire.attached(server, until):
            time.sleep(0.1)


def _started(server: Server, until: float) -> bool:
    try:
        adb_wire.ask(server, "host:version", min(until, time.monotonic() + LIST_S))
    except DeviceMissing:
        if server[0] not in _HERE:
            raise
    else:
        return False
    import adbutils

    try:
        done = subprocess.run(
            [adbutils.adb_path(), "-P", str(server[1]), "start-server"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=START_S,
            start_new_session=True,
            check=False,
        )
        said = tail(done.stdout, done.stderr)
    except (OSError, subprocess.TimeoutExpired, adbutils.AdbError) as error:
        said = (str(error),)
    else:
        if done.returncode == 0:
            return True
    raise DeviceMissing(
        f"no adb server runs at {server[0]}:{server[1]}, and none could be started",
        output=said,
        hint="adb start-server",
    )
