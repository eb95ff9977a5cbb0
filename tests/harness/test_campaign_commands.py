"""run, resume, plan and compare as a user types them, on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.harness.conftest import SCRIPTS, Command
from tests.harness.killing import kill_and_resume

QUICK = ("--device", "local", "--model", "tiny", "--runs", "5", "--warmup", "1", "--retry", "0")


def test_killed_at_random_moments_every_cell_is_measured_once(command: Command, home: Path) -> None:
    options = (*QUICK, "--threads", "1,2", "--repeats", "4")
    done = kill_and_resume(home, options, kills=4, seed=20261121, longest_s=4.0)
    assert done.wrong == []
    assert done.kills == 4
    assert done.repeats >= 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_end_says_what_is_stored_and_how_to_go_on(command: Command, number: signal.Signals) -> None:
    argv = ["env", "--default-signal=INT", str(SCRIPTS / "harness"), "run", *QUICK, "--threads", "1", "--repeats", "8"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("[3/"):
            os.kill(process.pid, number)
            break
    out, rest = process.communicate(timeout=120)
    said += rest
    assert process.returncode == 130, said
    assert out == ""
    assert "Traceback" not in said
    assert "2 of 8 repeats were measured and are stored" in said
    campaign = next(line.split()[1] for line in said.splitlines() if line.startswith("campaign "))
    assert f"harness resume {campaign}" in said
    resumed = command("harness", "resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert "6 repeats to run" in resumed.stderr
    (cell,) = json.loads(resumed.stdout)
    assert len(cell["samples_ns"]) == 8
    again = command("harness", "resume", campaign)
    assert again.returncode == 0
    assert f"nothing is missing of campaign {campaign}" in again.stderr
    assert again.stdout == ""


def test_a_lost_device_is_told_stops_no_other_and_is_tried_again(command: Command, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(
        "devices:\n  away:\n    transport: {kind: ssh, host: 127.0.0.1, port: 1}\n    runner: python\n"
    )
    options = (*QUICK, "--threads", "1", "--repeats", "1", "--inventory", str(inventory), "--device", "away")
    done = command("harness", "run", *options, "--json")
    assert done.returncode == 3, done.stderr
    assert [cell["device"] for cell in json.loads(done.stdout)] == ["local"]
    assert "away" in done.stderr
    resumed = command("harness", "resume")
    assert resumed.returncode == 3
    assert "local: 0 repeats to run" in resumed.stderr
    inventory.write_text("devices:\n  away:\n    transport: {kind: local}\n    runner: python\n")


def test_a_model_that_fails_is_not_tried_again_unless_asked(command: Command) -> None:
    options = (*QUICK, "--threads", "1", "--repeats", "1", "--deadline", "0.05")
    done = command("harness", "run", *options)
    assert done.returncode == 1, done.stderr
    assert "failed: tiny" in done.stdout
    again = command("harness", "resume")
    assert "nothing is missing" in again.stderr
    tried = command("harness", "resume", "--retry-failed")
    assert tried.returncode == 1
    assert "1 repeats to run" in tried.stderr


def test_a_plan_says_what_is_measured_what_cannot_run_and_how_long(command: Command) -> None:
    plan = command("harness", "plan", "--device", "local", "--model", "tiny", "--runs", "5", "--warmup", "1")
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.count("to run    tiny") == 3
    assert "time not known before a first run of each model" in plan.stdout
    assert command("harness", "run", *QUICK, "--threads", "1").returncode == 0
    options = ("--device", "local", "--model", "tiny", "--runs", "5", "--warmup", "1", "--abi", "armv7,x86_64,armv8")
    (device,) = json.loads(command("harness", "plan", *options, "--json").stdout)
    assert sorted(cell["measured"] for cell in device["cells"]) == [False, False, True]
    assert device["estimate_s"] > 0
    assert {case["abi"] for case in device["impossible"]} < {"armv7", "armv8", "x86_64"}
    pinned = json.loads(command("harness", "plan", *QUICK[:4], "--affinity", "f00", "--json").stdout)[0]
    assert pinned["cells"] == []
    assert "CPUs 0 to" in pinned["impossible"][0]["reason"]


def test_a_device_that_is_away_is_planned_as_such(command: Command) -> None:
    plan = command("harness", "plan", "--device", "kirin970", "--device", "local", "--model", "tiny")
    assert plan.returncode == 3
    assert plan.stdout.count("cannot    tiny on kirin970, armv") == 6
    assert "harness runner add PATH --abi armv7" in plan.stdout
    assert "kirin970: 6 cells by its inventory entry, none can run now" in plan.stdout
    assert "local: 3 of 3 cells to run" in plan.stdout


def test_affinity_is_set_verified_and_part_of_the_cell(command: Command) -> None:
    done = command("harness", "run", *QUICK, "--threads", "1", "--repeats", "1", "--affinity", "0x1", "--json")
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)
    assert cell["affinity"] == "0"
    assert cell["output_check"]["outcome"] == "agrees"


def test_a_campaign_file_does_what_it_says(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "nightly.yaml"
    path.write_text(
        "devices: local\nmodels: tiny\nwarmup: 1\nruns: 5\nthreads: 1\nrepeats: 2\nretry: 0\npublish: true\n"
    )
    done = command("harness", "run", "--campaign", str(path), "--json")
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)
    assert (cell["runs"], cell["repeats"], cell["threads_requested"]) == (5, 2, 1)
    assert "published 1 new measurements" in done.stderr


def test_comparing_says_what_differs_and_keeps_the_gate(command: Command) -> None:
    for threads in ("1", "2"):
        assert command("harness", "run", *QUICK, "--threads", threads, "--repeats", "5").returncode == 0
    cells = json.loads(command("harness", "results", "--json").stdout)
    one, two = sorted(cells, key=lambda cell: cell["threads_requested"])
    refused = command("harness", "compare", one["job_key"][:12], two["job_key"][:12])
    assert refused.returncode == 2
    assert "threads: 1 and 2" in refused.stderr
    same = command("harness", "compare", "tiny", "tiny", "--device", "local", "--threads", "1")
    assert same.returncode == 2
    assert "same measurement" in same.stderr
    found = command("harness", "compare", "tiny@local", two["job_key"][:12], "--allow", "threads", "--json")
    assert found.returncode == 0, found.stderr
    records = json.loads(found.stdout)
    assert all(r["second"]["verdict"] and r["ratio"] > 0 and r["p"] <= 1 for r in records)
    text = command("harness", "compare", "tiny@local", two["job_key"][:12], "--allow", "threads").stdout
    assert "measured on hardware, 1 warm-up + 5 runs x 5" in text
    assert "Mann-Whitney U over 5 and 5 repeats" in text
    unknown = command("harness", "compare", "tiny", "tinny")
    assert unknown.returncode == 2
    assert "did you mean tiny" in unknown.stderr
