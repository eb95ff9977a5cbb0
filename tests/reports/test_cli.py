"""The command as a process: exit codes, streams, JSON, and what it reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.job import Cell
from harness.results import Results
from reports import gather
from reports.cells import Material
from reports.steps import load
from tests.reports.golden import PAGES
from tests.reports.records import material
from zoo.artifact import encode
from zoo.kept import measurement_file
from zoo.measurement import Measurement
from zoo.store import Store

COMMAND = (sys.executable, "-m", "reports.cli")


def call(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "POCKETZOO_HOME": str(cwd / "home")}
    return subprocess.run([*COMMAND, *args], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_build_with_an_empty_home_says_what_to_do_and_leaves_no_state(tmp_path: Path) -> None:
    done = call("build", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "harness run --device local" in done.stdout
    assert done.stdout.splitlines()[-1] == str(Path("out/report/README.md"))
    assert (tmp_path / "out/report/README.md").is_file()
    assert not (tmp_path / "home").exists()


def test_build_prints_one_json_document(tmp_path: Path) -> None:
    done = call("build", "--out", "r", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    # Curves that are kept in docs/data stand in every report, in one plot.
    plots = ["steps-latency.png", "steps-latency.svg"] if load() else []
    assert document == {
        "out": "r",
        "files": sorted([*PAGES, "published.md", "cells.json", "report.json", *plots]),
        "cells": 0,
        "made": len(PAGES) + 2 + bool(plots),
    }


def test_bad_input_is_told_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = call("build", "--out", "file", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["where"] == "file"
    assert "Traceback" not in done.stderr
    done = call("published", "pocketflow", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean" in done.stderr


def test_published_lists_and_prints(tmp_path: Path) -> None:
    assert "paddlex-classification-latency" in call("published", cwd=tmp_path).stdout
    assert len(json.loads(call("published", "--json", cwd=tmp_path).stdout)) == 26
    text = call("published", "torch-pruning-vgg19", cwd=tmp_path).stdout
    assert "67.60 - 73.50 is -5.90, not -5.44" in text
    document = json.loads(call("published", "torch-pruning-vgg19", "--json", cwd=tmp_path).stdout)
    assert document["rows"][5]["cells"] == ["Ours w/o SL", "73.50", "67.60", "-5.44", "8.87x"]
    assert [claim["row"] for claim in document["does_not_fit"]] == [4, 6]


def test_help_imports_nothing_slow(tmp_path: Path) -> None:
    slow = "numpy|matplotlib|ruamel|pydantic|msgspec|sqlalchemy|tabulate"
    code = f"import sys, re, reports.cli; sys.exit(sorted(m for m in sys.modules if re.fullmatch('{slow}', m)) or 0)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


class Keyed(Cell, frozen=True, kw_only=True):
    """A cell whose key is that of a made-up measurement."""

    fixed: str

    @property
    def key(self) -> str:
        return self.fixed


def store_round(results: Results, one: Measurement) -> None:
    cell = Keyed(
        model=one.model, artifact_sha256=one.artifact_sha256, device=one.device.name,
        device_fingerprint=one.device.fingerprint, runner=one.runner.name, runner_sha256=one.runner.binary_sha256,
        abi=one.abi, threads=one.threads_requested, fixed=one.job_key,
    )  # fmt: skip
    round_ = results.begin(cell, one.device, one.runner)
    for number, repeat in enumerate(one.repeats):
        results.append(round_, number, repeat)
    results.finish(round_, one)


def filled(root: Path) -> Material:
    """The made-up material as a real store and a real database hold it: half of the cells in each, one in both."""
    whole = material()
    store = Store(root / "zoo")
    results = Results(f"sqlite:///{root / 'results.sqlite'}")
    for held in whole.held:
        manifest = store.manifest(held.artifact.name, held.artifact.digest)
        manifest.parent.mkdir(parents=True)
        manifest.write_bytes(encode(held.artifact))
        tag = root / "zoo" / "tags" / held.artifact.name / "latest"
        tag.parent.mkdir(parents=True)
        tag.write_text(held.artifact.digest)
    for number, one in enumerate(sorted(whole.measurements, key=lambda cell: cell.time)):
        if number % 2 or number == 0:
            data = encode(one)
            path = root / "zoo" / "measurements" / one.artifact_sha256 / measurement_file(one.job_key, data)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if number % 2 == 0:
            store_round(results, one)
    results.close()
    return whole


def test_gather_merges_published_and_local_each_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("POCKETZOO_HOME", str(home))
    whole = filled(home)
    for remembered in (False, True):
        assert (home / "reports").exists() is remembered
        found = gather.gather()
        assert found.held == whole.held
        assert [(m.job_key, m.time) for m in found.measurements] == [(m.job_key, m.time) for m in whole.measurements]
        assert all(not cell.repeats for cell in found.measurements)
        assert tuple(found.whole(found.measurements)) == whole.measurements
    again = next(cell for cell in found.measurements if cell.time.startswith("2026-10"))
    assert [past.time for past in found.history([again])[again.job_key]] == sorted(
        cell.time for cell in whole.measurements if cell.job_key == again.job_key
    )


def test_a_damaged_measurement_costs_its_samples_and_not_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("POCKETZOO_HOME", str(home))
    filled(home)
    path = next((home / "zoo" / "measurements").rglob("*.json"))
    found = gather.gather()
    path.write_bytes(path.read_bytes().replace(b'"samples_ns"', b'"samples_xx"'))
    whole = list(found.whole(found.measurements))
    assert sum(not cell.repeats and cell.verdict.name != "failed" for cell in whole) == 1
    assert "no samples of cell" in capsys.readouterr().err
    assert len(whole) == len(found.measurements)
