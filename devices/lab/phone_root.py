"""The file systems a virtual phone's programs see, in a mount namespace of their own: all of it ends with the phone.

Like a phone: ``/`` and what is below is read-only, /data/local/tmp can be written, /sdcard too but nothing runs from
there, /proc shows the phone's own processes alone, /tmp does not exist.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from devices.lab.phone_profile import Profile

SHELL = 2000  # the uid and gid of adb's commands on every phone
STATE = "data/system"  # what getprop and dumpsys print
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_NEWNS, _NEWPID = 0x00020000, 0x20000000
_PR_SET_PDEATHSIG = 1
# Of this machine's own root, what its programs need; of another, everything but what a phone has in its own way.
_SYSTEM = ("bin", "sbin", "usr", "etc", "opt", "lib", "lib32", "lib64", "libx32")
_OWN = ("proc", "sys", "dev", "data", "sdcard", "system", "tmp", "run", "mnt", "media", "boot", "home", "root")

_libc = ctypes.CDLL(None, use_errno=True)

_GETPROP = f"""#!/bin/sh
[ $# -eq 0 ] && exec cat /{STATE}/properties
while IFS= read -r line; do
  case $line in "[$1]: ["*) line=${{line#"[$1]: ["}}; echo "${{line%]}}"; exit 0 ;; esac
done </{STATE}/properties
echo "$2"
"""
_DUMPSYS = f"""#!/bin/sh
case $1 in
  battery|power) exec cat /{STATE}/$1 ;;
esac
echo "Can't find service: $1"
"""


def unshare(*, pids: bool) -> None:
    """Leave the mount namespace; with ``pids``, also have the next child be the first process of a new one."""
    _done(_libc.unshare(_NEWPID if pids else _NEWNS), "unshare")


def die_with_parent() -> None:
    """Be killed by the kernel when the process that made this one ends."""
    _done(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl")


def become_shell() -> None:
    """Open and change files with the rights of adb's user from here on, while staying root for everything else."""
    _libc.setfsgid(SHELL)
    _libc.setfsuid(SHELL)


@contextlib.contextmanager
def files_as(user: int) -> Iterator[None]:
    """Open and change files with the rights of another user, here and in no other thread."""
    before = _libc.setfsuid(user)
    _libc.setfsgid(user)
    try:
        yield
    finally:
        _libc.setfsuid(before)
        _libc.setfsgid(before)


def build(root: Path, at: Path, profile: Profile) -> None:
    """Put the phone's file systems together.

    Args:
        root: a root file system, or ``/`` for this machine's programs.
        at: a folder to mount it on.
        profile: for what is mounted and printed.

    Raises:
        OSError: the machine does not allow it, or a mount of the profile names what is not there.
    """
    _mount(None, "/", None, _REC | _PRIVATE)
    _tmpfs(at, "mode=755,size=16m")
    for entry in sorted(root.iterdir()):
        wanted = entry.name in _SYSTEM if root == Path("/") else entry.name not in _OWN
        place = at / entry.name
        if not wanted:
            continue
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
        elif entry.is_dir():
            place.mkdir()
            _bind(entry, place)
    for name in ("proc", "sys", "dev", "sdcard", "data/local/tmp", STATE, "system/bin"):
        (at / name).mkdir(parents=True)
    _mount("proc", at / "proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    _tmpfs(at / "dev", "mode=755,size=1m")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        (at / "dev" / name).touch()
        _mount(Path("/dev") / name, at / "dev" / name, None, _BIND)
    for name, to in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (at / "dev" / name).symlink_to(to)
    _tmpfs(at / "data/local/tmp", f"mode=771,uid={SHELL},gid={SHELL},size={profile.disk_mb}m", _NOSUID | _NODEV)
    _tmpfs(at / "sdcard", f"mode=771,uid={SHELL},gid={SHELL},size=256m", _NOSUID | _NODEV | _NOEXEC)
    _tmpfs(at / STATE, "mode=755,size=1m")
    _tmpfs(at / "sys", "mode=755,size=8m")
    for name, text in (("getprop", _GETPROP), ("dumpsys", _DUMPSYS)):
        program = at / "system/bin" / name
        program.write_text(text)
        program.chmod(0o755)
    (at / "system/bin/sh").symlink_to("/bin/sh")
    for source, target in profile.mounts:
        _bring(Path(source), at, target)
    _mount(None, at, None, _REMOUNT | _BIND | _RDONLY)


def enter(at: Path) -> None:
    """Make it this process's root."""
    os.chroot(at)
    os.chdir("/")


def _bring(source: Path, at: Path, target: str) -> None:
    place = at / target.lstrip("/")
    if target.rstrip("/") == "/sys" or target.startswith("/sys/"):
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
        return
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir() if source.is_dir() else place.touch()
    _bind(source, place)


def _bind(source: Path, target: Path) -> None:
    _mount(source, target, None, _BIND)
    _mount(None, target, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def _tmpfs(target: Path, options: str, flags: int = _NOSUID) -> None:
    _mount("tmpfs", target, "tmpfs", flags, options)


def _mount(source: Path | str | None, target: Path | str, kind: str | None, flags: int, options: str = "") -> None:
    parts = [os.fsencode(part) if part is not None else None for part in (source, target, kind)]
    _done(_libc.mount(*parts, ctypes.c_ulong(flags), options.encode() or None), f"mount {target}")


def _done(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
