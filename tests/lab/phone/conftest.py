"""Virtual phones behind real adb servers, made once for all tests that want one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.lab.phone.world import Worlds


@pytest.fixture(scope="package")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """Each is started when the first test asks for it, and ended with the last."""
    with contextlib.ExitStack() as stack:
        yield Worlds(tmp_path_factory.mktemp("phones"), stack)
