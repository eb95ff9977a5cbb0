"""Records and files for the zoo's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketzoo.files import sha256_bytes
from zoo.artifact import Artifact, FileRecord
from zoo.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "zoo")


def artifact_for(path: Path, name: str = "tiny-model") -> Artifact:
    data = path.read_bytes()
    record = FileRecord(name=f"{name}.tflite", sha256=sha256_bytes(data), size=len(data))
    return Artifact(name=name, format="tflite", files=(record,))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.tflite"
    path.write_bytes(bytes(range(256)) * 100)
    return path
