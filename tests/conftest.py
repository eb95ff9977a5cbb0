"""Fixtures every room uses: a small real model, and a state folder of its own for each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Compile caches, progress bars and home folders of libraries: none of them belongs to a test.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# With `pytest -n` each process has about a core; threads of torch that wait for each other would take it from others.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What the processes of `pytest -n` begin with; the many short files then fill the time that is left. Tests are handed
# out file by file, those that look at the demo all to one process, which makes it once (docs/decisions/0006).
LONG = ("demo", "tests/lab", "tests/compressors", "tests/harness/test_campaign_commands")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "alone: judges how busy this machine is; `make test` runs it after the others, one by one"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Which tests the processes of ``pytest -n`` do not tear apart."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        item.add_marker(pytest.mark.xdist_group(together(item)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups begin; without ``-n`` the order is that of the files."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: next((n for n, name in enumerate(LONG) if together(item).startswith(name)), 99))


def together(item: pytest.Item) -> str:
    """The name of the group that a test belongs to: that of the demo, or its file's."""
    return "demo" if "demo" in getattr(item, "fixturenames", ()) else item.nodeid.partition("::")[0]


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
