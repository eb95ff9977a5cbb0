"""`devices` as a user runs it: what is printed where, exit codes, start-up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.devices.sshd import free_port

PROGRAM = [sys.executable, "-c", "import sys; sys.argv[0] = 'devices'; from devices.cli import main; main()"]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "POCKETZOO_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}


def devices(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], env=env, capture_output=True, text=True, timeout=120, check=False)


def no_server(tmp_path: Path) -> str:
    """An inventory whose phone is behind an adb server that does not run, on a host where none is started."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"devices:\n  kirin970:\n    transport: {{server: '127.0.0.2:{free_port()}'}}\n")
    return str(path)


def test_list(env: dict[str, str], tmp_path: Path) -> None:
    done = devices(env, "list", "--inventory", no_server(tmp_path))
    assert done.returncode == 0
    assert "kirin970" in done.stdout
    assert "next: devices show NAME" in done.stderr
    listed = json.loads(devices(env, "list", "--json", "--inventory", no_server(tmp_path)).stdout)["devices"]
    assert len(listed) == 8
    kirin = next(one for one in listed if one["name"] == "kirin970")
    assert (kirin["attached"], kirin["state"]) == (False, "not connected (no adb server)")
    assert kirin["clusters"][1]["core"] == "Cortex-A73"
    assert not (tmp_path / "home").exists()


def test_show_what_is_not_connected(env: dict[str, str], tmp_path: Path) -> None:
    done = devices(env, "show", "kirin970", "--inventory", no_server(tmp_path))
    assert done.returncode == 0
    assert "Cortex-A73" in done.stdout
    assert "Not connected." in done.stdout
    assert "no adb server answers" in done.stderr
    document = json.loads(devices(env, "show", "kirin970", "--json", "--inventory", no_server(tmp_path)).stdout)
    assert document["connected"] is False
    assert document["facts"] is None
    assert document["unavailable"]["exit_code"] == 3


def test_show_this_machine(env: dict[str, str]) -> None:
    document = json.loads(devices(env, "show", "local", "--json").stdout)
    machine = os.uname().machine
    assert document["facts"]["abis"] == [{"x86_64": "x86_64", "aarch64": "armv8", "armv7l": "armv7"}[machine]]
    assert document["contradictions"] == []
    text = devices(env, "show", "local")
    assert "fingerprint" in text.stdout
    assert document["facts"]["fingerprint"] in text.stdout


def test_an_unknown_name_is_exit_2(env: dict[str, str]) -> None:
    done = devices(env, "show", "kirin-970")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean kirin970?" in done.stderr
    assert "Traceback" not in done.stderr
    error = json.loads(devices(env, "show", "kirin-970", "--json").stdout)["error"]
    assert error["exit_code"] == 2


def test_a_wrong_inventory_is_exit_2(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("devices:\n  x:\n    runer: python\n    transport: {kind: local}\n")
    done = devices(env, "list", "--inventory", str(path))
    assert done.returncode == 2
    assert f"{path}:3: devices.x.runer: unknown key; did you mean runner?" in done.stderr
    assert devices(env, "list", "--inventory", str(tmp_path / "none.yaml")).returncode == 2


def test_doctor(env: dict[str, str], tmp_path: Path) -> None:
    done = devices(env, "doctor", "local")
    assert done.returncode == 0
    assert "ok    identity" in done.stdout
    away = devices(env, "doctor", "kirin970", "--inventory", no_server(tmp_path))
    assert away.returncode == 3
    assert "fail  device missing" in away.stdout
    document = json.loads(devices(env, "doctor", "local", "--json").stdout)
    assert document["devices"][0]["name"] == "local"
    assert {"name", "outcome", "says"} <= set(document["devices"][0]["checks"][0])


def test_trust_is_for_ssh(env: dict[str, str]) -> None:
    done = devices(env, "trust", "local")
    assert done.returncode == 2
    assert "not reached over ssh" in done.stderr


def test_help_imports_nothing_slow(env: dict[str, str]) -> None:
    code = (
        "import sys; from devices.cli import devices\n"
        "try: devices(['--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'paramiko', 'adbutils', 'numpy', 'pydantic', 'ruamel', 'msgspec'} & set(sys.modules)\n"
        "sys.exit(f'imported: {slow}' if slow else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("list", "show", "doctor", "trust"):
        assert devices(env, command, "--help").returncode == 0
