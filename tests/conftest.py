"""Fixtures every room uses: a small real model, and a state folder of its own for each test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

# Compile caches, progress bars and home folders of libraries: none of them belongs to a test.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# With `pytest -n` each process has about a core; threads of torch that wait for each other would take it from others.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What the processes of `pytest -n` begin with; the many short files then fill the time that is left. Tests are handed
# out file by file, those of tests/journeys all to one process, which makes the demo once (docs/decisions/0006).
LONG = ("tests/journeys", "tests/lab", "tests/compressors", "tests/harness/test_campaign_commands")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "alone: judges how busy this machine is; `make test` runs it after the others, one by one"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out groups of tests. Not xdist's own groups: it writes them into names that pytest 9.2 computes anew."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)

    return Together(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups begin; without ``-n`` the order is that of the files."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: next((n for n, name in enumerate(LONG) if item.nodeid.startswith(name)), 99))


def together(nodeid: str) -> str:
    """The name of the group that a test belongs to: that of the demo, or its file's."""
    file = nodeid.partition("::")[0]
    return "demo" if file.startswith("tests/journeys/") and not file.endswith("test_wheel.py") else file


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the state of the person who runs it."""
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "pocketzoo-home"))
    monkeypatch.delenv("POCKETZOO_RESULTS", raising=False)


@pytest.fixture(scope="session")
def tiny_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real float32 .tflite of a few kilobytes, exported once: convolution, depthwise, dense."""
    from tests.tiny_model import write_tiny_tflite

    return write_tiny_tflite(tmp_path_factory.mktemp("tiny") / "tiny.tflite")
