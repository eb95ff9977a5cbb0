"""``reports diff``: what is compared with what, what is called slower, what a gate says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pocketzoo.errors import BadInput
from reports import regressions
from reports.cells import Held, Material, merge
from reports.regressions import Difference, difference
from reports.render import markdown
from reports.states import state
from reports.values import Change
from tests.reports.golden import FOLDER, what_changed
from tests.reports.records import FLOAT, INT8, LAB, artifact, earlier, material, measurement
from tests.reports.test_cli import call, store_round
from zoo.measurement import Measurement


def one(cell: Measurement) -> Material:
    return merge([Held(FLOAT, ("latest",))], [cell])


def compared(before: float, after: float, **more: object) -> Difference:
    first = measurement(FLOAT, before, time="2026-01-01T00:00:00Z", repeats=more.pop("first", 6))
    return difference(one(first), one(measurement(FLOAT, after, repeats=more.pop("second", 6))), **more)  # type: ignore[arg-type]


def test_the_difference_is_the_golden_one() -> None:
    assert what_changed() == (FOLDER / "diff.md").read_text(), "if that is meant: python -m tests.reports.golden"


@pytest.mark.parametrize(
    ("after", "repeats", "word"),
    [
        (12.0, 6, "slower"),
        (8.0, 6, "faster"),
        (12.0, 3, "slower by the interval alone"),
        (8.0, 3, "faster by the interval alone"),
        (10.0, 6, "no difference"),
        (10.0, 3, "cannot tell"),
    ],
)
def test_a_latency_is_called_what_the_samples_show(after: float, repeats: int, word: str) -> None:
    found = compared(10.0, after, first=repeats, second=repeats)
    assert [row.word for row in found.latencies] == [word]


def test_the_gate_holds_below_its_share_and_breaks_above() -> None:
    assert not compared(10.0, 10.4, gate=0.05).broken
    assert compared(10.0, 11.0, gate=0.05).broken
    assert not compared(10.0, 11.0).broken


def test_an_emulated_latency_carries_no_gate_and_says_so() -> None:
    def emulated(median: float, time: str) -> Material:
        return one(measurement(FLOAT, median, device=LAB, verdict="emulated", provenance="emulated", time=time))

    found = difference(emulated(10.0, "2026-01-01T00:00:00Z"), emulated(20.0, "2026-02-01T00:00:00Z"), gate=0.05)
    assert not found.broken
    assert "says nothing of hardware" in found.latencies[0].ungated[0]
    assert "cannot carry one" in regressions.summary(found)


def test_the_same_measurement_is_not_compared_with_itself() -> None:
    found = difference(material(), material(), gate=0.0)
    assert not found.latencies
    assert not found.models
    assert found.same_cells > 5
    assert not found.broken


def test_cells_measured_otherwise_are_listed_and_not_compared() -> None:
    first = one(measurement(FLOAT, 10.0, runs=99, affinity="0", time="2026-01-01T00:00:00Z"))
    found = difference(first, one(measurement(FLOAT, 20.0)), gate=0.05)
    assert [why for _, why in found.unlike] == ["affinity, protocol"]
    assert not found.latencies
    assert not found.broken


def test_another_device_is_left_out_where_one_is_asked_for() -> None:
    assert {row.comparison.second.device.name for row in difference(earlier(), material()).latencies} == {
        "local",
        "lab-phone-armv8",
    }
    only = difference(earlier(), material(), device="local")
    assert {row.comparison.second.device.name for row in only.latencies} == {"local"}


@pytest.mark.parametrize(
    ("size", "right", "broken"),
    [
        (4_300_000, 80.0, ("bigger",)),
        (4_100_000, 80.0, ()),
        (3_000_000, 60.0, ("less accurate",)),
        (3_000_000, 90.0, ()),
    ],
)
def test_a_model_that_is_bigger_or_less_accurate_breaks_the_gate(
    size: int, right: float, broken: tuple[str, ...]
) -> None:
    before = artifact("m", 4_000_000, top1=(80.0, 1000))
    after = artifact("m", size, top1=(right, 1000))
    found = difference(merge([Held(before, ("latest",))], []), merge([Held(after, ("latest",))], []), gate=0.05)
    assert found.models[0].broken == broken
    assert found.broken is bool(broken)
    assert isinstance(found.models[0].accuracy, Change)


def test_a_name_stands_for_the_file_tagged_latest() -> None:
    old, new = artifact("m", 1, created="2026-01-01T00:00:00Z"), artifact("m", 2, created="2026-02-01T00:00:00Z")
    assert regressions.current(merge([Held(old, ("latest",)), Held(new)], []))["m"].artifact == old
    assert regressions.current(merge([Held(old), Held(new)], []))["m"].artifact == new


def test_what_others_wrote_is_text() -> None:
    found = Difference((), (), 0, (), ("a|b<script>",), ())
    text = markdown.page(regressions.parts(found, "<b>", "`now`", markdown.escape))
    assert r"\<b\>" in text
    assert r"a\|b\<script\>" in text


def test_two_times_of_one_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.results import Results

    monkeypatch.setenv("POCKETZOO_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    results = Results()
    for median, time in (
        (10.0, "2026-01-01T12:00:00Z"),
        (10.0, "2026-01-03T12:00:00.000+00:00"),
        (15.0, "2026-02-01T12:00:00Z"),
    ):
        store_round(results, measurement(INT8, median, time=time, repeats=6))
    results.close()
    assert [cell.time for cell in state("2026-01-01").measurements] == ["2026-01-01T12:00:00Z"]
    assert not state("2026-01-01T11:59:59Z").measurements
    assert [row.word for row in difference(state("2026-01-02"), state("2026-01-31")).latencies] == ["no difference"]
    done = call("diff", "2026-01-31", "--gate", "5%", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "gate broken" in done.stdout
    as_json = call("diff", "2026-01-31", "--json", cwd=tmp_path)
    assert as_json.returncode == 0
    found = json.loads(as_json.stdout)
    assert found["latencies"][0]["says"] == "slower"
    assert found["latencies"][0]["before"]["time"].startswith("2026-01-03")
    other = call("diff", str(tmp_path / "home"), "now", "--json", cwd=tmp_path)
    assert json.loads(other.stdout)["not_measured_again"] == 1


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "nowhere/at/all"])
def test_what_is_no_state_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="neither a folder"):
        state(text)


def test_a_folder_without_a_store_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither zoo/ nor"):
        state(str(tmp_path))
