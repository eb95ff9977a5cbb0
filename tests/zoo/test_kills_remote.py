"""A share of the campaign of ``python -m benchmarks.zoo_kills_remote``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.zoo import hostile
from tests.zoo.killing import pulls, pushes
from zoo.backends.directory import open_directory


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def url(share: Path) -> Iterator[str]:
    with hostile.web(share) as server:
        yield server.url


def test_a_killed_pull_shows_nothing_half_and_is_gone_on_with(share: Path, url: str, tmp_path: Path) -> None:
    done = pulls(tmp_path, url, 4, 1, publish_to=open_directory(share))
    assert done.wrong == []
    assert done.kills == 4


def test_a_killed_push_shows_nothing_half_and_succeeds_again(share: Path, tmp_path: Path) -> None:
    done = pushes(tmp_path, share.as_uri(), 4, 2)
    assert done.wrong == []
    assert done.kills == 4
