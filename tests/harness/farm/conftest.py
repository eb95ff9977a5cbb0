"""A farm of real processes over a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.farm.rig import Rig, farm
from tests.harness.results import postgres
from tests.harness.results.conftest import server  # noqa: F401  the fixture


@pytest.fixture
def rig(tmp_path: Path, server: postgres.Server, tiny_tflite: Path) -> Iterator[Rig]:  # noqa: F811
    with farm(tmp_path, server.new_database(), tiny_tflite) as made:
        yield made
