"""One owner at a time, shown with real second processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices import lock
from devices.errors import DeviceBusy
from pocketzoo.errors import DeviceUnavailable

HOLD = """
import sys
from pathlib import Path
from devices import lock
held = lock.acquire(Path(sys.argv[1]), "adb-X", device="phone")
print("held", flush=True)
sys.stdin.read()
held.release()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_told_who_has_it_since_when(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(DeviceBusy) as caught:
        lock.acquire(tmp_path, "adb-X", device="phone", wait_s=0.3)
    assert isinstance(caught.value, DeviceUnavailable)
    assert caught.value.exit_code == 3
    assert f"phone is in use by process {holder.pid} of " in caught.value.what
    assert " since 20" in caught.value.what
    assert "after waiting 0.3 s" in caught.value.what
    assert f"ps -p {holder.pid}" in str(caught.value.hint)


def test_kill_9_of_the_owner_frees_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    with lock.acquire(tmp_path, "adb-X", device="phone", wait_s=60) as held:
        assert str(os.getpid()) in held.path.read_text()


def test_waiting_takes_over_when_the_owner_lets_go(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert holder.stdin is not None
    holder.stdin.close()
    lock.acquire(tmp_path, "adb-X", device="phone", wait_s=60).release()
    holder.wait(timeout=60)
    holder.stdin = None


def test_another_device_is_free(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    lock.acquire(tmp_path, "adb-Y", device="other").release()


def test_in_one_process_too(tmp_path: Path) -> None:
    with lock.acquire(tmp_path, "local", device="local") as held:
        with pytest.raises(DeviceBusy):
            lock.acquire(tmp_path, "local", device="local")
        held.release()
        held.release()
    lock.acquire(tmp_path, "local", device="local").release()


def test_a_key_with_any_characters_is_one_file(tmp_path: Path) -> None:
    with lock.acquire(tmp_path, "ssh-me@[::1]:22/../x", device="b") as held:
        assert held.path.parent == tmp_path


def test_a_lease_of_a_process_that_ended_here_is_nobodys() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "from devices import lock; print(lock.lessee())"], stdout=-1)
    assert lock.ended_here(lock.lessee()) is False
    words = ended.communicate()[0].decode().strip()
    assert lock.ended_here(words) is True
    other_host = re.sub(r"\[\w+\]", "[00000000]", words)
    assert lock.ended_here(other_host) is False
    # Its number may be another process's by now: one that began after the lease was written.
    reused = re.sub(r"process \d+", f"process {os.getpid()}", words).replace("since 20", "since 19")
    assert lock.ended_here(reused) is True


@pytest.mark.parametrize("words", ["", "another host", "process 1 of a@b", "process x of a@b [c] since d"])
def test_words_that_say_nothing_evict_nobody(words: str) -> None:
    assert lock.ended_here(words) is False
