"""A device in our hands: locked, reached, cleaned of what earlier runs left, and everything on it verified.

Reliability is written here once, for every transport: the lock, retries with back-off, hash-checked files that appear
by rename, deadlines, and the end of every process that was started.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from devices import lock, pushed, scripts
from devices.errors import (
    CommandFailed,
    ConnectionLost,
    DeadlineExceeded,
    DeviceBusy,
    DeviceError,
    DeviceIncapable,
    TransferCorrupted,
    TransferRefused,
    TransientDeviceError,
    tail,
)
from devices.facts import Conditions, DeviceFacts
from devices.reach import Way, reach
from devices.spec import DeviceSpec
from devices.transport import Completed
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from pocketzoo.home import home

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # between tries after a transient error; a phone is back after 3 to 10 s
CONTROL_S = 60.0  # deadline of the session's own small commands
LEASE_S = 900  # for which a device is ours against other hosts; renewed when a command might take longer
SLOWEST = 1 << 20  # bytes per second that a transfer and a hash must reach

Result = TypeVar("Result")


def open_session(spec: DeviceSpec, *, wait_s: float = 0, root: Path | None = None) -> Session:
    """Become the owner of a device and make it ready.

    Args:
        spec: the device, from the inventory.
        wait_s: how long to wait where somebody else owns it, in seconds.
        root: the state folder; default :func:`pocketzoo.home.home`.

    Returns:
        A session; use it as a context manager.

    Raises:
        DeviceUnavailable: not there, not authorised, not answering, or owned by somebody else (DeviceBusy).
        DeviceIncapable: it lacks ``sha256sum``.
    """
    state = root if root is not None else home()
    until = time.monotonic() + wait_s
    way = reach(spec, state)
    held = lock.acquire(state / "locks", way.lock, device=spec.name, wait_s=wait_s)
    try:
        while True:
            try:
                return Session(spec, way, held, owner=_owner_id(state, way.lock))
            except DeviceBusy:  # of another host
                if time.monotonic() >= until:
                    raise
                time.sleep(min(1.0, max(0.0, until - time.monotonic())))
    except BaseException:
        way.transport.close()
        held.release()
        raise


class Session:
    """An owned device. Made by :func:`open_session`; used by one thread.

    Attributes:
        spec: what the inventory says of it.
        python: the Python interpreter on the device.
        work_dir: the folder on the device where pushed files live, as an absolute path.
        hardware: names what is behind it; two names for one phone have it in common.
    """

    def __init__(self, spec: DeviceSpec, way: Way, held: lock.Lock, *, owner: str) -> None:
        self.spec = spec
        self.python = way.python
        self.hardware = way.lock
        self._transport = way.transport
        self._lock = held
        self._owner = owner
        self._mark = f"{owner}.{secrets.token_hex(4)}"
        self._dirty = False
        self._closed = False
        self._facts: DeviceFacts | None = None
        self._lease_ends = math.inf  # monotonic; for ever where no other host can reach the device
        self._shared = way.shared
        self.work_dir = self._prepare(way.work_dir)

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline_s: float,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Completed:
        """Run a command to its end. After a dropped connection it is run again, as long as the deadline allows.

        Args:
            argv: the program and its arguments, which arrive unchanged.
            deadline_s: seconds for the whole call, with retries, whatever the command prints.
            env: variables added to the device's environment.
            stdin: what the command reads.

        Raises:
            DeadlineExceeded: it and everything it started was killed.
            ConnectionLost, DeviceOffline: still so after several tries.
        """
        marked = {**(env or {}), scripts.MARK: self._mark}
        return self._retrying(
            lambda left: self._transport.run(argv, deadline_s=left, env=marked, stdin=stdin), deadline_s
        )

    def push(self, files: Mapping[str, Path]) -> dict[str, str]:
        """Have files on the device, verified there. What is there already with the same hash is not sent again.

        Args:
            files: local path by the SHA-256 (hex) of its content.

        Returns:
            The path on the device by SHA-256. Files are executable there and keep their suffix.

        Raises:
            BadInput: a local file is missing, or has another hash than the one given.
            TransferRefused: disk full or read-only.
            TransferCorrupted: it arrived with another hash, also when sent again.
        """
        names = {digest: pushed.name_there(digest, path) for digest, path in files.items()}
        folder = f"{self.work_dir}/files"
        present = self._present(folder, names, files)
        missing = [digest for digest in names if digest not in present]
        try:
            for digest in missing:
                self._send(folder, names[digest], files[digest])
            if missing:
                self._publish(folder, {digest: names[digest] for digest in missing}, files)
        except (TransferRefused, TransferCorrupted, BadInput):
            # Half a file on a full disk would keep it full. After a lost connection the next session does this.
            with contextlib.suppress(DeviceError):
                self._control(["sh", "-c", scripts.DISCARD, "sh", folder, self._owner], CONTROL_S)
            raise
        return {digest: f"{folder}/{name}" for digest, name in names.items()}

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the device; ``local`` appears whole or not at all, verified by its hash.

        Raises:
            TransferRefused: no such file there.
            TransferCorrupted: what arrived is not what is there, also when fetched again.
        """

        def fetch(left: float) -> None:
            argv = ["sha256sum", "--", remote]
            answer = self._transport.run(argv, deadline_s=left, env={scripts.MARK: self._mark}, stdin=b"")
            if not answer.ok:
                raise TransferRefused(
                    f"cannot read {remote}", device=self.spec.name, output=tail(answer.stdout, answer.stderr)
                )
            partial = local.with_name(f".{local.name[:80]}.{secrets.token_hex(4)}.part")
            try:
                self._transport.pull(remote, partial, deadline_s=left)
                # GNU marks a line whose name it had to escape with a backslash.
                if sha256_file(partial) != answer.stdout.lstrip(b"\\").split(maxsplit=1)[0].decode("ascii", "replace"):
                    raise TransferCorrupted(f"{remote} arrived with another hash than it has there")
                partial.replace(local)
            finally:
                partial.unlink(missing_ok=True)

        local.parent.mkdir(parents=True, exist_ok=True)
        self._retrying(fetch, CONTROL_S * 10)

    def facts(self) -> DeviceFacts:
        """What the device is. Probed once per session."""
        if self._facts is None:
            from devices.probe import read_facts

            self._facts = read_facts(self)
        return self._facts

    def conditions(self) -> Conditions:
        """The device at this moment; one command."""
        from devices.probe import read_conditions

        return read_conditions(self)

    def close(self) -> None:
        """End what still runs, let go of the connection and the lock. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        try:
            with contextlib.suppress(DeviceError):
                if self._dirty:
                    self._end_leftovers(10.0)
                if self._shared:
                    argv = ["sh", "-c", scripts.RELEASE, "sh", self.work_dir, self._owner]
                    self._transport.run(argv, deadline_s=10.0, env={}, stdin=b"")
        finally:
            self._transport.close()
            self._lock.release()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _prepare(self, work_dir: str) -> str:
        seconds = LEASE_S if self._shared else 0
        argv = ["sh", "-c", scripts.PREPARE, "sh", self._owner, work_dir, str(seconds), lock.lessee()]
        asked = time.monotonic()
        # Without our mark: it ends everything that carries the owner's.
        done = self._unmarked(argv)
        if done.exit_code == scripts.TAKEN and lock.ended_here(words := _lessee(done)):
            self._unmarked(["sh", "-c", scripts.EVICT, "sh", work_dir, words])
            done = self._unmarked(argv)
        if done.exit_code == scripts.NO_SHA256SUM:
            raise DeviceIncapable(
                "the device has no sha256sum, so nothing on it can be verified",
                device=self.spec.name,
                hint="install coreutils or busybox there",
            )
        if done.exit_code == scripts.TAKEN:
            raise self._taken(done)
        path = done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n").rsplit("\n", 1)[-1]
        if not done.ok or not path.startswith("/"):
            raise TransferRefused(
                f"cannot make the work folder {work_dir} on the device",
                device=self.spec.name,
                output=tail(done.stdout, done.stderr),
                hint="check its free space and whether that folder can be written",
            )
        if self._shared:
            self._lease_ends = asked + seconds
        return path

    def _unmarked(self, argv: Sequence[str]) -> Completed:
        return self._retrying(lambda left: self._transport.run(argv, deadline_s=left, env={}, stdin=b""), CONTROL_S)

    def _keep_lease(self, needed_s: float) -> None:
        """Have the device to ourselves for as long as a command may take; costs a round trip only when it runs out."""
        asked = time.monotonic()
        if asked + needed_s < self._lease_ends:
            return
        seconds = LEASE_S + int(needed_s)
        argv = ["sh", "-c", scripts.CLAIM, "sh", self.work_dir, self._owner, str(seconds), lock.lessee()]
        done = self._transport.run(argv, deadline_s=max(needed_s, 10.0), env={}, stdin=b"")
        if done.exit_code == scripts.TAKEN:
            raise self._taken(done)
        if not done.ok:
            raise CommandFailed(
                "the lease of the device cannot be renewed",
                device=self.spec.name,
                command_exit=done.exit_code,
                output=tail(done.stdout, done.stderr),
            )
        self._lease_ends = asked + seconds

    def _taken(self, answer: Completed) -> DeviceBusy:
        who = answer.stdout.decode("utf-8", "replace").strip() or "another host"
        return DeviceBusy(
            f"{self.spec.name} is in use by {who}",
            device=self.spec.name,
            hint="wait until that has ended; a host that died keeps it no longer than the time above",
        )

    def _present(self, folder: str, names: Mapping[str, str], files: Mapping[str, Path]) -> set[str]:
        size = sum(pushed.size(path) for path in files.values())
        found: set[str] = set()
        for batch in pushed.batches(list(names.values())):
            done = self._control(["sh", "-c", scripts.HASH, "sh", folder, *batch], CONTROL_S + size / SLOWEST)
            for line in done.stdout.decode("utf-8", "replace").splitlines():
                digest, _, name = line.partition(" ")
                if names.get(digest) == name.lstrip(" *"):
                    found.add(digest)
        return found

    def _send(self, folder: str, name: str, path: Path) -> None:
        def send(left: float) -> None:
            self._transport.push(path, f"{folder}/{self._part(name)}", deadline_s=left)

        self._retrying(send, CONTROL_S + pushed.size(path) / SLOWEST)

    def _publish(self, folder: str, names: Mapping[str, str], files: Mapping[str, Path]) -> None:
        left = dict(names)
        for last in (False, False, True):
            size = sum(pushed.size(files[digest]) for digest in left)
            wrong: dict[str, str] = {}
            for batch in pushed.batches([f"{self._part(name)}\0{name}\0{digest}" for digest, name in left.items()]):
                argv = [part for triple in batch for part in triple.split("\0")]
                done = self._control(["sh", "-c", scripts.PUBLISH, "sh", folder, *argv], CONTROL_S + size / SLOWEST)
                if done.exit_code not in (0, scripts.NOT_PUBLISHED):
                    raise CommandFailed(
                        "the pushed files could not be verified on the device",
                        device=self.spec.name,
                        command_exit=done.exit_code,
                        output=tail(done.stdout, done.stderr),
                    )
                for line in done.stdout.decode("utf-8", "replace").splitlines():
                    name, _, got = line.partition(" ")
                    wrong[name] = got
            left = {digest: name for digest, name in left.items() if name in wrong}
            if not left:
                return
            if last:
                break
            for digest, name in left.items():
                pushed.check_unchanged(files[digest], digest)  # hashed here only where it matters
                self._send(folder, name, files[digest])
        raise TransferCorrupted(
            f"{len(left)} pushed file(s) have another hash on the device than here, also after sending them again",
            device=self.spec.name,
            output=tuple(f"{files[digest]}: {wrong[name] or 'unreadable'} there" for digest, name in left.items()),
            hint="check the cable and the free space of the device",
        )

    def _part(self, name: str) -> str:
        return f".part-{self._owner}-{name}"

    def _control(self, argv: Sequence[str], deadline_s: float) -> Completed:
        """One of the session's own commands: it may be repeated and leaves nothing running."""
        env = {scripts.MARK: self._mark}
        return self._retrying(lambda left: self._transport.run(argv, deadline_s=left, env=env, stdin=b""), deadline_s)

    def _retrying(self, work: Callable[[float], Result], deadline_s: float) -> Result:
        until = time.monotonic() + deadline_s
        lost: TransientDeviceError | None = None
        for pause in (*PAUSES_S, None):
            try:
                if self._dirty:
                    self._end_leftovers(max(0.1, min(CONTROL_S, until - time.monotonic())))
                self._keep_lease(until - time.monotonic())
                return work(max(0.1, until - time.monotonic()))
            except TransientDeviceError as error:
                lost = error
                self._dirty = self._dirty or isinstance(error, ConnectionLost)
                if pause is None or time.monotonic() + pause >= until:
                    raise error.on(self.spec.name) from error.__cause__
            except DeadlineExceeded as error:
                self._after_a_stop()
                # A try that began late because of a drop: the drop is the reason, not the command.
                raise (lost or error).on(self.spec.name) from error
            except DeviceError as error:
                raise error.on(self.spec.name) from error.__cause__
            except (KeyboardInterrupt, SystemExit):
                self._after_a_stop()
                raise
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _after_a_stop(self) -> None:
        self._dirty = True
        with contextlib.suppress(DeviceError):
            self._end_leftovers(10.0)

    def _end_leftovers(self, deadline_s: float) -> None:
        # Without our mark, else it would end itself.
        done = self._transport.run(
            ["sh", "-c", scripts.END_ALL, "sh", self._owner], deadline_s=deadline_s, env={}, stdin=b""
        )
        if b"left " in done.stdout:
            raise CommandFailed(
                "processes of an earlier command cannot be ended",
                device=self.spec.name,
                output=tail(done.stdout),
                hint="reboot the device",
            )
        self._dirty = False


def _owner_id(state: Path, key: str) -> str:
    """Names everything this host, state folder and device have ever started; holds no character a pattern minds."""
    text = "\0".join((socket.gethostname(), str(state.absolute()), key))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _lessee(answer: Completed) -> str:
    """Who has the lease, in their own words."""
    return answer.stdout.decode("utf-8", "replace").strip().rpartition("; free in at most ")[0]
