"""`up`, `down` and `status` of the lab: what should run, what does, and the difference."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from devices.lab import needs, rootfs, start, state
from devices.lab.identity import ArmAbi
from devices.lab.members import MEMBERS, PREFIX, Member, imitating
from devices.lab.state import LabState, Running
from pocketzoo.errors import PocketzooError, WorkFailed
from pocketzoo.files import write_atomically

if TYPE_CHECKING:
    from devices.inventory import Inventory

READY_S = 60.0  # emulated programs start slowly on a busy machine
LOOK_S = 5.0
_KEYS = ("client", "host")


class Shown(Struct, frozen=True, kw_only=True):
    """One virtual board as `status` tells it. ``state``: up, not answering, dead (it ended by itself), or down."""

    name: str
    abi: str
    state: str
    address: str | None = None
    pid: int | None = None
    qemu_cpu: str | None = None
    log: str | None = None


def up(like: Iterable[str], *, inventory: Inventory, say: Callable[[str], None]) -> list[str]:
    """Have the lab running: what runs and is as it should be stays, the rest is started.

    Args:
        like: inventory devices to imitate with a board each, beside those asked for before.
        inventory: where they are described.
        say: told what is going on.

    Returns:
        The names of what was started.

    Raises:
        BadInput: a device that is not known, or that cannot be imitated.
        WorkFailed: the machine lacks something, or a device does not come up.
    """
    asked = [name.removeprefix(PREFIX) for name in like]
    extra = {name: imitating(inventory.get(name)) for name in asked}
    needs.check(build=not all(rootfs.built(abi) for abi in rootfs.ABIS))
    roots = {abi: rootfs.ensure(abi, say=say) for abi in rootfs.ABIS}
    with state.held():
        known = state.load()
        _tidy(known, say)
        for name in known.wanted:
            if name not in extra:
                try:
                    extra[name] = imitating(inventory.get(name))
                except PocketzooError as error:
                    say(f"{PREFIX}{name} is given up: {error.what}")
        members = [*MEMBERS, *extra.values()]
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
            state.end(one.process)
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
    running = {one.name: one for one in known.devices}
    abis = {member.name: str(member.abi) for member in MEMBERS} | {one.name: one.abi for one in known.devices}
    shown = [
        _shown(running[name]) if name in running else Shown(name=name, abi=abi, state="down")
        for name, abi in abis.items()
    ]
    shown += [
        Shown(name=f"{PREFIX}{name}", abi="", state="down") for name in known.wanted if f"{PREFIX}{name}" not in running
    ]
    return {
        "up": all(one.state == "up" for one in shown),
        "devices": shown,
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
        state.end(one.process)
    return msgspec.structs.replace(known, devices=tuple(one for one in known.devices if not unwanted(one)))


def _bring_up(
    known: LabState, members: list[Member], roots: dict[ArmAbi, Path], say: Callable[[str], None]
) -> list[str]:
    started: list[str] = []
    for member in members:
        before = next((one for one in known.devices if one.name == member.name), None)
        if before and before.digest == _digest(member, roots[member.abi], before.port) and state.alive(before.process):
            if _answers(before):
                continue
            say(f"{member.name} does not answer; starting it again")
        if before:
            state.end(before.process)
        one = _start(member, roots[member.abi], before.port if before else None)
        known = msgspec.structs.replace(known, devices=(*(it for it in known.devices if it.name != one.name), one))
        state.save(known)
        _write_inventory(known)  # at once: what answers can be used, also where a later one fails
        started.append(member.name)
    state.save(known)
    _write_inventory(known)
    for one in known.devices:
        _await(one)
    return started


def _start(member: Member, root: Path, port: int | None) -> Running:
    folder = state.folder() / "devices" / member.slug
    folder.mkdir(parents=True, exist_ok=True)
    port = start.free_port(port)
    shown = member.identity()
    keys = state.folder() / "keys"
    process = start.board(name=member.slug, root=root, port=port, shown=shown, folder=folder, keys=keys)
    transport = {
        "kind": "ssh",
        "host": "127.0.0.1",
        "port": port,
        "user": "root",
        "key": str(keys / "client"),
        "known_hosts": str(keys / "known_hosts"),
    }
    return Running(
        name=member.name,
        abi=member.abi,
        port=port,
        qemu_cpu=shown.qemu_cpu,
        root=str(root),
        process=process,
        digest=_digest(member, root, port),
        entry=member.entry(transport),
    )


def _digest(member: Member, root: Path, port: int) -> str:
    """Of everything a board was started with."""
    parts = [str(root), port, member.identity().files, member.entry({})]
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def _write_inventory(known: LabState) -> None:
    """The devices as an inventory file, and the boards' host key where ssh looks for it."""
    keys = state.folder() / "keys"
    kind, key = (keys / "host.pub").read_text(encoding="ascii").split()[:2]
    lines = "".join(f"[127.0.0.1]:{one.port} {kind} {key}\n" for one in known.devices)
    write_atomically(keys / "known_hosts", lines.encode())
    # JSON is YAML too, and text that a program wrote needs no other.
    document = {"devices": {one.name: one.entry for one in known.devices}}
    write_atomically(state.folder() / "inventory.yaml", msgspec.json.format(msgspec.json.encode(document), indent=2))


def _await(one: Running) -> None:
    until = time.monotonic() + READY_S
    log = state.folder() / "devices" / one.name.replace(":", "-") / "log"
    while not _greets(one.port):
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


def _shown(one: Running) -> Shown:
    answers = "up" if _greets(one.port) else "not answering"
    return Shown(
        name=one.name,
        abi=one.abi,
        state=answers if state.alive(one.process) else "dead",
        address=f"ssh root@127.0.0.1:{one.port}",
        pid=one.process.pid,
        qemu_cpu=one.qemu_cpu,
        log=str(state.folder() / "devices" / one.name.replace(":", "-") / "log"),
    )
