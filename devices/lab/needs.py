"""What a machine must have for the lab, and the command that mends what it lacks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from pocketzoo.errors import WorkFailed

BINFMT = Path("/proc/sys/fs/binfmt_misc")
_MOUNT = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Need(NamedTuple):
    """Something that is missing: what, and the command that mends it (None: none does)."""

    what: str
    mend: str | None


def missing(*, build: bool) -> list[Need]:
    """What this machine lacks.

    Args:
        build: the root file systems have yet to be built, which needs more than running them.
    """
    if not sys.platform.startswith("linux"):
        return [Need(f"the lab runs on Linux; this is {sys.platform}", None)]
    found = []
    if platform.machine() != "x86_64":
        found.append(Need(f"an x86-64 processor: the lab emulates ARM; this is {platform.machine()}", None))
    if os.geteuid() != 0:
        found.append(Need("root: the lab mounts file systems and makes namespaces", "sudo -E devices lab up"))
    if build and shutil.which("apt-get", path=_PATH) is None:
        found.append(Need("apt-get: the root file systems are built on Debian or a descendant of it", None))
    packages = []
    if build:
        packages = [tool for tool in ("mmdebstrap", "arch-test") if shutil.which(tool, path=_PATH) is None]
        if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
            packages.append("debian-archive-keyring")
    if shutil.which("unshare", path=_PATH) is None:
        packages.append("util-linux")
    if shutil.which("qemu-aarch64-static", path=_PATH) is None or shutil.which("qemu-arm-static", path=_PATH) is None:
        packages += ["qemu-user-static", "binfmt-support"]
    if packages:
        names = " ".join(packages)
        found.append(Need(f"packages: {names}", f"apt-get install {names}"))
    if not (BINFMT / "register").exists():
        found.append(Need("binfmt_misc: the kernel cannot be told who runs ARM programs", _MOUNT))
    lacking = [arch for arch in ("aarch64", "arm") if not _handled(arch)]
    if lacking:
        enable = "update-binfmts --enable" + "".join(f" qemu-{arch}" for arch in lacking[:1]) * (len(lacking) == 1)
        found.append(Need(f"binfmt handlers of {' and '.join(lacking)} programs", enable))
    return found


def check(*, build: bool) -> None:
    """Raise WorkFailed where something is missing: each thing with its command, and all commands in one line."""
    found = missing(build=build)
    if not found:
        return
    lines = tuple(f"missing: {need.what}" + (f"   ({need.mend})" if need.mend else "") for need in found)
    commands = [need.mend for need in found if need.mend and not need.mend.startswith("sudo")]
    hint = " && ".join(commands) if commands else next((need.mend for need in found if need.mend), None)
    raise WorkFailed("this machine cannot run the lab as it is", detail=lines, hint=hint)


def for_counting() -> Need | None:
    """What this machine lacks to count instructions (devices/lab/counter.py); the lab runs without it."""
    packages = []
    if tool("cc") is None:
        packages.append("gcc")
    if not Path("/usr/include/stdio.h").exists():
        packages.append("libc6-dev")
    # Not the static ones that run the devices: those load no plugins.
    if tool("qemu-aarch64") is None or tool("qemu-arm") is None:
        packages.append("qemu-user")
    if not packages:
        return None
    names = " ".join(packages)
    return Need(f"packages: {names}", f"apt-get install {names}")


def tool(name: str) -> str | None:
    """Where a program is; also those of the administrator."""
    return shutil.which(name, path=_PATH)


def _handled(arch: str) -> bool:
    """Whether the kernel runs programs of that processor, inside any root file system (flag F)."""
    try:
        lines = (BINFMT / f"qemu-{arch}").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    return "enabled" in lines and "F" in flags
