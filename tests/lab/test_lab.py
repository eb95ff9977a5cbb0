"""`devices lab`: up, down, status, what they tell when something broke, and a measurement from end to end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devices.errors import DeviceMissing
from devices.inventory import load_inventory
from devices.lab import lab as work
from devices.lab import start, state
from devices.lab.members import MEMBERS
from devices.session import open_session
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from tests.harness.conftest import SCRIPTS
from tests.harness.farm.rig import farm
from tests.harness.results import postgres

BOARDS = [member for member in MEMBERS if member.kind == "board"]


def command(program: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.argv[0] = {program!r}; from {program}.cli import main; main()"
    env = {**os.environ, "POCKETZOO_HOME": str(home)}
    argv = [sys.executable, "-c", code, *arguments]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, check=False)


def processes() -> dict[str, int]:
    return {one.name: one.process.pid for one in state.load().devices}


def test_up_again_starts_nothing(lab: Path) -> None:
    before = processes()
    assert work.up([], inventory=load_inventory(), say=print) == []
    assert processes() == before
    assert all(one.state == "up" for one in work.status()["devices"] if one.name in before)


def test_a_killed_board_is_dead_then_mended(lab: Path) -> None:
    before = state.load()
    board = next(one for one in before.devices if one.name == "lab-board-armv7")
    inside = state._children(board.process.pid)
    assert inside
    os.kill(board.process.pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while state.alive(board.process) or any(Path(f"/proc/{pid}/root").exists() for pid in inside):
        start.reap()
        assert time.monotonic() < until, "its namespace outlived it"
        time.sleep(0.05)
    assert str(lab) not in Path("/proc/mounts").read_text()
    assert {one.name: one.state for one in work.status()["devices"]}["lab-board-armv7"] == "dead"
    with pytest.raises(DeviceMissing, match="not up") as caught:
        load_inventory().get("lab-board-armv7")
    assert caught.value.hint == "devices lab up"
    assert work.up([], inventory=load_inventory(), say=print) == ["lab-board-armv7"]
    after = {one.name: one for one in state.load().devices}
    assert after["lab-board-armv7"].port == board.port
    for one in before.devices:
        if one.name != "lab-board-armv7":
            assert after[one.name].process == one.process
    with open_session(load_inventory().get("lab-board-armv7")) as session:
        assert session.run(["uname", "-m"], deadline_s=60).stdout == b"armv7l\n"


def test_a_killed_adb_server_is_started_again(lab: Path) -> None:
    before = state.load()
    assert before.adb is not None
    os.kill(before.adb.process.pid, signal.SIGKILL)
    assert state._gone([before.adb.process], 10)
    server = work.status()["adb_server"]
    assert server["state"] == "dead"
    assert work.up([], inventory=load_inventory(), say=print) == ["adb server"]
    after = state.load()
    assert after.adb is not None
    assert (after.adb.port, after.devices) == (before.adb.port, before.devices)
    assert all(one.state == "up" for one in work.status()["devices"] if one.name in processes())


def test_up_ends_what_a_killed_up_left(lab: Path, tmp_path: Path) -> None:
    left = start._launch(["sleep", "600"], log=tmp_path / "log")
    assert left.pid in work.status()["strays"]
    assert work.up([], inventory=load_inventory(), say=print) == []
    assert not state.alive(left)
    assert work.status()["strays"] == []


def test_a_number_that_another_process_has_now_is_not_ended(lab: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        found = state.process(other.pid, "x")
        assert found is not None
        state.end(state.Process(pid=other.pid, started=found.started - 1, boot=found.boot, nonce="x"))
        state.end(state.Process(pid=other.pid, started=found.started, boot="another boot", nonce="x"))
        assert other.poll() is None
        other.kill()


def test_two_labs_side_by_side_and_down(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = processes()
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "second"))
    assert work.up([], inventory=load_inventory(), say=print, base=BOARDS) == [
        "adb server",
        "lab-board-armv8",
        "lab-board-armv7",
    ]
    try:
        assert "lab-board-armv7" in load_inventory().names
        second = [one.process for one in state.load().devices]
    finally:
        ended = work.down()
    assert sorted(ended) == ["adb server", "lab-board-armv7", "lab-board-armv8"]
    assert not any(state.alive(one) for one in second)
    assert "lab-board-armv7" not in load_inventory().names
    assert work.down() == []
    monkeypatch.setenv("POCKETZOO_HOME", str(lab))
    assert processes() == first
    assert all(state.alive(one.process) for one in state.load().devices)


def test_show_proves_the_abi(lab: Path) -> None:
    document = json.loads(command("devices", "show", "lab-board-armv7", "--json", home=lab).stdout)
    assert document["facts"]["abis"] == ["armv7"]
    assert document["facts"]["abi_proofs"]["armv7"] == "a static armv7 ELF ran under kernel machine armv7l"
    assert document["contradictions"] == []
    assert "emulated" in document["inventory"]["tags"]


def test_status_for_people_and_programs(lab: Path) -> None:
    shown = command("devices", "lab", "status", home=lab)
    assert shown.returncode == 0
    assert "cortex-a72" in shown.stdout
    document = json.loads(command("devices", "lab", "status", "--json", home=lab).stdout)
    board = next(one for one in document["devices"] if one["name"] == "lab-board-armv8")
    assert (board["state"], board["abi"], board["qemu_cpu"]) == ("up", "armv8", "cortex-a72")
    assert document["adb_server"]["state"] == "up"
    assert all(one["built"] for one in document["root_file_systems"])


def test_a_user_file_overrides_a_lab_device(lab: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("devices:\n  lab-board-armv8:\n    transport: {python: /usr/bin/python3}\n")
    spec = load_inventory(mine).get("lab-board-armv8")
    assert spec.transport.python == "/usr/bin/python3"  # type: ignore[union-attr]
    assert spec.transport.port == load_inventory().get("lab-board-armv8").transport.port  # type: ignore[union-attr]
    with open_session(spec) as session:
        assert session.python == "/usr/bin/python3"


def test_measured_from_end_to_end(lab: Path, tiny_tflite: Path) -> None:
    added = command("zoo", "add", str(tiny_tflite), "--name", "tiny", home=lab)
    assert added.returncode == 0, added.stderr
    protocol = ["--model", "tiny", "--runs", "3", "--warmup", "1", "--threads", "1", "--repeats", "1", "--json"]
    done = command("harness", "run", "--device", "lab-board-armv7", *protocol, home=lab)
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)
    assert (cell["abi"], cell["provenance"]) == ("armv7", "emulated")
    assert cell["verdict"] == "emulated"
    assert len(cell["samples_ns"][0]) == 3
    assert cell["runner"]["runtime"].startswith("tflite-runtime")


def test_a_farm_measures_a_board_that_is_killed_and_comes_back(lab: Path, tiny_tflite: Path, tmp_path: Path) -> None:
    with postgres.running() as server, farm(tmp_path, server.new_database(), tiny_tflite) as rig:
        rig.scheduler()
        argv = [str(SCRIPTS / "harness"), "farm", "worker", "--scheduler", rig.address, "--name", "bench"]
        rig.start("bench", [*argv, "--device", "lab-board-armv7", "--check-every", "2"], str(lab))
        rig.offers("bench", 1)
        protocol = ["--model", "tiny", "--runs", "3", "--warmup", "1", "--threads", "1,2", "--repeats", "2", "--json"]
        wish = ["--any", "abi=armv7,tag=emulated"]
        rig.client("client", "run", "--farm", rig.address, *wish, *protocol, printed="cells")
        rig.until(lambda: rig.stored() >= 1, "the first repeat")
        board = next(one for one in state.load().devices if one.name == "lab-board-armv7")
        os.kill(board.process.pid, signal.SIGKILL)
        rig.until(lambda: "lab-board-armv7 is not offered" in rig.said("bench"), "the host to take it back")
        work.up([], inventory=load_inventory(), say=print)
        assert rig.ended("client") == 0, rig.said("client")
        assert rig.unsound(cells=2, repeats=2) == []
        (device,) = rig.status()["devices"]
        cells = json.loads((tmp_path / "cells").read_text())
    assert {(cell["device"], cell["abi"], cell["provenance"]) for cell in cells} == {
        ("lab-board-armv7", "armv7", "emulated")
    }
    assert sorted(cell["threads_requested"] for cell in cells) == [1, 2]
    assert (device["host"], device["offered"], device["abis"]) == ("bench", True, ["armv7"])


@pytest.mark.parametrize("name", ["lab-board-armv8", "lab-board-armv7"])
def test_stand_in_benchmark_model(lab: Path, tiny_tflite: Path, name: str) -> None:
    with open_session(load_inventory().get(name)) as session:
        there = session.push({sha256_file(tiny_tflite): tiny_tflite})
        argv = ["benchmark_model", f"--graph={next(iter(there.values()))}", "--num_runs=4", "--min_secs=0"]
        done = session.run([*argv, "--warmup_min_secs=0", "--num_threads=1", "--max_secs=100"], deadline_s=120)
    assert done.ok, done.stderr
    assert b"INFO: count=1 curr=" in done.stdout  # the warm-up
    assert b"INFO: count=4 first=" in done.stdout
    assert b"Inference (avg): " in done.stdout


def test_a_lab_that_is_not_up_says_how_to_start_it(tmp_path: Path) -> None:
    for name, hint in (
        ("lab-board-armv7", "devices lab up"),
        ("lab:snapdragon855", "devices lab up --as snapdragon855"),
    ):
        done = command("devices", "show", name, home=tmp_path)
        assert done.returncode == 3
        assert f"next:  {hint}\n" in done.stderr
    status = command("devices", "lab", "status", "--json", home=tmp_path)
    assert status.returncode == 0
    assert {one["state"] for one in json.loads(status.stdout)["devices"]} == {"down"}
    assert not list(tmp_path.iterdir())
    assert "nothing" in command("devices", "lab", "down", home=tmp_path).stdout


def test_what_cannot_be_imitated_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    with pytest.raises(BadInput, match="no ARM ABI"):
        work.up(["v100"], inventory=load_inventory(), say=print)
    with pytest.raises(BadInput, match="unknown device"):
        work.up(["snapdragon854"], inventory=load_inventory(), say=print)
    assert not (tmp_path / "home").exists()


def test_a_damaged_state_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path))
    (tmp_path / "lab").mkdir()
    for text in ("", "{", '{"version": 99}', '{"devices": [1]}'):
        (tmp_path / "lab" / "state.json").write_text(text)
        assert state.load() == state.LabState()
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / "lab" / "inventory.yaml").unlink()
    assert "lab-board-armv7" not in load_inventory().names
