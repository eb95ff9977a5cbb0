"""The command as a process: exit codes, streams, JSON, and what it reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports import gather
from tests.reports.records import material

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
    assert document == {
        "out": "r",
        "files": ["README.md", "accuracy.md", "cells.json", "latency.md", "quantization.md"],
        "cells": 0,
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


def test_gather_merges_published_and_local_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = material()
    import harness.results
    import zoo.store

    class Fake:
        def entries(self, on_problem: object) -> list[zoo.store.Entry]:
            return [
                zoo.store.Entry(
                    artifact=held.artifact,
                    tags=held.tags,
                    measurements=tuple(
                        m
                        for m in whole.measurements
                        if m.artifact_sha256 == held.artifact.digest and m.time > "2026-10-15"
                    ),
                )
                for held in whole.held
            ]

    monkeypatch.setattr(zoo.store, "Store", Fake)
    monkeypatch.setattr(harness.results, "latest", lambda: whole.measurements[::2])
    found = gather.gather()
    assert found.held == whole.held
    assert {(m.job_key, m.time) for m in found.measurements} <= {(m.job_key, m.time) for m in whole.measurements}
    assert len(found.measurements) == len({(m.job_key, m.time) for m in found.measurements}) >= 14
