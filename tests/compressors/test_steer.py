"""A search as a whole, with a device whose networks cost more than their layers: real network, real agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressors.counting import file_macs
from compressors.progress import Silent
from compressors.recipe import load
from compressors.search.found_recipe import text_of, write_found
from compressors.search.proposals import Settings
from compressors.search.steer import Asked, Protocol, steer
from compressors.search.subject import subject_of
from pocketzoo.errors import BadInput
from tests.compressors.conftest import SMALL
from tests.compressors.meters import PretendedMeter
from tests.compressors.small_sets import write_cifar10
from zoo import tflite
from zoo.meter import Piece

SETTINGS = Settings(lowest=0.25, round_to=4, episodes=3, images=4, batches=1)


def cost(piece: Piece) -> float:
    """Milliseconds: a hundredth to start, and work, of which a network's takes longer the more there is of it."""
    facts = tflite.inspect(piece.file)
    macs = file_macs(facts)
    assert macs is not None
    alone = len(facts.operators) == 1
    return 0.01 + macs * 1e-6 * (1.0 if alone else 1.2 + macs * 1e-8)


def test_every_protocol_ends_at_its_target(tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        "name: small\ntitle: a small network\nweights: as-built\n"
        f"model:\n  architecture: {SMALL}\n  options: {{classes: 10, channels: 64}}\n"
        "preprocessing:\n  resize: null\n  crop: 16\n  mean: [0.5, 0.5, 0.5]\n  std: [0.25, 0.25, 0.25]\n"
        f"data:\n  training: {{kind: cifar10, folder: {write_cifar10(tmp_path / 'cifar')}, held_out: 0.2}}\n"
    )
    loaded = load(str(recipe))
    subject = subject_of(loaded, Silent())
    meter = PretendedMeter(cost)
    uniform = 0.0
    protocols: tuple[Protocol, ...] = ("uniform", "sensitivity", "amc")
    for protocol in protocols:
        found = steer(subject, meter, Asked(protocol, None, 0.5, SETTINGS, 60), lambda _text: None)
        assert found.target == pytest.approx(0.5 * found.base.value)
        assert found.found.closed.outcome == "reached", found.found.closed.says
        assert abs(found.found.closed.best.measured.value / found.target - 1) <= 0.05
        assert found.found.accuracy is not None
        assert (found.uniform is None) == (protocol == "uniform")
        if found.uniform is None:
            uniform = found.found.closed.best.measured.value
        else:
            assert found.uniform.closed.best.measured.value == uniform
        assert "unpruned" in text_of(found)
        out = tmp_path / f"{protocol}.yaml"
        write_found(out, None, found, loaded, (), 1, "here")
        assert load(str(out)).recipe.prunes[0].channels == dict(found.found.closed.best.counts)
    assert len(meter.measured) == len(set(meter.measured))
    with pytest.raises(BadInput, match="cannot be reached: with the fewest channels"):
        steer(subject, meter, Asked("uniform", 1e-3, None, SETTINGS, 60), lambda _text: None)
