"""What is put into a root file system after Debian's own packages: pinned wheels, the stand-in tool, mount points."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

from devices.lab.identity import ArmAbi
from pocketzoo.errors import WorkFailed

SUITE = "bookworm"
PYTHON = "3.11"  # Debian 12's own
PACKAGES = ("python3", "python3-numpy", "openssh-server", "libstdc++6")
LITERT = "/opt/litert"
LITERT_PYTHON = f"{LITERT}/bin/python3"
VERSION = 1  # of what this module does; part of the cache key
TOOL = Path(__file__).with_name("benchmark_model.py")


class Architecture(NamedTuple):
    """One ABI in the words of Debian, the kernel and the wheels."""

    debian: str
    machine: str
    platforms: tuple[str, ...]


ARCHITECTURES: dict[ArmAbi, Architecture] = {
    "armv8": Architecture(
        "arm64",
        "aarch64",
        ("manylinux_2_34_aarch64", "manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"),
    ),
    "armv7": Architecture("armhf", "armv7l", ("manylinux_2_34_armv7l",)),
}
# tflite-runtime wants numpy 1, ai-edge-litert numpy 2: never in one environment. No ai-edge-litert exists for armv7.
TFLITE = ("tflite-runtime==2.14.0",)
LITERT_WHEELS = (
    "ai-edge-litert==2.3.0",
    "backports.strenum==1.2.8",
    "flatbuffers==25.12.19",
    "ml_dtypes==0.6.0",
    "numpy==2.0.2",
    "protobuf==7.36.2",
    "tqdm==4.70.1",
    "typing-extensions==4.12.2",
)
_LITERT_ENTRY = f"""#!/bin/sh
PYTHONPATH={LITERT}/lib exec /usr/bin/python3 "$@"
"""
_TOOL_ENTRY = f"""#!/bin/sh
# A stand-in for TFLite's benchmark_model: its flags and its output, inferences of the Python runtime that is here.
python=/usr/bin/python3
[ -x {LITERT_PYTHON} ] && python={LITERT_PYTHON}
exec $python /usr/local/lib/benchmark_model.py "$@"
"""
# Places where something is mounted, as the root itself is read-only; and those of Android that programs expect.
_FOLDERS = ("data/local/tmp", "sdcard", "system/bin", "sys/devices/system/cpu", "proc", "dev", "run", "tmp", "root")


def key(abi: ArmAbi) -> str:
    """Names the content of a root file system: another list, version or script is another one."""
    wheels = (*TFLITE, *(LITERT_WHEELS if abi == "armv8" else ()))
    parts = (
        SUITE,
        PYTHON,
        str(VERSION),
        *ARCHITECTURES[abi][:2],
        *PACKAGES,
        *wheels,
        *_FOLDERS,
        _LITERT_ENTRY,
        _TOOL_ENTRY,
    )
    return hashlib.sha256("\0".join(parts).encode() + TOOL.read_bytes()).hexdigest()[:16]


def provision(root: Path, abi: ArmAbi) -> None:
    """Complete a fresh root file system.

    Raises:
        WorkFailed: a wheel could not be had.
    """
    packages = root / "usr/lib/python3/dist-packages"
    _install(TFLITE, abi, packages)
    if abi == "armv8":
        _install(LITERT_WHEELS, abi, root / LITERT.lstrip("/") / "lib")
        _program(root / LITERT_PYTHON.lstrip("/"), _LITERT_ENTRY)
    (root / "usr/local/lib/benchmark_model.py").write_bytes(TOOL.read_bytes())
    _program(root / "usr/local/bin/benchmark_model", _TOOL_ENTRY)
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    shell = root / "system/bin/sh"
    if not shell.is_symlink():
        shell.symlink_to("/bin/sh")
    passwd = root / "etc/passwd"
    users = passwd.read_text(encoding="utf-8")
    if "\nshell:" not in users:  # the user adb runs commands as
        passwd.write_text(f"{users}shell:x:2000:2000::/data/local/tmp:/bin/sh\n", encoding="utf-8")


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _install(wheels: tuple[str, ...], abi: ArmAbi, into: Path) -> None:
    """Download wheels with this Python's own pip, and unpack them: nothing of them runs here."""
    with tempfile.TemporaryDirectory(prefix="pocketzoo-wheels-") as folder:
        _download(wheels, abi, Path(folder))
        into.mkdir(parents=True, exist_ok=True)
        for wheel in sorted(Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(into)


def _download(wheels: tuple[str, ...], abi: ArmAbi, into: Path) -> None:
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    argv += ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, "--dest", str(into)]
    for platform in ARCHITECTURES[abi].platforms:
        argv += ["--platform", platform]
    said = ""
    for pause in (2, 8, None):
        done = subprocess.run(
            [*argv, *wheels],
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "PIP_NO_INPUT": "1"},
            check=False,
        )
        if done.returncode == 0:
            return
        said = done.stderr
        if "No module named pip" in said:
            break
        if pause is not None:
            time.sleep(pause)
    raise WorkFailed(
        f"the wheels for the lab's {abi} root file system could not be downloaded",
        detail=tuple(line for line in said.strip().splitlines() if not line.startswith("WARNING"))[-4:],
        hint=f"try by hand: {sys.executable} -m pip download --no-deps --only-binary=:all: --python-version {PYTHON} "
        f"--platform {ARCHITECTURES[abi].platforms[0]} {wheels[0]}",
    )
