"""Photos, weights and recipes small enough for tests, and models made of them once for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from compressors import architectures
from compressors.checkpoint import write_state
from compressors.export import export_tflite

SMALL = "tests.compressors.networks:small"
CLASSES = 10


def save_photo(path: Path, seed: int, size: tuple[int, int] = (48, 40)) -> Path:
    """A photo with smooth colours, different for each seed."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks that run once on one image: threads would wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos whose names carry a label."""
    folder = tmp_path_factory.mktemp("labelled")
    for index in range(12):
        save_photo(folder / f"photo_{index:02d}_{index % CLASSES}.png", index)
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos to calibrate on."""
    folder = tmp_path_factory.mktemp("plain")
    for index in range(4):
        save_photo(folder / f"{index}.png", 100 + index)
    return folder


@pytest.fixture(scope="session")
def network() -> torch.nn.Module:
    """The small network with weights that spread its outputs."""
    torch.manual_seed(5)
    model = architectures.build(SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model


@pytest.fixture(scope="session")
def weights(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    write_state(network, path)
    return path


@pytest.fixture(scope="session")
def float_file(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network as float32 .tflite for 32x32 photos."""
    path = tmp_path_factory.mktemp("float") / "small.tflite"
    export_tflite(network, 32, path)
    return path


@pytest.fixture
def recipes(tmp_path: Path) -> Callable[..., Path]:
    """Writes a float recipe and its int8 child; returns the child's path."""

    def write(steps: str = "  - kind: quantize\n", model: str = SMALL) -> Path:
        (tmp_path / "small.yaml").write_text(
            "name: small\n"
            "title: a small network\n"
            f"model:\n  architecture: {model}\n  options: {{classes: {CLASSES}}}\n"
            "preprocessing:\n  resize: 36\n  crop: 32\n  mean: [0.5, 0.5, 0.5]\n  std: [0.25, 0.25, 0.25]\n"
            "data:\n  evaluation:\n    dataset: made-up\n    split: test\n"
        )
        path = tmp_path / "small-quant.yaml"
        path.write_text(
            f"name: small-quant\ntitle: int8\nparent: small\ndata:\n  calibration:\n    crops: 2\nsteps:\n{steps}"
        )
        return path

    return write
