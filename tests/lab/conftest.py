"""The lab, brought up once for all tests that need it; its root file systems are built where they are missing."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.inventory import load_inventory
from devices.lab import lab as work
from devices.lab import needs, rootfs

BUILDING_S = 2400  # two root file systems from a slow mirror; the time limit of a test covers its fixtures


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test is the first to need the lab waits for its root file systems."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(BUILDING_S))


def lacking() -> str | None:
    """Why the lab cannot run here and how to enable it; None where it can."""
    if os.geteuid() == 0 and not (needs.BINFMT / "register").exists():  # in a container it often is not mounted
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(needs.BINFMT)], check=False)
        subprocess.run(["update-binfmts", "--enable"], check=False)
    found = needs.missing(build=not all(rootfs.built(abi) for abi in rootfs.ABIS))
    return "; ".join(f"needs {need.what} ({need.mend})" for need in found) or None


@contextlib.contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """That state folder, for fixtures that live longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETZOO_HOME", str(folder))
        yield


@pytest.fixture(scope="session")
def lab_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a lab that is up, with two identities beside its own four devices."""
    why = lacking()
    if why:
        pytest.skip(why)
    home = tmp_path_factory.mktemp("lab-home")
    try:
        with at_home(home):
            work.up(["snapdragon835", "snapdragon855"], inventory=load_inventory(), say=print)
        yield home
    finally:
        with at_home(home):
            work.down()


@pytest.fixture
def lab(lab_home: Path, _own_state: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That lab, as the state folder of this test."""
    monkeypatch.setenv("POCKETZOO_HOME", str(lab_home))
    return lab_home
