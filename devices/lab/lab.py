"""`up`, `down` and `status` of the lab: what should run, what does, and the difference."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from devices.lab import counter, needs, rootfs, server, start, state
from devices.lab.identity import ArmAbi
from devices.lab.members import MEMBERS, PREFIX, Member, described, imitating
from devices.lab.phone_control import CONTROL, LOG, PhoneControl
from devices.lab.state import LabState, Process, Running, Server
from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.files import write_atomically

if TYPE_CHECKING:
    from devices.inventory import Inventory

READY_S = 60.0  # emulated programs start slowly on a busy machine
LOOK_S = 5.0
_KEYS = ("client", "host")


class Ground(NamedTuple):
    """What devices of one ABI stand on: the root file system, and the instruction counter where there is one."""

    root: Path
    counter: Path | None


class Shown(Struct, frozen=True, kw_only=True):
    """One virtual device as `status` tells it. ``state``: up, not answering, dead (it ended by itself), or down."""

    name: str
    kind: str
    abi: str
    state: str
    address: str | None = None
    pid: int | None = None
    qemu_cpu: str | None = None
    log: str | None = None


decodable(Shown)


def up(
    like: Iterable[str], *, inventory: Inventory, say: Callable[[str], None], base: Sequence[Member] = MEMBERS
) -> list[str]:
    """Have the lab running: what runs and is as it should be stays, the rest is started.

    Args:
        like: inventory devices to imitate with a phone each, beside those asked for before.
        inventory: where they are described.
        say: told what is going on.
        base: the devices beside those.

    Returns:
        The names of what was started.

    Raises:
        BadInput: a device that is not known, or that cannot be imitated.
        WorkFailed: the machine lacks something, or a device does not come up.
    """
    asked = [name.removeprefix(PREFIX) for name in like]
    extra = {name: imitating(described(name, inventory)) for name in asked}
    needs.check(build=not all(rootfs.built(abi) for abi in rootfs.ABIS))
    roots = {abi: Ground(rootfs.ensure(abi, say=say), counter.ensure(abi, say=say)) for abi in rootfs.ABIS}
    with state.held():
        known = state.load()
        _tidy(known, say)
        for name in known.wanted:
            if name not in extra:
                try:
                    extra[name] = imitating(described(name, inventory))
                except PocketzooError as error:
                    say(f"{PREFIX}{name} is given up: {error.what}")
        members = [*base, *extra.values()]
        wanted = tuple(sorted(extra))
        known = _without(known, lambda one: one.name not in {member.name for member in members})
        known = msgspec.structs.replace(known, wanted=wanted)
        start.make_keys(state.folder() / "keys", _KEYS)
        return _bring_up(known, members, roots, say)


def down() -> list[str]:
    """End everything the lab started and nothing else; returns the names of what was ended."""
    if not state.folder().exists():
        return []
    with state.held():
        known = state.load()
        (state.folder() / "inventory.yaml").unlink(missing_ok=True)
        ended = [one.name for one in known.devices if state.alive(one.process)]
        for one in known.devices:
            _end(one.process, one.kind)
        if known.adb is not None:
            if state.alive(known.adb.process):
                ended.append("adb server")
            state.end(known.adb.process, politely_s=2)
        for stray in state.strays(LabState()):
            state.end(stray)
        start.reap()
        # The keys stay: whoever copied the inventory or the known_hosts file finds the same boards the next time.
        state.save(LabState())
        for folder in (state.folder() / "devices").glob("*"):
            shutil.rmtree(folder, ignore_errors=True)
    return ended


def status() -> dict[str, Any]:
    """What there is, asked of the devices themselves: nothing is believed because a file says so."""
    start.reap()
    known = state.load()
    phones = server.attached(known.adb)
    running = {one.name: one for one in known.devices}
    names = {member.name: (member.kind, member.abi) for member in MEMBERS}
    names |= {one.name: (one.kind, one.abi) for one in known.devices}  # type: ignore[misc]  # kinds are text here
    shown = [
        _shown(running[name], phones) if name in running else Shown(name=name, kind=kind, abi=abi, state="down")
        for name, (kind, abi) in names.items()
    ]
    shown += [
        Shown(name=f"{PREFIX}{name}", kind="phone", abi="", state="down")
        for name in known.wanted
        if f"{PREFIX}{name}" not in running
    ]
    adb = known.adb
    return {
        "up": all(one.state == "up" for one in shown),
        "devices": shown,
        "adb_server": {
            "address": f"127.0.0.1:{adb.port}",
            "pid": adb.process.pid,
            "state": "up" if phones is not None else "dead",
        }
        if adb
        else None,
        "strays": [one.pid for one in state.strays(known)],
        "state": str(state.folder()),
        "root_file_systems": [
            {"abi": abi, "path": str(rootfs.path_of(abi)), "built": rootfs.built(abi)} for abi in rootfs.ABIS
        ],
        "missing": [
            {"what": need.what, "mend": need.mend}
            for need in needs.missing(build=not all(rootfs.built(abi) for abi in rootfs.ABIS))
        ],
    }


def phone_control(name: str) -> PhoneControl:
    """Where a running virtual phone is asked for faults.

    Raises:
        BadInput: it does not run, or is a board.
    """
    for one in state.load().devices:
        if one.name == name and one.kind == "phone":
            return PhoneControl(_folder(name) / CONTROL)
    phones = [one.name for one in state.load().devices if one.kind == "phone"]
    raise BadInput(
        f"{name} is no virtual phone that runs",
        detail=(f"phones that run: {', '.join(phones)}",) if phones else (),
        hint="devices lab status" if phones else "devices lab up",
    )


def phone_log(name: str) -> Path:
    """One JSON line for each thing that happened to a virtual phone."""
    return _folder(name) / LOG


def _folder(name: str) -> Path:
    return state.folder() / "devices" / name.replace(":", "-")


def _tidy(known: LabState, say: Callable[[str], None]) -> None:
    """End what the state does not know of, and tell what has died."""
    for stray in state.strays(known):
        say(f"ending process {stray.pid}, which an earlier `devices lab` left")
        state.end(stray)
    start.reap()
    for one in known.devices:
        if not state.alive(one.process):
            say(f"{one.name} has ended; starting it again")


def _without(known: LabState, unwanted: Callable[[Running], bool]) -> LabState:
    for one in filter(unwanted, known.devices):
        _end(one.process, one.kind)
    return msgspec.structs.replace(known, devices=tuple(one for one in known.devices if not unwanted(one)))


def _end(process: Process, kind: str) -> None:
    # A board's first process waits for its namespace and heeds no polite signal.
    state.end(process, politely_s=2 if kind == "phone" else 0)


def _bring_up(
    known: LabState, members: list[Member], roots: dict[ArmAbi, Ground], say: Callable[[str], None]
) -> list[str]:
    started: list[str] = []
    adb = known.adb
    if adb is None or not state.alive(adb.process):
        port = start.free_port(adb.port if adb else None)
        adb = Server(port=port, process=start.adb_server(port, state.folder() / "adb"))
        known = msgspec.structs.replace(known, adb=adb)
        state.save(known)
        started.append("adb server")
    for member in members:
        before = next((one for one in known.devices if one.name == member.name), None)
        if (
            before
            and before.digest == _digest(member, roots[member.abi], before.port, adb)
            and state.alive(before.process)
        ):
            if _answers(before):
                continue
            say(f"{member.name} does not answer; starting it again")
        if before:
            _end(before.process, before.kind)
        one = _start(member, roots[member.abi], before.port if before else None, adb)
        known = msgspec.structs.replace(known, devices=(*(it for it in known.devices if it.name != one.name), one))
        state.save(known)
        _write_inventory(known)  # at once: what answers can be used, also where a later one fails
        started.append(member.name)
    state.save(known)
    _write_inventory(known)
    for one in known.devices:
        _await(one, adb)
    return started


def _start(member: Member, ground: Ground, port: int | None, adb: Server) -> Running:
    folder = _folder(member.name)
    folder.mkdir(parents=True, exist_ok=True)
    port = start.free_port(port)
    shown, root = member.identity(), ground.root
    if member.kind == "board":
        keys = state.folder() / "keys"
        process = start.board(
            name=member.slug, root=root, port=port, shown=shown, folder=folder, keys=keys, counter=ground.counter
        )
        transport: dict[str, object] = {
            "kind": "ssh",
            "host": "127.0.0.1",
            "port": port,
            "user": "root",
            "key": str(keys / "client"),
            "known_hosts": str(keys / "known_hosts"),
        }
    else:
        profile = member.profile(root.name)
        process = start.phone(root=root, port=port, shown=shown, folder=folder, profile=profile, counter=ground.counter)
        transport = {"kind": "adb", "serial": f"127.0.0.1:{port}", "server": f"127.0.0.1:{adb.port}"}
    return Running(
        name=member.name,
        kind=member.kind,
        abi=member.abi,
        port=port,
        qemu_cpu=shown.qemu_cpu,
        root=str(root),
        process=process,
        digest=_digest(member, ground, port, adb),
        entry=member.entry(transport, tags=(counter.TAG,) if ground.counter else ()),
    )


def _digest(member: Member, ground: Ground, port: int, adb: Server) -> str:
    """Of everything a device was started with. The server's port is in a phone's inventory entry."""
    parts = [
        str(ground.root),
        str(ground.counter),
        port,
        adb.port if member.kind == "phone" else 0,
        member.identity().files,
        member.entry({}),
        member.profile(ground.root.name),
    ]
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def _write_inventory(known: LabState) -> None:
    """The devices as an inventory file, and the boards' host key where ssh looks for it."""
    keys = state.folder() / "keys"
    kind, key = (keys / "host.pub").read_text(encoding="ascii").split()[:2]
    boards = [one for one in known.devices if one.kind == "board"]
    lines = "".join(f"[127.0.0.1]:{one.port} {kind} {key}\n" for one in boards)
    write_atomically(keys / "known_hosts", lines.encode())
    # JSON is YAML too, and text that a program wrote needs no other.
    document = {"devices": {one.name: one.entry for one in known.devices}}
    write_atomically(state.folder() / "inventory.yaml", msgspec.json.format(msgspec.json.encode(document), indent=2))


def _await(one: Running, adb: Server) -> None:
    until = time.monotonic() + READY_S
    log = _folder(one.name) / "log"
    while not (_greets(one.port) if one.kind == "board" else server.connected(f"127.0.0.1:{one.port}", adb)):
        start.reap()
        if not state.alive(one.process):
            raise WorkFailed(
                f"{one.name} ended while it came up", where=str(log), detail=start.last_lines(log), hint=_AGAIN
            )
        if time.monotonic() >= until:
            raise WorkFailed(
                f"{one.name} does not answer after {READY_S:g} s",
                where=str(log),
                detail=start.last_lines(log),
                hint=_AGAIN,
            )
        time.sleep(0.1)


_AGAIN = "devices lab down && devices lab up"


def _answers(one: Running) -> bool:
    """Whether something listens there; what it says, :func:`_await` waits for."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", one.port), timeout=LOOK_S):
        return True
    return False


def _greets(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LOOK_S) as talk:
        return talk.recv(4) == b"SSH-"
    return False


def _shown(one: Running, phones: dict[str, str] | None) -> Shown:
    serial = f"127.0.0.1:{one.port}"
    if not state.alive(one.process):
        says = "dead"
    elif one.kind == "board":
        says = "up" if _greets(one.port) else "not answering"
    else:
        listed = (phones or {}).get(serial)
        says = "up" if listed == "device" else f"not answering ({listed or 'not in the adb server'})"
    return Shown(
        name=one.name,
        kind=one.kind,
        abi=one.abi,
        state=says,
        address=f"ssh root@{serial}" if one.kind == "board" else f"adb {serial}",
        pid=one.process.pid,
        qemu_cpu=one.qemu_cpu,
        log=str(_folder(one.name) / "log"),
    )
