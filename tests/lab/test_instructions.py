"""Instructions of real ARM programs: counted alike by every process, decided by the identity, never shown as time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from devices.inventory import load_inventory
from devices.lab import counter, needs
from devices.session import open_session
from harness.runners.counted import COUNT_AGENT
from harness.runners.python import AGENT
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file
from tests.lab.test_lab import command
from zoo.meter import Piece, Way, figure, find_meter

SAME = 0.005


@pytest.fixture
def counting(lab: Path) -> Path:
    """The lab, where it counts."""
    lacking = needs.for_counting()
    if lacking:
        pytest.skip(f"needs {lacking.what} ({lacking.mend})")
    return lab


def count(home: Path, device: str, model: Path, name: str, *options: str) -> dict[str, Any]:
    """One cell of ``harness run --metric instructions``."""
    return count_each(home, device, {name: model}, *options)[name]


def count_each(home: Path, device: str, models: Mapping[str, Path], *options: str) -> dict[str, dict[str, Any]]:
    """A cell for each model, of one command: emulated, each opening and probing of a device takes seconds."""
    for name, model in models.items():
        assert command("zoo", "add", str(model), "--name", name, home=home).returncode == 0
    named = [part for name in models for part in ("--model", name)]
    argv = ["--device", device, *named, "--metric", "instructions", "--json", *options]
    done = command("harness", "run", *argv, home=home)
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)
    assert sorted(cell["model"] for cell in cells) == sorted(models)
    return {cell["model"]: cell for cell in cells}


@pytest.mark.parametrize(("device", "abi"), [("lab:snapdragon855", "armv8"), ("lab-board-armv7", "armv7")])
def test_processes_count_alike(counting: Path, tiny_tflite: Path, device: str, abi: str) -> None:
    cell = count(counting, device, tiny_tflite, "tiny-counted")
    assert (cell["metric"], cell["abi"], cell["verdict"], cell["provenance"]) == (
        "instructions", abi, "emulated", "emulated",
    )  # fmt: skip
    assert [len(counts) for counts in cell["instruction_counts"]] == [2, 2]
    assert cell["instructions"]["spread"] < SAME
    assert cell["instructions"]["median"] > 10_000
    assert (cell["median_ms"], cell["ci95_ms"], cell["samples_ns"]) == (None, None, [[], []])
    found = {one["check"]: one for one in cell["evidence"]}
    assert found["repeatability"]["outcome"] == "ok"
    assert cell["output_check"]["outcome"] == "agrees"
    assert "QEMU" in found["CPU model"]["says"]
    assert "Cortex" in found["kernels"]["says"]
    if device == "lab:snapdragon855":  # the board counts again below, where what was published is measured again
        again = count(counting, device, tiny_tflite, "tiny-counted", "--fresh", "--repeats", "1")
        assert abs(again["instructions"]["median"] / cell["instructions"]["median"] - 1) < SAME
    shown = command("harness", "results", "--model", "tiny-counted", "--device", device, home=counting)
    assert ", INSTRUCTIONS, EMULATED, " in shown.stdout
    assert "a count, not a time" in shown.stdout
    assert "ms" not in shown.stdout.split()


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network of 1x1 convolutions, as MobileNets are, in float32 and in int8."""
    import numpy as np
    import torch
    from torch import nn

    from compressors.export import export_tflite
    from compressors.recipe import Quantize
    from compressors.steps.quantize import quantize

    folder = tmp_path_factory.mktemp("convolutions")
    files = {"mobilenetv1": folder / "float.tflite", "mobilenetv1-quant": folder / "int8.tflite"}
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU6(), *(nn.Conv2d(64, 64, 1) for _ in range(4))]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()
    export_tflite(network, 32, files["mobilenetv1"])
    noise = np.random.default_rng(0)
    samples = [noise.uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32) for _ in range(2)]
    quantize(files["mobilenetv1"], files["mobilenetv1-quant"], Quantize(kind="quantize", max_ratio=0.9), samples)
    return files


def test_the_identity_decides_and_a_forecast_comes_of_it(counting: Path, convolutions: dict[str, Path]) -> None:
    counts = {
        (device, name): cell["instructions"]["median"]
        for device in ("snapdragon835", "snapdragon855")
        for name, cell in count_each(counting, f"lab:{device}", convolutions, "--repeats", "1").items()
    }
    # The 855 has the dot product, which does four multiplications in one instruction; the 835 has not.
    assert counts["snapdragon855", "mobilenetv1-quant"] < 0.7 * counts["snapdragon835", "mobilenetv1-quant"]
    done = command("harness", "forecast", "--device", "snapdragon855", "--json", home=counting)
    assert done.returncode == 0, done.stderr
    (row,) = [one for one in json.loads(done.stdout)["forecasts"] if one["model"] == "mobilenetv1-quant"]
    assert row["of"] == "mobilenetv1"
    told = counts["snapdragon855", "mobilenetv1"] / counts["snapdragon855", "mobilenetv1-quant"]
    assert row["ratio"] == pytest.approx(told)
    assert row["published"][0]["ratio_of_times"] == pytest.approx(31.3474 / 14.0947)
    text = command("harness", "forecast", "--device", "snapdragon855", home=counting).stdout
    assert "Published" in text
    assert "not times" in text


def test_several_threads_cannot_be_counted(counting: Path, tiny_tflite: Path) -> None:
    assert command("zoo", "add", str(tiny_tflite), "--name", "tiny-counted", home=counting).returncode == 0
    argv = ["--model", "tiny-counted", "--metric", "instructions", "--threads", "1,2", "--json"]
    done = command("harness", "plan", "--device", "lab-board-armv7", *argv, home=counting)
    (planned,) = json.loads(done.stdout)
    assert [one["threads"] for one in planned["cells"]] == [1]
    assert "spin" in planned["impossible"][0]["reason"]


def test_any_program_is_counted_by_hand(counting: Path) -> None:
    with open_session(load_inventory().get("lab-board-armv8")) as session:
        said = [session.run([counter.COMMAND, "/bin/true"], deadline_s=60).stderr for _ in range(2)]
    assert said[0].endswith(b" instructions\n")
    first, second = (int(one.split()[0]) for one in said)
    assert abs(first / second - 1) < SAME


def test_without_the_counter_there_is_no_number(counting: Path, tiny_tflite: Path) -> None:
    files = {sha256_file(path): path for path in (tiny_tflite, AGENT, COUNT_AGENT)}
    with open_session(load_inventory().get("lab-board-armv7")) as session:
        there = session.push(files)
        argv = [session.python, there[sha256_file(COUNT_AGENT)], "--agent", there[sha256_file(AGENT)]]
        argv += ["--counter", "/bin/false", "--model", there[sha256_file(tiny_tflite)]]
        done = session.run(argv, deadline_s=120, env={"POCKETZOO_COUNTED": "1"})
    assert done.exit_code == 1
    assert b"nothing counts instructions here" in done.stdout


def test_a_published_count_is_measured_again_and_comes_out_the_same(counting: Path, tiny_tflite: Path) -> None:
    """``zoo verify --remeasure`` where a number repeats: a count. The times of the same device are not held to."""
    device = "lab-board-armv7"
    cell = count(
        counting, device, tiny_tflite, "tiny-again", "--publish", "--repeats", "1", "--runs", "1", "--warmup", "0"
    )
    done = command("zoo", "verify", "tiny-again", "--remeasure", "--device", device, "--json", home=counting)
    assert done.returncode == 0, done.stdout + done.stderr
    (again,) = json.loads(done.stdout)["remeasured"]
    assert (again["metric"], again["outcome"], again["notes"]) == ("instructions", "reproduced", [])
    assert again["measured"]["job_key"] == cell["job_key"] == again["published"]["job_key"]
    assert again["measured"]["time"] > again["published"]["time"]


def test_a_search_counts_layers_once(counting: Path, tiny_tflite: Path) -> None:
    meter = find_meter(Way("lab-board-armv8", metric="instructions"))
    who = meter.identify()
    assert (who.metric, who.provenance, who.abi) == ("instructions", "emulated", "armv8")
    digest = sha256_file(tiny_tflite)
    asked = [Piece(tiny_tflite, digest, "a-layer", warmup=1, runs=1, repeats=1)]
    first = meter.measure(asked)
    number = figure(first.measurements[digest])
    assert number is not None
    assert number[0] > 10_000
    assert first.measurements[digest].provenance == "emulated"
    assert meter.measure(asked).known == {digest}
    with pytest.raises(BadInput, match="its times say nothing of hardware"):
        find_meter(Way("lab-board-armv8")).identify()
