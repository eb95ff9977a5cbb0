"""A zoo with a small real model, and commands as processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(sysconfig.get_path("scripts"))
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home() -> Path:
    """The state folder of this test."""
    return Path(os.environ["POCKETZOO_HOME"])


@pytest.fixture(scope="session")
def added(tiny_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose zoo holds the model ``tiny``, made once; it is to be copied."""
    folder = tmp_path_factory.mktemp("added")
    done = subprocess.run(
        [str(SCRIPTS / "zoo"), "add", str(tiny_tflite), "--name", "tiny"],
        env={**os.environ, "POCKETZOO_HOME": str(folder)}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def command(home: Path, added: Path) -> Command:
    """One of our commands, as a process; the zoo holds the model ``tiny``."""
    shutil.copytree(added, home, dirs_exist_ok=True)

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPTS / argv[0]), *argv[1:]], capture_output=True, text=True, check=False, timeout=300
        )

    return run
