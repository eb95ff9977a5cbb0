"""Recipes: found, merged, validated with file and line, changed by --set, identified by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compressors.recipe import digest_of, find_recipe, load, shipped, text_of
from pocketzoo.errors import BadInput


def test_every_shipped_recipe_loads_and_is_called_like_its_file() -> None:
    assert {"mobilenetv2", "mobilenetv2-quant"} <= set(shipped())
    for name in shipped():
        loaded = load(name)
        assert loaded.recipe.name == name
        assert loaded.recipe.parent == (loaded.parent.recipe.name if loaded.parent else None)


def test_a_child_has_its_parents_values_and_its_own_steps() -> None:
    child = load("mobilenetv2-quant")
    assert child.parent is not None
    assert child.recipe.model == child.parent.recipe.model
    assert child.recipe.data.evaluation == child.parent.recipe.data.evaluation
    assert child.parent.recipe.data.calibration is None
    assert [step.kind for step in child.recipe.steps] == ["quantize"]
    assert (child.own_steps, child.parent.recipe.steps) == (1, [])
    assert [link.recipe.name for link in child.chain] == ["mobilenetv2", "mobilenetv2-quant"]


def test_a_grandchild_runs_its_parents_steps_first(recipes: Callable[..., Path]) -> None:
    child = recipes()
    path = child.parent / "small-again.yaml"
    path.write_text(
        "name: small-again\ntitle: twice\nparent: small-quant\nsteps:\n  - kind: quantize\n    scheme: dynamic-int8\n"
    )
    loaded = load(str(path))
    assert [step.scheme for step in loaded.recipe.steps] == ["static-int8", "dynamic-int8"]
    assert loaded.own_steps == 1
    path.write_text(path.read_text() + "    shceme: x\n")
    with pytest.raises(BadInput) as caught:
        load(str(path))
    assert f"{path}:7: steps[1].shceme: unknown key; did you mean scheme?" in caught.value.as_text()


def test_set_reaches_the_parent_where_it_has_the_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(
        "mobilenetv2-quant",
        ["weights=w.pth", "data.evaluation.folder=2024", "data.calibration.folder=/photos", "steps.0.max_ratio=0.5",
         "model.options.width=0.75", "name=mine"],
    )  # fmt: skip
    assert loaded.parent is not None
    assert loaded.recipe.weights == loaded.parent.recipe.weights == str(tmp_path / "w.pth")
    assert loaded.recipe.data.evaluation is not None
    assert loaded.recipe.data.evaluation.folder == str(tmp_path / "2024")
    assert loaded.recipe.data.calibration is not None
    assert loaded.recipe.data.calibration.folder == "/photos"
    assert loaded.recipe.steps[0].max_ratio == 0.5
    assert loaded.parent.recipe.model.options["width"] == 0.75
    assert loaded.parent.recipe.data.calibration is None
    assert (loaded.recipe.name, loaded.parent.recipe.name) == ("mine", "mobilenetv2")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("weights", "--set takes key=value"),
        ("=x", "--set takes key=value"),
        ("wieghts=x", "did you mean weights?"),
        ("data.evalution.folder=x", "did you mean data.evaluation.folder"),
        ("steps.1.scheme=static-int8", "did you mean steps.0.scheme"),
        ("steps.scheme=static-int8", "steps.0.scheme"),
        ("steps.0.scheme=int9", "should be 'static-int8'"),
        ("seed=abc", "valid integer"),
        ("seed=[", "not a YAML value"),
        ("preprocessing.std=[1, 0, 1]", "each must be above 0"),
        ("preprocessing.mean=[123.7, 116.3, 103.5]", "divide mean and std by 255"),
        ("data.evaluation.pattern=(", "not a regular expression"),
        ("data.evaluation.pattern=abc", "a group called label"),
        ("data.calibration.scale=[0.5, 0.1]", "0 < first <= second"),
        ("name=Not A Name", "not a model name"),
        ("title=", "title"),
        ("model.architecture.deep=1", "no key"),
        ("weights.deep=1", "no key"),
    ],
)
def test_settings_that_do_not_fit_say_what_would(assignment: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        load("mobilenetv2-quant", [assignment])
    assert said in caught.value.as_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mobilenetv2quant", "did you mean mobilenetv2-quant, "),
        ("xyzzy", "known ones is called anything like it"),
        ("no/such/file.yaml", "no such recipe file"),
        ("../recipes", "no recipe"),
    ],
)
def test_unknown_recipes(name: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        find_recipe(name)
    assert said in caught.value.as_text()


def test_every_mistake_in_a_file_is_told_with_its_line(recipes: Callable[..., Path]) -> None:
    path = recipes(steps="  - kind: shrink\n  - kind: quantize\n    sceme: x\n")
    with pytest.raises(BadInput) as caught:
        load(str(path))
    text = caught.value.as_text()
    assert "2 mistakes in small-quant.yaml" in text
    assert f"{path}:8: steps[0].kind: no 'shrink'; known: quantize, prune" in text
    assert f"{path}:10: steps[1].sceme: unknown key; did you mean scheme?" in text


def test_parents_that_are_unknown_or_go_in_a_circle(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\ntitle: a\nparent: mobilenetv\n")
    with pytest.raises(BadInput) as caught:
        load(str(path))
    assert caught.value.where == f"{path}:3"
    path.write_text("name: a\ntitle: a\nparent: b\n")
    (tmp_path / "b.yaml").write_text("name: b\ntitle: b\nparent: a\n")
    with pytest.raises(BadInput, match=r"each other's parents: a -> b -> a"):
        load(str(path))


def test_paths_in_a_file_count_from_the_file_and_in_set_from_here(
    recipes: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipes()
    path.write_text(path.read_text() + "weights: w/a.pth\n")
    monkeypatch.chdir("/")
    assert load(str(path)).recipe.weights == str(tmp_path / "w/a.pth")
    assert load(str(path), ["weights=w/a.pth"]).recipe.weights == "/w/a.pth"
    assert load(str(path), ["weights=as-built"]).recipe.weights == "as-built"


def test_the_text_holds_contents_not_places() -> None:
    here, there = (load("mobilenetv2", [f"weights=/{p}/w.pth"]).recipe for p in ("here", "there"))
    same = [text_of(recipe, {"weights": "sha256:aa"}) for recipe in (here, there)]
    assert same[0] == same[1]
    assert "/here" not in same[0]
    assert digest_of(same[0]) == digest_of(same[1])
    assert digest_of(text_of(here, {"weights": "sha256:bb"})) != digest_of(same[0])
