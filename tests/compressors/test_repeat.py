"""The same recipe twice on one machine: the same bytes, each time from nothing, and a card that says of what."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressors.pipeline import compress
from compressors.progress import Silent
from compressors.recipe import load
from tests.compressors.small_sets import write_idx
from tests.compressors.test_inputs import PARENT
from tests.compressors.test_processes import CHILD
from zoo.artifact import Artifact
from zoo.card import card


def made_in(home: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> list[Artifact]:
    monkeypatch.setenv("POCKETZOO_HOME", str(home))
    products = compress(load(str(recipe)), Silent())
    assert not any(stage.reused for product in products for stage in product.stages)
    return [product.artifact for product in products]


def test_the_same_recipe_twice_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "DATA")
    (tmp_path / "tiny.yaml").write_text(PARENT)
    recipe = tmp_path / "tiny-quant.yaml"
    recipe.write_text(CHILD)
    first, second = (made_in(tmp_path / home, recipe, monkeypatch) for home in ("first", "second"))
    assert [artifact.digest for artifact in first] == [artifact.digest for artifact in second]
    assert [artifact.recipe for artifact in first] == [artifact.recipe for artifact in second]
    assert [artifact.accuracy for artifact in first] == [artifact.accuracy for artifact in second]
    last = second[-1]
    assert last.recipe is not None
    text = card(last)
    assert last.recipe.digest in text
    assert "seed 0" in text
    assert {"torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "accelerate", "numpy"} <= set(last.versions)
    assert f"torch {last.versions['torch']}" in text
