"""Each verdict is given when its figure says so, and only then."""

from __future__ import annotations

import pytest

from devices.facts import ClusterFacts, Conditions
from harness.verdict import judge
from tests.records import repeat_of
from zoo.measurement import Provenance, Repeat, Verdict, VerdictName
from zoo.stats import summarise

STEADY = [1_000_000, 1_001_000, 999_000] * 10


def verdict_of(
    repeats: list[Repeat],
    *,
    threads: int = 1,
    provenance: Provenance = "hardware",
    hot_above_c: float | None = None,
) -> Verdict:
    return judge(
        repeats=repeats,
        summary=summarise(repeats),
        threads_requested=threads,
        provenance=provenance,
        hot_above_c=hot_above_c,
    )


def at(mhz: float, celsius: float, cap: float = 2000.0) -> Conditions:
    return Conditions(
        time="2026-11-21T10:00:00+00:00",
        frequencies_mhz={"0": mhz},
        max_frequencies_mhz={"0": cap},
        temperatures_c={"cpu": celsius},
    )


def test_a_clean_run_is_valid_and_still_shows_its_figures() -> None:
    verdict = verdict_of([repeat_of(STEADY, before=at(2000, 30), after=at(1990, 31)) for _ in range(3)])
    assert verdict.name == "valid"
    assert {item.check for item in verdict.evidence} == {
        "threads", "frequency drop", "frequency cap", "temperature", "foreign load", "repeat spread", "interval",
    }  # fmt: skip
    assert {item.check for item in verdict.evidence if item.outcome != "ok"} == {"frequency cap"}


def test_what_cannot_be_read_is_unknown_never_zero() -> None:
    bare = Conditions(time="2026-11-21T10:00:00+00:00", unknown={"frequencies_mhz": "no cpufreq in this kernel"})
    verdict = verdict_of([repeat_of(STEADY, foreign_cpu_share=None, before=bare, after=bare)])
    unknown = {item.check: item for item in verdict.evidence if item.outcome == "unknown"}
    assert set(unknown) == {"frequency drop", "frequency cap", "temperature", "foreign load", "repeat spread"}
    assert unknown["frequency drop"].says == "no cpufreq in this kernel"
    assert all(item.value is None for item in unknown.values())


def test_four_threads_on_two_cpus_are_clamped() -> None:
    verdict = verdict_of([repeat_of(STEADY, pool_threads=4, threads_actual=2)] * 3, threads=4)
    assert verdict.name == "clamped"
    assert verdict.reason == "4 threads requested, 4 started, 2 CPUs allowed: 2 can run at once"


@pytest.mark.parametrize(
    ("before", "after", "hot_above_c", "name"),
    [
        (at(2000, 40), at(1500, 70), None, "throttled"),
        (at(2000, 40), at(1900, 70), None, "valid"),
        (at(1500, 40, cap=2000), at(1500, 70, cap=1200), None, "throttled"),
    ],
)
def test_a_clock_that_falls_is_throttled(
    before: Conditions, after: Conditions, hot_above_c: float | None, name: VerdictName
) -> None:
    assert verdict_of([repeat_of(STEADY, before=before, after=after)] * 3, hot_above_c=hot_above_c).name == name


def test_hot_and_slower_towards_the_end_is_throttled_hot_alone_is_not() -> None:
    slowing = [1_000_000] * 20 + [1_080_000] * 20
    hot = {"before": at(2000, 60), "after": at(2000, 75)}
    assert verdict_of([repeat_of(slowing, **hot)] * 3, hot_above_c=70).name == "throttled"
    assert verdict_of([repeat_of(STEADY, **hot)] * 3, hot_above_c=70).name == "valid"
    assert verdict_of([repeat_of(slowing, **hot)] * 3, hot_above_c=80).name == "valid"


def test_a_busy_neighbour_is_contended() -> None:
    verdict = verdict_of([repeat_of(STEADY), repeat_of(STEADY, foreign_cpu_share=0.4), repeat_of(STEADY)])
    assert verdict.name == "contended"
    assert verdict.reason == "others used 40.0% of the CPUs while it was measured"


def test_repeats_that_differ_are_unstable() -> None:
    verdict = verdict_of([repeat_of([value] * 20) for value in (1_000_000, 1_010_000, 1_030_000)])
    assert verdict.name == "unstable"
    assert verdict.reason == "medians of the repeats differ by 3.0%"


def test_emulation_comes_before_every_doubt_and_keeps_the_evidence() -> None:
    verdict = verdict_of([repeat_of(STEADY, foreign_cpu_share=0.9)] * 3, provenance="emulated")
    assert verdict.name == "emulated"
    assert any(item.outcome == "exceeded" for item in verdict.evidence)


def test_a_failed_cell_says_why() -> None:
    verdict = judge(repeats=[], summary=None, threads_requested=1, provenance="hardware", error="it crashed")
    assert (verdict.name, verdict.reason) == ("failed", "it crashed")


def test_a_clock_that_was_held_down_from_the_start_is_throttled() -> None:
    """Hot before the first repeat: no clock falls any more, because all are down."""
    clusters = (ClusterFacts(cpus=(0,), max_mhz=2000.0),)
    capped = [repeat_of(STEADY, before=at(1200, 70, cap=1200), after=at(1200, 70, cap=1200))] * 3
    verdict = judge(
        repeats=capped, summary=summarise(capped), threads_requested=1, provenance="hardware", clusters=clusters
    )
    assert (verdict.name, verdict.reason) == ("throttled", "a CPU was held 40% below its top frequency")
    others = (ClusterFacts(cpus=(5,), max_mhz=2000.0),)
    assert judge(
        repeats=capped, summary=summarise(capped), threads_requested=1, provenance="hardware", clusters=others
    ).name == "valid"  # fmt: skip


def test_a_warm_start_is_told_and_is_no_throttling() -> None:
    repeats = [repeat_of(STEADY, before=at(2000, celsius), after=at(2000, 41)) for celsius in (30, 40, 41)]
    verdict = judge(
        repeats=repeats, summary=summarise(repeats), threads_requested=1, provenance="hardware", cool_below_c=35
    )
    assert verdict.name == "valid"
    told = next(item for item in verdict.evidence if item.check == "warm start")
    assert (told.outcome, told.says) == ("exceeded", "2 of 3 repeats began at 35 °C or more, 41.0 °C at most")


def test_many_repeats_are_not_unstable_for_being_many() -> None:
    """The range grows with the number of repeats; a hundredth of scatter stays a hundredth."""
    medians = [1_000_000 + step * 1_500 for step in (-6, -4, -3, -2, -1, -1, 0, 0, 0, 1, 1, 2, 3, 4, 6)]
    assert (max(medians) - min(medians)) / 1e6 < 0.02
    steady = [repeat_of([value] * 20) for value in medians]
    assert verdict_of(steady).name == "valid"
    assert verdict_of([repeat_of([value] * 20) for value in (1_000_000, 1_000_000, 1_030_000, 1_030_000)]).name == (
        "unstable"
    )
