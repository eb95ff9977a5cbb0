"""``compress run --farm``: a recipe trained by whichever host is free, its models in the remote of the zoo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compressors.small_sets import write_idx
from tests.harness.farm.rig import bare_farm
from tests.processes import runs
from zoo.store import Store

RECIPE = """\
name: tiny
title: tiny
model: {architecture: 'tests.compressors.networks:held', options: {folder: FOLDER}}
preprocessing: {resize: null, crop: 28, mean: [0.5], std: [0.5]}
data:
  training: {kind: fashion-mnist, folder: FOLDER/DATA, held_out: 0.25}
  evaluation: {kind: fashion-mnist, dataset: fashion-mnist, split: test}
train: {epochs: 1, batch: 8}
"""


def test_a_training_ends_with_its_host_and_another_host_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # the recipe names a network of the tests
    held = tmp_path / "held"
    write_idx(held / "DATA")
    (held / "hold").touch()
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE.replace("FOLDER", str(held)))

    def trains(*others: int) -> int:
        def found() -> int | None:
            running = {int(path.stem) for path in held.glob("*.trains")} - set(others)
            return next((pid for pid in running if runs(pid)), None)

        pid: int = rig.until(found, "a training")
        return pid

    with bare_farm(tmp_path, f"sqlite:///{tmp_path / 'results.sqlite'}") as rig:
        rig.scheduler()
        argv = ["compress", "run", str(recipe), "--farm", rig.address]
        nobody = rig.command(*argv)
        assert nobody.returncode == 2, nobody.stderr
        assert "no host offers 1 cpu" in nobody.stderr
        rig.host("one", options=("--cpu", "1"))
        rig.until(lambda: "part of the farm" in rig.said("one"), "the first host")
        rig.client("watching", *argv[1:], program="compress")
        first = trains()
        assert rig.waiting() == [("compress", "tiny.yaml")]
        rig.kill("one")
        rig.until(lambda: not runs(first), "the training to end with its host")
        rig.host("two", options=("--cpu", "1"))
        second = trains(first)
        cancelled = rig.command("harness", "farm", "cancel", "tiny.yaml", "--farm", rig.address)
        assert cancelled.returncode == 0, cancelled.stderr
        rig.until(lambda: not runs(second), "the cancelled training to end")
        assert rig.ended("watching") == 1, rig.said("watching")
        rig.client("again", *argv[1:], program="compress")
        third = trains(first, second)
        rig.kill("again")
        # Who sends the same again watches what is there.
        rig.client("at last", *argv[1:], "--json", program="compress", printed="printed.json")
        rig.until(lambda: "1 job" in rig.said("at last"), "the last client to have sent its job")
        assert rig.waiting() == [("compress", "tiny.yaml")]
        assert runs(third)
        (held / "hold").unlink()
        assert rig.ended("at last") == 0, rig.said("at last")
    (job,) = json.loads((tmp_path / "printed.json").read_text())
    assert job["done"]["host"] == "two"
    (model,) = job["done"]["models"]
    assert job["done"]["published"] == [str(tmp_path / "share")]
    pulled = rig.command("zoo", "pull", "tiny")
    assert pulled.returncode == 0, pulled.stderr
    assert Store(tmp_path / "home-client" / "zoo").get("tiny").artifact.digest == model["digest"]
