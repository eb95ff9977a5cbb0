"""Fixtures every room uses: a small real model, and a state folder of its own for each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Compile caches, progress bars and home folders of libraries: none of them belongs to a test.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


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
