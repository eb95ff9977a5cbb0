"""``compress run`` from the recipe to the zoo, and every way a user can get it wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from compressors.cli import group
from compressors.pipeline import compress
from compressors.progress import Silent
from compressors.recipe import digest_of, load
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.files import sha256_file
from tests.compressors.conftest import CLASSES
from zoo.store import Store


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def arguments(recipe: Path, weights: Path, labelled: Path, plain: Path) -> list[str]:
    settings = [f"weights={weights}", f"data.evaluation.folder={labelled}", f"data.calibration.folder={plain}"]
    return ["run", str(recipe), *(part for setting in settings for part in ("--set", setting))]


def run(argv: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[str, str]:
    group.main(args=argv, prog_name="compress", standalone_mode=False)
    return capfd.readouterr()


def test_a_recipe_becomes_two_entries_of_the_zoo(
    home: Path, recipes: Callable[..., Path], weights: Path, labelled: Path, plain: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    argv = [*arguments(recipes(), weights, labelled, plain), "--out", str(tmp_path / "out"), "--tag", "v1", "--onnx"]
    out, err = run([*argv, "--json"], capfd)
    document = json.loads(out)
    assert [model["name"] for model in document["models"]] == ["small", "small-quant"]
    assert not any(stage["reused"] for model in document["models"] for stage in model["stages"])
    assert "next: harness run --device local --model small-quant:v1" in err
    assert "TensorFlow" not in err and "XNNPACK" not in err and "Warning" not in err

    parent, child = (Store().get(f"{name}:v1").artifact for name in ("small", "small-quant"))
    assert child.parent is not None
    assert (child.parent.digest, child.parent.relation) == (parent.digest, "quantized")
    assert (parent.variant, child.variant) == (None, "quant")
    assert child.inputs[0].dtype == "int8"
    assert child.operators["CONV_2D"] == 3
    assert child.macs == parent.macs == 16 * 16 * (32 * 27 + 32 * 9 + 32 * 384 + 384 * 384) + 384 * CLASSES
    assert child.size_bytes < 0.35 * parent.size_bytes
    assert child.preprocessing is not None
    assert child.preprocessing.crop == 32
    assert [a.metric for a in parent.accuracy] == ["top1", "top5"]
    assert [a.metric for a in child.accuracy] == ["top1", "top5", "agreement-with-parent"]
    assert all(a.samples == 12 and a.measured_on == child.digest and a.ci95 for a in child.accuracy)
    assert (child.accuracy[0].dataset, child.accuracy[0].split) == ("made-up", "test")
    assert child.accuracy[2].value >= 75
    assert child.recipe is not None
    assert child.recipe.digest == digest_of(child.recipe.text)
    assert str(tmp_path) not in child.recipe.text
    assert f"weights: sha256:{sha256_file(weights)}" in child.recipe.text
    assert child.versions["torch"].startswith("2.")
    assert any("min-max ranges over 4 photos, 2 random crops each" in note for note in child.notes)

    copied = tmp_path / "out" / "small-quant.tflite"
    assert sha256_file(copied) == child.digest == document["models"][1]["digest"]
    assert json.loads((tmp_path / "out" / "small-quant.json").read_text())["name"] == "small-quant"

    assert (tmp_path / "out" / "small-quant.onnx").stat().st_size > child.size_bytes

    # Again: nothing is made, the records are the same, and what a person reads says so.
    manifests = {path: path.read_bytes() for path in (home / "zoo" / "entries").rglob("*.json")}
    out, err = run(argv, capfd)
    assert err.count("reused") == 7
    assert {path: path.read_bytes() for path in (home / "zoo" / "entries").rglob("*.json")} == manifests
    assert "x smaller than small" in out
    assert f"sha256     {child.digest}" in out
    assert "95 % interval" in out


def test_a_second_machine_makes_the_same_file_and_a_change_redoes_what_depends_on_it(
    home: Path, recipes: Callable[..., Path], weights: Path, labelled: Path, plain: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def products(*more: str) -> tuple[list[str], list[str], str | None]:
        argv = arguments(recipes(), weights, labelled, plain)
        found = compress(load(argv[1], [*argv[3::2], *more]), Silent())
        made = [stage.name for product in found for stage in product.stages if not stage.reused]
        recipe = found[-1].artifact.recipe
        return made, [product.artifact.digest for product in found], recipe.digest if recipe else None

    made, digests, digest = products()
    assert len(made) == 6
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(weights.read_bytes())
    made, same, _ = products(f"weights={moved}")
    assert (made, same) == ([], digests)

    made, changed, other = products("data.calibration.crops=1")
    assert made == ["quantize static-int8", "evaluate the file"]
    assert changed[0] == digests[0]
    assert changed[1] != digests[1]
    assert other != digest

    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "second"))
    assert products()[1:] == (digests, digest)

    for file in (tmp_path / "second" / "cache").rglob("model.tflite"):
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    made, again, _ = products()
    assert made == ["export to .tflite", "quantize static-int8"]
    assert again == digests


def test_photos_used_twice_are_told(
    home: Path, recipes: Callable[..., Path], weights: Path, labelled: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, err = run(arguments(recipes(), weights, labelled, labelled), capfd)
    assert "warning: 12 calibration photos are evaluation photos, too" in err


def test_without_labelled_photos_there_is_no_accuracy_and_it_says_so(
    home: Path, recipes: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = recipes("  - kind: quantize\n    scheme: dynamic-int8\n")
    out, _ = run(["run", str(path), "--set", "weights=as-built"], capfd)
    assert out.count("accuracy   not measured: --set data.evaluation.folder=FOLDER") == 2
    artifact = Store().get("small-quant").artifact
    assert artifact.accuracy == ()
    assert any("on 8 random inputs" in note for note in artifact.notes)
    assert any("not measured" in note for note in artifact.notes)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"weights": None}, BadInput, "--set weights=FILE"),
        ({"weights": "weights=none.pth"}, BadInput, "no such weights file"),
        ({"plain": None}, BadInput, "--set data.calibration.folder=FOLDER"),
        ({"plain": "data.calibration.folder={tmp}/empty"}, BadInput, "no photo in the folder"),
        ({"plain": "data.calibration.folder={tmp}/none"}, BadInput, "no such folder"),
        ({"plain": "data.calibration.folder={tmp}/black"}, BadInput, "one colour all over"),
        ({"plain": "data.calibration.folder={tmp}/broken"}, BadInput, "cut.png"),
        ({"labelled": "data.evaluation.folder={tmp}/empty"}, BadInput, "no photo in the folder"),
        ({"labelled": "data.evaluation.folder={plain}"}, BadInput, "none of 4 photos has a name"),
        ({"weights": "weights={tmp}/other.pth"}, BadInput, "not one of"),
        ({"weights": "weights={tmp}/nan.pth"}, BadInput, "NaN"),
        ({"more": "steps.0.max_ratio=0.01"}, WorkFailed, "at most 0.01 was asked"),
        ({"more": "model.options.classes=5"}, BadInput, "other shape"),
    ],
)
def test_what_a_user_gets_wrong(
    home: Path, recipes: Callable[..., Path], weights: Path, labelled: Path, plain: Path, tmp_path: Path,
    network: torch.nn.Module, change: dict[str, str | None], kind: type[PocketzooError], said: str,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    (tmp_path / "black").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "black" / "night.png")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cut.png").write_bytes(next(plain.iterdir()).read_bytes()[:300])
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save({k: v * float("nan") for k, v in network.state_dict().items()}, tmp_path / "nan.pth")
    settings: dict[str, str | None] = {
        "weights": f"weights={weights}",
        "labelled": f"data.evaluation.folder={labelled}",
        "plain": f"data.calibration.folder={plain}",
        **change,
    }
    given = [text.format(tmp=tmp_path, plain=plain) for text in settings.values() if text is not None]
    with pytest.raises(kind) as caught:
        compress(load(str(recipes()), given), Silent())
    assert said in caught.value.as_text()


def process(*argv: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "POCKETZOO_HOME": str(home)}
    program = [sys.executable, "-c", "from compressors.cli import main; main()", *argv]
    return subprocess.run(program, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["run", "mobilenetv2quant"], 2, "did you mean mobilenetv2-quant"),
        (["run", "mobilenetv2"], 2, "--set weights=FILE"),
        (["run", "mobilenetv2", "--set", "wieghts=x"], 2, "did you mean weights?"),
        (["run", "mobilenetv2", "--tag", "no tag"], 2, "not a tag"),
        (["show", "nothing-like-it"], 2, "no recipe"),
        (["bake"], 2, "No such command"),
    ],
)
def test_errors_have_exit_codes_and_no_traceback(argv: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = process(*argv, home=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())  # a command that only fails leaves nothing behind


def test_help_imports_nothing_slow(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from compressors.cli import group\n"
        "assert CliRunner().invoke(group, ['run', '--help']).exit_code == 0\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'rich', 'PIL', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_extra_the_command_to_install_it_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput) as caught:
        run(["run", "mobilenetv2"], capfd)
    assert "pip install 'pocketzoo[compress]'" in caught.value.as_text()


def test_list_and_show(capfd: pytest.CaptureFixture[str]) -> None:
    out, err = run(["list"], capfd)
    assert ["mobilenetv2-quant", "mobilenetv2", "quantize", "static-int8"] in [
        line.split()[:4] for line in out.splitlines()
    ]
    assert "next: compress show" in err
    assert {r["name"] for r in json.loads(run(["list", "--json"], capfd)[0])["recipes"]} >= {"mobilenetv2"}
    few = json.loads(run(["list", "mobilenetv2-q*", "--json"], capfd)[0])["recipes"]
    assert {r["name"] for r in few} == {"mobilenetv2-quant", "mobilenetv2-quant-uniform"}
    out, err = run(["show", "mobilenetv2-quant", "--set", "seed=7"], capfd)
    assert "seed: 7" in out
    assert "steps.0.scheme" in err
    shown = json.loads(run(["show", "mobilenetv2-quant", "--json"], capfd)[0])
    assert shown["values"]["model"]["options"]["width"] == 1.0
