"""A share of ``python -m benchmarks.zoo_kills``."""

from __future__ import annotations

from pathlib import Path

from tests.zoo.store_killing import OPERATIONS, campaign


def test_a_killed_command_leaves_a_sound_store_and_can_be_repeated(tmp_path: Path) -> None:
    done = campaign(tmp_path, kills=9, seed=20261121)
    assert done.wrong == []
    assert sum(done.kills.values()) == 9
    assert set(done.kills) <= set(OPERATIONS)
