"""The session's scripts under the shells and tools that devices have: dash, mksh (Android's), busybox (boards')."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices import scripts
from devices.parse import parse_conditions, parse_facts
from tests.devices.test_local import alive, gone

OWNER = "00112233445566aa"


@pytest.fixture(params=["dash", "bash", "mksh", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """A shell's argv, and an environment with the tools that go with it."""
    name = str(request.param)
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"needs {name}: apt-get install {name}")
    if name != "busybox":
        return [program], dict(os.environ)
    tools = tmp_path / "tools"
    tools.mkdir()
    subprocess.run([program, "--install", "-s", str(tools)], check=True)
    return [program, "sh"], {**os.environ, "PATH": str(tools)}


def run(shell: tuple[list[str], dict[str, str]], script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [*shell[0], "-c", script, "sh", *arguments]
    return subprocess.run(argv, env=shell[1], capture_output=True, text=True, timeout=120, check=False)


def test_prepare_push_hash_release(shell: tuple[list[str], dict[str, str]], tmp_path: Path) -> None:
    work = tmp_path / "a work folder"
    prepared = run(shell, scripts.PREPARE, OWNER, str(work), "900", "me")
    assert (prepared.returncode, prepared.stdout) == (0, f"{work}\n"), prepared.stderr
    files = work / "files"
    good, bad = hashlib.sha256(b"good").hexdigest(), hashlib.sha256(b"bad").hexdigest()
    (files / "p1").write_bytes(b"good")
    (files / "p2").write_bytes(b"changed")
    published = run(shell, scripts.PUBLISH, str(files), "p1", f"{good}.x", good, "p2", f"{bad}.x", bad)
    assert published.returncode == scripts.NOT_PUBLISHED
    assert published.stdout.split() == [f"{bad}.x", hashlib.sha256(b"changed").hexdigest()]
    assert [path.name for path in files.iterdir()] == [f"{good}.x"]
    assert os.access(files / f"{good}.x", os.X_OK)
    hashed = run(shell, scripts.HASH, str(files), "missing", f"{good}.x", "other")
    assert hashed.stdout.split() == [good, f"{good}.x"]
    assert run(shell, scripts.HASH, str(files), "missing").stdout == ""
    taken = run(shell, scripts.CLAIM, str(work), "other", "60", "they")
    assert taken.returncode == scripts.TAKEN
    assert taken.stdout.startswith("me; free in at most ")
    assert run(shell, scripts.RELEASE, str(work), "other").returncode != 0
    assert run(shell, scripts.RELEASE, str(work), OWNER).returncode == 0
    assert run(shell, scripts.CLAIM, str(work), "other", "60", "they").returncode == 0


def test_end_all_ends_what_is_marked_and_nothing_else(shell: tuple[list[str], dict[str, str]]) -> None:
    def start(mark: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "600"], env={**os.environ, scripts.MARK: mark}, start_new_session=True)

    marked, other = start(f"{OWNER}.1"), start("ffffffffffffffff.1")
    try:
        done = run(shell, scripts.END_ALL, OWNER)
        assert done.returncode == 0, done.stderr
        assert f"killed {marked.pid}" in done.stdout.splitlines()
        assert "left" not in done.stdout
        assert gone(marked.pid)
        assert alive(other.pid)
    finally:
        for process in (marked, other):
            process.kill()
            process.wait()


def test_probing(shell: tuple[list[str], dict[str, str]], tmp_path: Path) -> None:
    facts = run(shell, scripts.FACTS, "/no/such/program")
    assert facts.returncode == 0
    assert "/no/such/program 127" in facts.stdout
    known = parse_facts(facts.stdout, name="x", proofs={})
    assert known.cores == os.cpu_count()
    assert known.kernel
    conditions = run(shell, scripts.CONDITIONS, str(tmp_path))
    assert conditions.returncode == 0
    now = parse_conditions(conditions.stdout, time=datetime.now(UTC))
    assert now.load1 is not None
    assert now.free_bytes
