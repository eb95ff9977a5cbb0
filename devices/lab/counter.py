"""The instruction counter of the lab: this machine's QEMU with a plugin, made ready to run inside a virtual device.

The QEMU that runs a device's programs is static and loads no plugins. The one of the package qemu-user does; with its
libraries and loader in one folder it runs in any root file system. That folder is mounted at :data:`PLACE` of each
device, so that the root file systems stay as they are: `/run/pocketzoo/count PROGRAM ARGUMENT...` counts one program.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from devices.lab import needs, rootfs
from devices.lab.identity import ArmAbi
from pocketzoo.decodable import decodable
from pocketzoo.errors import WorkFailed

PLACE = "/run/pocketzoo"  # on the device; a place that every device has in memory
COMMAND = f"{PLACE}/count"
ABOUT = f"{PLACE}/about.json"
TAG = "counts-instructions"  # of the inventory entry of a device that has it
SOURCE = Path(__file__).with_name("insn_count.c")
_QEMU: dict[ArmAbi, str] = {"armv8": "qemu-aarch64", "armv7": "qemu-arm"}
_FLAGS = ("-O2", "-fPIC", "-shared", "-fvisibility=hidden")
_COUNT = f"""#!/bin/sh
exec {PLACE}/ld.so --library-path {PLACE}/lib {PLACE}/qemu -plugin {PLACE}/insn_count.so "$@"
"""
_SAID = 4  # lines of a tool's output in an error


class About(msgspec.Struct, frozen=True):
    """What a device says of its counter.

    Attributes:
        qemu: QEMU's version, as it prints it.
        key: names the content: plugin, QEMU and its libraries.
    """

    qemu: str
    key: str


decodable(About)


def ensure(abi: ArmAbi, *, say: Callable[[str], None]) -> Path | None:
    """Have the counter for one ABI; made once and kept beside the root file systems, named by its content.

    Args:
        abi: of the programs to count.
        say: told why there is none, with the command that mends it.

    Returns:
        The folder. None where the machine lacks a compiler or that QEMU, or they do not fit: a lab works without.
    """
    lacking = needs.for_counting()
    if lacking is not None:
        say(f"instructions cannot be counted on {abi} devices without {lacking.what}   ({lacking.mend})")
        return None
    try:
        return _made(abi)
    except WorkFailed as error:
        say(f"instructions cannot be counted on {abi} devices\n{error.as_text()}")
        return None


def _made(abi: ArmAbi) -> Path:
    qemu = Path(str(needs.tool(_QEMU[abi])))
    loader, libraries = parse_ldd(_output(["ldd", str(qemu)]))
    key = _key([SOURCE, qemu, loader, *libraries])
    final = rootfs.cache() / f"counter-{abi}-{key}"
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=final.parent, prefix=".counter-"))
    try:
        made.chmod(0o755)
        (made / "lib").mkdir()
        shutil.copy(qemu, made / "qemu")
        shutil.copy(loader, made / "ld.so")
        for library in libraries:
            shutil.copy(library, made / "lib" / library.name)
        _output([str(needs.tool("cc")), *_FLAGS, "-o", str(made / "insn_count.so"), str(SOURCE)])
        (made / "count").write_text(_COUNT, encoding="ascii")
        (made / "count").chmod(0o755)
        version = _output([str(qemu), "--version"]).splitlines()[0]
        about = About(qemu=version.partition("version ")[2] or version, key=key)
        (made / "about.json").write_bytes(msgspec.json.encode(about))
        _prove(made, abi)
        _put(made, final)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return final


def parse_ldd(printed: str) -> tuple[Path, list[Path]]:
    """The loader and the libraries of a program, from what ``ldd`` prints of it.

    Raises:
        WorkFailed: it names no loader, or a library that is not there.
    """
    missing = re.findall(r"^\s*(\S+) => not found", printed, re.MULTILINE)
    if missing:
        raise WorkFailed(f"QEMU's libraries are not complete: {', '.join(missing)}", hint="apt-get install qemu-user")
    loader = re.search(r"^\s*(/\S*ld[-.]\S+) \(0x", printed, re.MULTILINE)
    if loader is None:
        raise WorkFailed("QEMU's loader cannot be told: ldd names none", hint="apt-get install --reinstall qemu-user")
    libraries = re.findall(r"^\s*\S+ => (/\S+) \(0x", printed, re.MULTILINE)
    return Path(loader[1]), [Path(one) for one in libraries]


def _key(files: list[Path]) -> str:
    digest = hashlib.sha256("\0".join((_COUNT, *_FLAGS)).encode())
    for file in files:
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _prove(made: Path, abi: ArmAbi) -> None:
    """Count a program of the device: QEMU loads the plugin, and the plugin counts."""
    root = rootfs.path_of(abi)
    argv = [str(made / "ld.so"), "--library-path", str(made / "lib"), str(made / "qemu"), "-L", str(root)]
    done = _run([*argv, "-plugin", str(made / "insn_count.so"), str(root / "bin/true")])
    if done.returncode or not re.fullmatch(r"[1-9]\d* instructions", done.stderr.strip()):
        raise WorkFailed(
            f"QEMU does not count {abi} instructions",
            detail=tuple((done.stderr or done.stdout).strip().splitlines()[-_SAID:]),
            hint="the plugin is made for QEMU 6.0 to 8.2, as Debian 12 has it",
        )


def _put(made: Path, final: Path) -> None:
    try:
        made.rename(final)
    except OSError:
        if not final.is_dir():  # else another process was faster: the same content
            raise


def _output(argv: list[str]) -> str:
    done = _run(argv)
    if done.returncode:
        raise WorkFailed(
            f"the instruction counter cannot be made: {Path(argv[0]).name} failed",
            detail=tuple((done.stderr or done.stdout).strip().splitlines()[-_SAID:]),
            hint="apt-get install --reinstall gcc libc6-dev qemu-user",
        )
    return done.stdout


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
