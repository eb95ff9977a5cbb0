"""A whole recipe in two processes, as ``accelerate launch`` starts them on two GPUs: here on two CPUs, by gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compressors import processes
from tests.compressors.small_sets import write_idx
from tests.compressors.test_inputs import PARENT
from zoo.store import Store

CHILD = """\
name: tiny-quant
title: int8
parent: tiny
data:
  calibration: {samples: 8}
steps:
  - kind: quantize
    weights: tensor
    max_ratio: 0.9
    qat: {weights: abs_max, train: {epochs: 1, batch: 8, lr: 0.01}}
"""
# Twice in the same two processes, each time from nothing, and then once wrongly: what they import is imported once.
PROGRAM = """
import os, sys
from compressors.cli import group, main
argv = ["run", sys.argv[1], "--json"]
for home in sys.argv[2:]:
    os.environ["POCKETZOO_HOME"] = home
    group.main(argv, prog_name="compress", standalone_mode=False)
sys.argv[1:] = [argv[0], argv[1], "--set", "data.training.folder=/nowhere"]
try:
    main()
except SystemExit as stop:
    os.write(2, f"rank {os.environ['RANK']} ends with {stop.code}{chr(10)}".encode())
"""


def launch(program: list[str]) -> subprocess.CompletedProcess[str]:
    # accelerate's own launcher starts this one, with these arguments, where there are GPUs.
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_idx(tmp_path / "DATA")
    (tmp_path / "tiny.yaml").write_text(PARENT)
    path = tmp_path / "tiny-quant.yaml"
    path.write_text(CHILD)
    return path


def test_two_processes_run_a_recipe_once_and_the_same_way_twice(tmp_path: Path, recipe: Path) -> None:
    program = tmp_path / "twice.py"
    program.write_text(PROGRAM)
    homes = [tmp_path / "first", tmp_path / "second"]
    done = launch([str(program), str(recipe), *map(str, homes)])
    assert done.returncode == 0, done.stderr[-3000:]
    told = done.stdout.replace("}\n{", "}\n\0{").split("\0")
    first, second = (json.loads(document)["models"] for document in told)  # two runs: two documents, not four
    assert [model["digest"] for model in first] == [model["digest"] for model in second]
    assert [model["name"] for model in first] == ["tiny", "tiny-quant"]
    assert not any(stage["reused"] for model in first + second for stage in model["stages"])
    assert done.stderr.count("tiny: build") == 2  # once a run
    notes = " ".join(first[1]["notes"])
    assert "2 processes" in notes
    for home in homes:
        assert Store(home / "zoo").get("tiny-quant").artifact.digest == first[1]["digest"]
        assert not list((home / "cache").glob("training/*"))
    # What fails in the main process is told once, by that one.
    assert done.stderr.count("error: no such folder") == 1
    assert "rank 0 ends with 2" in done.stderr
    assert "rank 1 ends with 1" in done.stderr


def test_one_process_has_nobody_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "7")  # of somebody else's launcher
    assert (processes.count(), processes.rank(), processes.is_main()) == (1, 0, True)
    assert processes.first(processes.by_itself) is False
    assert processes.agreed(3) == 3
