"""`compress search` and `compress curve` on this machine, for real: what they do, not how fast the machine is."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from compressors.cli import group
from compressors.recipe import load
from compressors.search import lookup
from pocketzoo.command import as_pocketzoo_error
from pocketzoo.home import home
from tests.compressors.conftest import SMALL

RECIPE = (
    "name: small\ntitle: a small network\nweights: as-built\n"
    f"model:\n  architecture: {SMALL}\n  options: {{classes: 10, channels: 64}}\n"
    "preprocessing:\n  resize: null\n  crop: 16\n  mean: [0.5, 0.5, 0.5]\n  std: [0.25, 0.25, 0.25]\n"
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def compress(*argv: str) -> Result:
    return CliRunner().invoke(group, argv, standalone_mode=False)


def search(recipe: Path, *more: str, out: str = "found.yaml", device: str = "local") -> Result:
    at = str(recipe.parent / out)
    return compress("search", "--device", device, "--model", str(recipe), "--out", at, *more)


def test_a_network_of_less_time_is_found_measured_and_written(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "REPEATS", 1)
    monkeypatch.setattr(lookup, "NETWORK_REPEATS", 2)
    quick = ("--protocol", "uniform", "--rounds", "1", "--max-measurements", "20", "--lowest", "0.25", "--json")
    done = search(recipe, "--target", "60%", *quick)
    assert done.exception is None, done.exception
    report = json.loads(done.stdout)
    found, target = report["found"], report["target"]
    assert target == pytest.approx(0.6 * report["unpruned"]["measured"]["value"])
    assert report["measurements"] <= 20
    measured = found["measured"]
    assert measured["interval"][0] <= measured["value"] <= measured["interval"][1]
    held = abs(measured["value"] / target - 1) <= 0.05
    doubtful = measured["verdict"] in ("throttled", "contended", "unstable")
    assert found["outcome"] == ("missed" if not held else "cannot tell" if doubtful else "reached")
    assert (done.return_value or 0) == (0 if found["outcome"] == "reached" else 1)
    loaded = load(str(recipe.parent / "found.yaml"))
    (step,) = loaded.recipe.steps
    assert step.kind == "prune"
    assert step.protocol == "channels"
    assert step.channels == found["channels"]
    assert all(kept % 8 == 0 for kept in step.channels.values())
    assert loaded.parent is not None
    assert loaded.parent.recipe.name == "small"
    (file,) = (home() / "latency" / "tables").glob("*.json")
    table = msgspec.json.decode(file.read_bytes(), type=lookup.Kept)
    assert table.spent == report["measurements"]
    assert {entry.name.split("-")[0] for entry in table.layers.values()} >= {"conv", "depthwise", "linear", "relu"}
    assert json.loads((recipe.parent / "found.report.json").read_text()) == report


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--target-latency-ms", "0"), "above 0"),
        (("--target-latency-ms", "-1"), "above 0"),
        (("--target-latency-ms", "nan"), "above 0"),
        (("--target", "0%"), "above 0 %"),
        (("--target", "100%"), "below 100 %"),
        (("--target", "half"), "takes a percentage"),
        ((), "give one target"),
        (("--target", "50%", "--target-latency-ms", "1"), "give one target"),
        (("--target-instructions", "5", "--metric", "latency"), "another unit"),
        (("--target", "50%", "--lowest", "1"), "--lowest"),
        (("--target", "50%", "--metric", "instructions"), "counted on devices of"),
        (("--target", "50%", "--option", "x"), "not a setting"),
    ],
)
def test_bad_input_is_refused_before_anything_slow(recipe: Path, argv: tuple[str, ...], says: str) -> None:
    done = search(recipe, *argv)
    assert done.exception is not None
    error = as_pocketzoo_error(done.exception)
    assert error.exit_code == 2
    assert says in error.as_text()
    assert not (home() / "cache").exists()


def test_an_unknown_device_and_a_file_that_is_no_recipe(recipe: Path) -> None:
    for done, says in (
        (search(recipe, "--target", "50%", device="locul"), "did you mean local?"),
        (search(recipe, "--target", "50%", out="found.txt"), "a .yaml file"),
        (search(recipe, "--target", "50%", out="nowhere/found.yaml"), "no such folder"),
        (search(recipe, "--target", "50%", out="-found-.yaml"), "found"),
    ):
        error = as_pocketzoo_error(done.exception or AssertionError("it went on"))
        assert error.exit_code == 2
        assert says in error.as_text()


def test_a_recipe_that_compresses_already_is_refused(recipe: Path) -> None:
    child = recipe.with_name("child.yaml")
    child.write_text("name: child\ntitle: int8\nparent: small\nsteps:\n  - kind: quantize\n    scheme: dynamic-int8\n")
    done = search(child, "--target", "50%")
    error = as_pocketzoo_error(done.exception or AssertionError("it went on"))
    assert error.exit_code == 2
    assert error.hint == "--model small"


def test_a_curve_falls_step_by_step(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "curve.json"
    argv = ("curve", str(recipe), "--device", "local", "--steps", "2", "--runs", "5", "--repeats", "1", "--warmup", "1")
    done = compress(*argv, "--out", str(out), "--json")
    assert done.exception is None, done.exception
    document = json.loads(done.stdout)
    assert json.loads(out.read_text()) == document
    assert [step["step"] for step in document["steps"]] == [0, 1, 2]
    for field in ("macs", "parameters"):
        values = [step[field] for step in document["steps"]]
        assert values == sorted(set(values), reverse=True)
    assert set(document["steps"][-1]["channels"].values()) == {1}
    assert all(step["interval"][0] <= step["value"] <= step["interval"][1] for step in document["steps"])


def test_a_batch_needs_a_runner_that_takes_one(recipe: Path) -> None:
    done = compress("curve", str(recipe), "--device", "local", "--batch", "8")
    error = as_pocketzoo_error(done.exception or AssertionError("it went on"))
    assert error.exit_code == 2
    assert "a device whose runner is torch" in error.as_text()
