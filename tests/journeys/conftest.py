"""The main job, run once for all tests of this folder: real weights, real photos, real measurements."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))


@dataclass(frozen=True)
class Demo:
    """What ``make demo`` left behind: its state folder, its report, and what it printed."""

    home: Path
    out: Path
    said: str

    def environment(self) -> dict[str, str]:
        """As in an activated environment, with the demo's state folder."""
        path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "POCKETZOO_HOME": str(self.home), "PATH": path}

    def run(self, *argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """One of our commands, as a process."""
        return subprocess.run(
            [str(SCRIPTS / argv[0]), *argv[1:]],
            env=self.environment(),
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


def make_demo(home: Path, out: Path) -> str:
    """``make demo`` with a state folder and a report folder of its own."""
    done = subprocess.run(
        ["make", "--no-print-directory", "demo", f"VENV={SCRIPTS.parent}", f"OUT={out}"],
        cwd=ROOT,
        env={**os.environ, "POCKETZOO_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    home, out = folder / "home", folder / "report"
    return Demo(home, out, make_demo(home, out))
