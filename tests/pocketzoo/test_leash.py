"""A process on a leash ends with whoever started it, with everything that it started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pocketzoo.farm.leash import run_leashed
from tests.processes import runs

# Starts another process, says the numbers of both, and waits; with "deaf" neither hears SIGTERM.
CHILD = """
import os, signal, subprocess, sys, time
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()} {inner.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""
PARENT = """
import subprocess, sys
from pocketzoo.farm.leash import run_leashed
with open("/dev/null", "wb") as nothing:
    run_leashed([sys.executable, *sys.argv[1:]], stop=lambda: False, stdout=nothing, stderr=nothing)
"""


def test_a_killed_parent_takes_child_and_grandchild_along(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, "-c", CHILD, str(tmp_path / "pids"), "hears"])
    pids = _pids(tmp_path / "pids")
    assert all(runs(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait(30)
    _until_gone(pids)


def test_one_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    code = "import sys; from pocketzoo.farm.leash import main; sys.exit(main(sys.argv[1:], 0.1))"
    argv = [sys.executable, "-c", code, sys.executable, "-c", CHILD, str(tmp_path / "pids"), "deaf"]
    leash = subprocess.Popen(argv, stdin=subprocess.PIPE)
    pids = _pids(tmp_path / "pids")
    assert leash.stdin is not None
    leash.stdin.close()
    assert leash.wait(60) == 128 + signal.SIGKILL
    _until_gone(pids)


def test_it_ends_when_it_is_not_wanted_any_more(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    argv = [sys.executable, "-c", CHILD, str(file), "hears"]
    with (tmp_path / "out").open("wb") as out:
        assert run_leashed(argv, stop=file.exists, stdout=out, stderr=out) is None
    _until_gone(_pids(file))


@pytest.mark.parametrize(
    ("code", "exit_code"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_what_it_prints_and_how_it_ends_is_what_the_command_does(tmp_path: Path, code: str, exit_code: int) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        argv = [sys.executable, "-c", f"import sys; print('said', flush=True); print(len(sys.stdin.read())); {code}"]
        assert run_leashed(argv, stop=lambda: False, stdout=out, stderr=err) == exit_code
    assert (tmp_path / "out").read_text().startswith("said")
    assert (tmp_path / "err").read_text() == ""


def _pids(file: Path) -> list[int]:
    end = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < end, "it never started"
        time.sleep(0.02)
    return [int(text) for text in file.read_text().split()]


def _until_gone(pids: list[int]) -> None:
    end = time.monotonic() + 120
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < end, f"still there: {pids}"
        time.sleep(0.02)
