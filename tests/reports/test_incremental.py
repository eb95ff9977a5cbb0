"""After any change a build gives the bytes that a build from nothing gives, and reads what is on disk now."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.job import Cell, Protocol
from harness.results import Results
from reports import folder, reading
from reports.build import KINDS, build
from reports.gather import gather
from reports.render import plots
from tests.reports.records import FLOAT, INT8, OTHER, PHONE, RUNNER, artifact, measurement, sha
from tests.reports.test_helper import files, put
from zoo import curves
from zoo.artifact import Artifact, encode
from zoo.kept import measurement_file
from zoo.measurement import Measurement

CURVES = {"baseline": 0.9, "curves": [{"group": "g", "ratios": [0.25, 0.5], "accuracies": [0.85, 0.6]}]}


class State:
    """A state folder and a report of it, with everything that may happen to the two."""

    def __init__(self, root: Path) -> None:
        self.zoo, self.out, self.root = root / "home" / "zoo", root / "out", root
        self.results = Results(f"sqlite:///{root / 'home' / 'results.sqlite'}")
        self.counted = itertools.count()
        for one in (FLOAT, INT8, OTHER):
            self.enter(one)
        self.publish(measurement(FLOAT, 20.0))
        self.publish(measurement(INT8, 8.0))

    def enter(self, one: Artifact, tag: str = "latest") -> None:
        put(self.zoo / "entries" / one.name / f"{one.digest}.json", encode(one))
        put(self.zoo / "tags" / one.name / tag, one.digest.encode())

    def publish(self, cell: Measurement) -> None:
        data = encode(cell)
        put(self.zoo / "measurements" / cell.artifact_sha256 / measurement_file(cell.job_key, data), data)

    def number(self) -> int:
        return next(self.counted)

    # what may happen

    def an_entry_is_added(self) -> None:
        self.enter(artifact(f"net{self.number()}", 1_000_000, top1=(50.0, 100), parent=FLOAT, relation="pruned"))

    def an_entry_is_removed(self) -> None:
        shutil.rmtree(self.zoo / "entries" / OTHER.name, ignore_errors=True)

    def a_file_is_tagged(self) -> None:
        other = artifact(INT8.name, 3_000_000 + self.number(), parent=FLOAT)
        self.enter(other, "small")

    def a_tag_is_moved(self) -> None:
        put(self.zoo / "tags" / INT8.name / "best", INT8.digest.encode())

    def a_tag_is_removed(self) -> None:
        (self.zoo / "tags" / INT8.name / "latest").unlink(missing_ok=True)

    def a_manifest_is_written_over(self) -> None:
        changed = msgspec.structs.replace(FLOAT, notes=(f"note {self.number()}",))
        (self.zoo / "entries" / FLOAT.name / f"{FLOAT.digest}.json").write_bytes(encode(changed))

    def a_cell_is_published(self) -> None:
        self.publish(measurement(FLOAT, 60.0, device=PHONE, abi="armv8", threads=2 + self.number()))

    def a_published_cell_is_measured_again(self) -> None:
        self.publish(measurement(FLOAT, 19.0, time=f"2026-11-02T10:00:{self.number() % 60:02}Z"))

    def a_measurement_is_removed(self) -> None:
        for file in sorted((self.zoo / "measurements" / INT8.digest).glob("*.json"))[:1]:
            file.unlink()

    def a_measurement_is_damaged(self) -> None:
        put(self.zoo / "measurements" / INT8.digest / f"{sha('x')}-{0:016x}.json", b"{}")

    def a_cell_is_measured_here(self) -> None:
        cell = Cell(
            model=FLOAT.name, artifact_sha256=FLOAT.digest, device="local", device_fingerprint=sha("local"),
            runner=RUNNER.name, runner_sha256=RUNNER.binary_sha256, abi="x86_64", threads=4, protocol=Protocol(),
        )  # fmt: skip
        time = f"2026-11-03T10:00:{self.number() % 60:02}Z"
        whole = measurement(FLOAT, 5.0 + self.number() % 7, threads=4, key=cell.key, time=time)
        round_ = self.results.begin(cell, whole.device, whole.runner, fresh=True)
        for number, repeat in enumerate(whole.repeats):
            self.results.append(round_, number, repeat)
        self.results.finish(round_, whole)

    def a_curve_is_added(self) -> None:
        file = self.root / f"{self.number()}-sensitivity.json"
        file.write_text(json.dumps(CURVES))
        curves.keep(self.zoo, FLOAT.digest, [file])

    def a_page_is_removed(self) -> None:
        (self.out / "site" / "choose.html").unlink(missing_ok=True)

    def a_page_is_edited(self) -> None:
        page, listed = self.out / "latency.md", self.out / folder.LIST
        if listed.exists():
            page.write_text("mine")
            later = listed.stat().st_mtime_ns + 1_000_000
            os.utime(page, ns=(later, later))

    def the_list_is_damaged(self) -> None:
        put(self.out / folder.LIST, b"[")

    def the_memory_is_damaged(self) -> None:
        for file in (self.root / "home" / "reports").glob("*"):
            file.write_bytes(b"\x93")

    def nothing(self) -> None:
        pass


CHANGES: list[Callable[[State], None]] = [
    change for name, change in vars(State).items() if name.startswith(("a_", "an_", "the_", "nothing"))
]


# What damages nothing that a report shows.
UNSEEN = (State.nothing, State.the_memory_is_damaged, State.a_measurement_is_damaged)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plots, which take most of the time and are keyed as everything else; what was read is believed at once."""
    monkeypatch.setattr(plots, "available", lambda: False)
    monkeypatch.setattr(reading, "SETTLED_NS", 0)


def built(state: State, out: Path) -> int:
    return build(gather(), out, KINDS).made


def fresh(state: State) -> dict[str, bytes]:
    """What a build from nothing, that remembers nothing, gives."""
    shutil.rmtree(state.root / "fresh", ignore_errors=True)
    memory, aside = state.root / "home" / "reports", state.root / "aside"
    memory.rename(aside)
    built(state, state.root / "fresh")
    shutil.rmtree(memory)
    aside.rename(memory)
    return files(state.root / "fresh")


def test_after_each_kind_of_change_the_report_is_that_of_a_build_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("POCKETZOO_RESULTS", raising=False)
    state = State(tmp_path)
    built(state, state.out)
    assert len(CHANGES) == 17
    for change in CHANGES:
        change(state)
        made = built(state, state.out)
        assert built(state, state.out) == 0, change.__name__
        assert files(state.out) == fresh(state), change.__name__
        assert (made == 0) == (change in UNSEEN), change.__name__


def test_another_version_of_the_code_makes_everything_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    state = State(tmp_path)
    count = built(state, state.out)
    monkeypatch.setattr(folder, "code_key", lambda: "another")
    folder._code_digest.cache_clear()
    try:
        assert built(state, state.out) == count
        assert files(state.out) == fresh(state)
    finally:
        folder._code_digest.cache_clear()


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=4), min_size=1, max_size=3))
def test_after_any_changes_the_report_is_that_of_a_build_from_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[list[Callable[[State], None]]],
) -> None:
    root = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("POCKETZOO_HOME", str(root / "home"))
    monkeypatch.delenv("POCKETZOO_RESULTS", raising=False)
    state = State(root)
    for some in changes:
        for change in some:
            change(state)
        built(state, state.out)
    assert files(state.out) == fresh(state)
