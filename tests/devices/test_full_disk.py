"""A push onto a disk that fills up: told as that, and nothing of it stays to keep the disk full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.errors import TransferRefused
from devices.inventory import load_inventory
from devices.session import open_session
from pocketzoo.files import sha256_file


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system; run the tests as root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_push_onto_a_full_disk_leaves_nothing_and_smaller_files_still_fit(small_disk: Path, tmp_path: Path) -> None:
    large, fits = tmp_path / "large.tflite", tmp_path / "fits.tflite"
    large.write_bytes(os.urandom(2_000_000))
    fits.write_bytes(os.urandom(500_000))
    with open_session(load_inventory().get("local"), root=small_disk) as session:
        with pytest.raises(TransferRefused, match="No space left"):
            session.push({sha256_file(large): large})
        assert not [path for path in small_disk.rglob("*") if path.name.startswith(".part")]
        digest = sha256_file(fits)
        placed = session.push({digest: fits})
        assert sha256_file(Path(placed[digest])) == digest
