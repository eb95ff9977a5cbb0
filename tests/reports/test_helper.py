"""Two processes make one report: the same bytes as one alone, and nothing left over however they end."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.results import Results
from pocketzoo.errors import WorkFailed
from reports import build as building
from reports.build import KINDS, build
from reports.cells import Material
from reports.gather import gather
from reports.helper import Counter, Helper, Request
from tests.reports.records import material
from zoo.artifact import encode
from zoo.kept import measurement_file
from zoo.store import Store


def stored(home: Path) -> Material:
    """The state of a machine as a report reads it, in which :func:`material` is published."""
    whole = material()
    root = home / "zoo"
    for item in whole.held:
        digest = item.artifact.digest
        put(root / "entries" / item.artifact.name / f"{digest}.json", encode(item.artifact))
        put(root / "tags" / item.artifact.name / "latest", digest.encode())
    for cell in whole.measurements:
        data = encode(cell)
        put(root / "measurements" / cell.artifact_sha256 / measurement_file(cell.job_key, data), data)
    return gather()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


SITE = ("site",)


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Material:
    """Material of this machine, of which any report is a large one."""
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("POCKETZOO_RESULTS", raising=False)
    monkeypatch.setattr(building, "MANY", 0)
    return stored(tmp_path / "home")


def wait_for_its_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units are made when the helper has told its plan, so that it takes part however long it takes to start."""
    release = Helper._release

    def waiting(helper: Helper, plan: str) -> None:
        while helper._line() is None and helper._process.poll() is None:
            select.select([helper._process.stdout], [], [], 60)
        release(helper, plan)

    monkeypatch.setattr(Helper, "_release", waiting)


def test_two_processes_write_what_one_writes(local: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = build(local, tmp_path / "alone", KINDS, alone=True)
    wait_for_its_plan(monkeypatch)
    both = build(local, tmp_path / "both", KINDS)
    assert both.helped and not alone.helped
    assert (both.made, both.files) == (alone.made, alone.files)
    assert files(tmp_path / "both") == files(tmp_path / "alone")
    # Nothing has changed: nothing is made, and no helper is asked.
    again = build(local, tmp_path / "both", KINDS)
    assert (again.made, again.helped) == (0, False)


def test_a_helper_with_another_plan_is_not_let_in(
    local: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_its_plan(monkeypatch)
    held = Material(held=local.held[:2], measurements=local.measurements, archive=local.archive)
    both = build(held, tmp_path / "both", SITE)
    build(held, tmp_path / "alone", SITE, alone=True)
    assert not both.helped
    assert files(tmp_path / "both") == files(tmp_path / "alone")


HELPERS = {
    "ends at once": "import sys; sys.exit(3)",
    "says nonsense": "print('?' * 9000)",
    "takes units and dies": (
        "import os, sys; from reports.helper import Counter; from reports.folder import Folder;"
        "sys.stdin.buffer.readline(); print(os.environ['PLAN'], flush=True); sys.stdin.buffer.readline();"
        "c = Counter(int(sys.argv[1])); [c.next() for _ in range(40)]; os._exit(1)"
    ),
}


@pytest.mark.parametrize("program", HELPERS.values(), ids=HELPERS.keys())
def test_a_helper_that_fails_costs_nothing_but_time(
    program: str, local: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(local, tmp_path / "alone", SITE, alone=True)
    folder = building.Folder(tmp_path / "both")
    building.enter(local, folder, SITE)
    monkeypatch.setenv("PLAN", folder.plan())
    request = Request(str(tmp_path / "both"), SITE)
    wait_for_its_plan(monkeypatch)
    with Helper(request, (sys.executable, "-c", program)) as helper:
        made, helped = helper.run(folder.units, folder.plan())
        process = helper._process
    assert not helped and process.returncode is not None
    folder.made += made
    folder.close()
    assert files(tmp_path / "both") == files(tmp_path / "alone")


def test_an_error_or_ctrl_c_ends_both_and_leaves_no_half_file(
    local: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Helper] = []
    start = Helper.__enter__
    monkeypatch.setattr(Helper, "__enter__", lambda helper: (started.append(helper), start(helper))[1])
    for error in (KeyboardInterrupt(), WorkFailed("no")):

        def units(folder: building.Folder, error: BaseException = error) -> str:
            def fails() -> int:
                raise error

            folder.units[0] = fails
            return "plan"

        monkeypatch.setattr(building.Folder, "plan", units)
        out = tmp_path / type(error).__name__
        with pytest.raises(type(error)):
            build(local, out, SITE)
        assert started[-1]._process.returncode is not None
        assert not list(out.rglob("*.tmp"))
        assert not (out / "report.json").exists()


def test_the_helper_ends_when_its_starter_is_gone(local: Material, tmp_path: Path) -> None:
    request = Request(str(tmp_path / "out"), SITE)
    with Helper(request) as helper:
        assert helper._process.stdin is not None
        helper._process.stdin.close()
        assert helper._process.wait(60) == 0
    assert not list((tmp_path / "out").rglob("*"))


def test_each_number_is_given_once(tmp_path: Path) -> None:
    with (tmp_path / "counter").open("w+b") as file, (tmp_path / "counter").open("r+b") as other:
        counters: list[Callable[[], int]] = [Counter(file.fileno()).next, Counter(other.fileno()).next]
        assert [counters[turn % 2]() for turn in range(7)] == list(range(7))


def test_local_state_alone_is_shared(local: Material, tmp_path: Path) -> None:
    home = Path(os.environ["POCKETZOO_HOME"])
    other = gather(Store(home / "zoo"), Results(f"sqlite:///{tmp_path / 'none.sqlite'}"))
    assert not build(other, tmp_path / "out", ("markdown",)).helped
