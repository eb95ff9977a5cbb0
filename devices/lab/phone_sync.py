"""Files on the virtual phone: the service ``sync:``, first and second version, without compression.

What adbd does is done here: it removes what stands where a file is to be written, makes missing folders, says FAIL with
the system's reason, then reads on to the end of the file; a file whose sender went away is removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct

from devices.lab.phone_faults import Faults
from devices.lab.phone_wire import Stream, StreamClosed

_BLOCK = 64 << 10
_LONGEST_PATH = 1024
_STAT2 = struct.Struct("<IQQIIIIQqqq")


async def serve(stream: Stream, faults: Faults) -> None:
    """Answer requests until the host says QUIT, or goes away.

    Raises:
        StreamClosed: it went away.
    """
    while True:
        request, size = struct.unpack("<4sI", await stream.read(8))
        if request == b"QUIT":
            return
        if size > _LONGEST_PATH:
            await _fail(stream, "path too long")
            return
        path = (await stream.read(size)).decode("utf-8", "surrogateescape")
        name = request.decode("ascii", "replace")
        await stream.begin(f"sync:{name[:3] + '*' if name[3:] == '2' else name} {path.rpartition(',')[0] or path}")
        if request == b"STAT":
            found = _stat(path, follow=False)
            await stream.write(b"STAT" + struct.pack("<III", *_short(found)))
        elif request in (b"STA2", b"LST2"):
            await stream.write(request + _long(path, follow=request == b"STA2"))
        elif request in (b"LIST", b"LIS2"):
            await _list(stream, path, long=request == b"LIS2")
        elif request == b"SEND":
            target, _, mode = path.rpartition(",")
            await _receive(stream, faults, target, int(mode) if mode.isdigit() else 0o644)
        elif request == b"SND2":
            _, sent, _flags = struct.unpack("<4sII", await stream.read(12))
            await _receive(stream, faults, path, sent)
        elif request in (b"RECV", b"RCV2"):
            if request == b"RCV2":
                await stream.read(8)
            await _send(stream, faults, path)
        else:
            await _fail(stream, f"unknown command {name}")
            return


async def _receive(stream: Stream, faults: Faults, path: str, mode: int) -> None:
    """A file from the host."""
    if faults.take("readonly", stream.operation):
        await _refuse(stream, f"couldn't create file: {os.strerror(30)}")
        return
    try:
        end, ours = _create(path, mode)
    except OSError as error:
        await _refuse(stream, f"couldn't create file: {error.strerror}")
        return
    whole = False
    try:
        when = await _store(stream, faults, end)
        if when is None:
            return
        if ours:
            os.fchmod(end, mode & 0o777)
            os.utime(end, (when, when))
        whole = True
        await stream.write(b"OKAY" + bytes(4))
    finally:
        os.close(end)
        if ours and not whole:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - names are bytes in disguise


def _create(path: str, mode: int) -> tuple[int, bool]:
    """The file to write, and whether it is a new one of ours."""
    found = _stat(path, follow=False)
    ours = found is None or stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)
    if not ours:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC), False
    if found is not None:
        os.unlink(path)  # noqa: PTH108
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode & 0o777), True
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o775, exist_ok=True)  # noqa: PTH103, PTH120
        return os.open(path, flags, mode & 0o777), True


async def _store(stream: Stream, faults: Faults, end: int) -> int | None:
    """Write what comes; the file's time at its end, None where that did not work."""
    passed = 0
    while True:
        kind, size = struct.unpack("<4sI", await stream.read(8))
        if kind == b"DONE":
            return int(size)
        if kind != b"DATA" or size > _BLOCK:
            await _fail(stream, "invalid data message")
            raise StreamClosed
        block = faults.corrupted(stream.operation, passed, await stream.read(size))
        try:
            if faults.filling(stream.operation, passed, len(block)):
                raise OSError(28, os.strerror(28))
            view = memoryview(block)
            while view:
                view = view[os.write(end, view) :]
        except OSError as error:
            await _refuse(stream, f"write failed: {error.strerror}")
            return None
        passed += len(block)


async def _send(stream: Stream, faults: Faults, path: str) -> None:
    """A file to the host."""
    try:
        end = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        await _fail(stream, f"open failed: {error.strerror}")
        return
    passed = 0
    try:
        while True:
            try:
                block = os.read(end, _BLOCK)
            except OSError as error:
                await _fail(stream, f"read failed: {error.strerror}")
                return
            if not block:
                break
            block = faults.corrupted(stream.operation, passed, block)
            await stream.write(b"DATA" + struct.pack("<I", len(block)) + block)
            passed += len(block)
        await stream.write(b"DONE" + bytes(4))
    finally:
        os.close(end)


async def _list(stream: Stream, path: str, *, long: bool) -> None:
    try:
        names = sorted(os.listdir(path))  # noqa: PTH208
    except OSError:
        names = []
    answer = bytearray()
    for name in names:
        encoded = os.fsencode(name)
        at = f"{path.rstrip('/')}/{name}"
        about = _long(at, follow=False) if long else struct.pack("<III", *_short(_stat(at, follow=False)))
        answer += (b"DNT2" if long else b"DENT") + about + struct.pack("<I", len(encoded)) + encoded
    answer += b"DONE" + (bytes(_STAT2.size + 4) if long else bytes(16))
    await stream.write(bytes(answer))


def _stat(path: str, *, follow: bool) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116
    except OSError:
        return None


def _short(found: os.stat_result | None) -> tuple[int, int, int]:
    if found is None:
        return 0, 0, 0
    return found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime) & 0xFFFFFFFF


def _long(path: str, *, follow: bool) -> bytes:
    try:
        s = os.stat(path, follow_symlinks=follow)  # noqa: PTH116
    except OSError as error:
        return _STAT2.pack(error.errno or 5, *[0] * 10)
    times = (int(s.st_atime), int(s.st_mtime), int(s.st_ctime))
    return _STAT2.pack(0, s.st_dev, s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_size, *times)


async def _refuse(stream: Stream, reason: str) -> None:
    """Say why a file is not taken, then read it to its end."""
    await _fail(stream, reason)
    while True:
        kind, size = struct.unpack("<4sI", await stream.read(8))
        if kind == b"DONE":
            return
        if kind != b"DATA" or size > _BLOCK:
            raise StreamClosed
        await stream.read(size)


async def _fail(stream: Stream, reason: str) -> None:
    text = os.fsencode(reason)
    await stream.write(b"FAIL" + struct.pack("<I", len(text)) + text)
