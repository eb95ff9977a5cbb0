"""A database to test on: SQLite always, PostgreSQL from Debian's package."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.results import postgres


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    # As root `make test` has installed it: there its absence is an error and not a reason to skip.
    if postgres.programs() is None and os.geteuid() != 0:
        pytest.skip(postgres.MISSING)
    with postgres.running() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """The URL of another empty database at each call."""
    if request.param == "postgresql":
        server: postgres.Server = request.getfixturevalue("server")
        return server.new_database
    numbers = iter(range(1000))
    return lambda: f"sqlite:///{tmp_path / f'results{next(numbers)}.sqlite'}"


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    return new_url()
