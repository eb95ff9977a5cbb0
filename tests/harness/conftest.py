"""A zoo with a small real model, and commands as processes."""

from __future__ import annotations

import os
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


@pytest.fixture
def command(home: Path, tiny_tflite: Path) -> Command:
    """One of our commands, as a process; the zoo holds the model ``tiny``."""

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPTS / argv[0]), *argv[1:]], capture_output=True, text=True, check=False, timeout=300
        )

    added = run("zoo", "add", str(tiny_tflite), "--name", "tiny")
    assert added.returncode == 0, added.stderr
    return run
