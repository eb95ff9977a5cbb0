"""Repeats of tools that keep their samples: what a summary, a verdict, a table and a comparison make of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.facts import Conditions
from harness.listing import cell_record, results_text
from harness.verdict import judge
from reports.cells import unlike
from tests.records import measurement_for, repeat_of
from zoo.artifact import Artifact, FileRecord
from zoo.decode import decode_measurement
from zoo.measurement import Measurement, Repeat, Reported, Verdict
from zoo.stats import ratio_interval, summarise
from zoo.text import measurement_table
from zoo.timings import centre_of, timings_ns

ARTIFACT = Artifact(name="tiny-model", format="tflite", files=(FileRecord(name="t.tflite", sha256="c" * 64, size=1),))


def reported(mean_ns: int, *, median: bool = True, **fields: object) -> Repeat:
    figures = Reported(
        count=200,
        first_ns=mean_ns,
        min_ns=mean_ns - 90_000,
        max_ns=mean_ns + 400_000,
        mean_ns=mean_ns,
        std_ns=30_000,
        median_ns=mean_ns - 10_000 if median else None,
    )
    return repeat_of([], reported=figures, threads_actual=None, pool_threads=None, **fields)


def measured(repeats: list[Repeat]) -> Measurement:
    summary = summarise(repeats)
    verdict = judge(repeats=repeats, summary=summary, threads_requested=1, provenance="hardware")
    made = measurement_for(ARTIFACT)
    runner = msgspec.structs.replace(made.runner, name="benchmark_model")
    return msgspec.structs.replace(made, repeats=tuple(repeats), summary=summary, verdict=verdict, runner=runner)


@given(st.lists(st.integers(10**6, 10**9), min_size=1, max_size=5), st.booleans())
def test_a_summary_of_reports_holds_only_what_is_known(means: list[int], median: bool) -> None:
    summary = summarise([reported(mean, median=median) for mean in means])
    assert summary.centre == ("median" if median else "mean")
    assert (summary.p90_ms, summary.p99_ms, summary.mad_ms) == (None, None, None)
    assert summary.mean_ms == pytest.approx(sum(means) / len(means) / 1e6)
    assert summary.min_ms <= summary.ci95_ms[0] <= summary.median_ms <= summary.ci95_ms[1] <= summary.max_ms
    assert summary.std_ms >= 0.03 * (1 - 1e-6)
    assert len(summary.repeat_medians_ms) == len(means)


def test_one_repeat_without_a_median_makes_all_of_them_means() -> None:
    repeats = [reported(1_000_000), reported(1_000_000, median=False)]
    assert (centre_of(repeats), timings_ns(repeats)) == ("mean", ((1_000_000,), (1_000_000,)))
    with_samples = [reported(3_000_000), repeat_of([1, 2, 3, 4_000_000])]
    assert (centre_of(with_samples), timings_ns(with_samples)) == ("median", ((2_990_000,), (2,)))
    assert timings_ns([repeat_of([1, 2]), repeat_of([3])]) == ((1, 2), (3,))


def test_one_report_alone_has_no_interval() -> None:
    cell = measured([reported(1_000_000)])
    unknown = {item.check for item in cell.verdict.evidence if item.outcome == "unknown"}
    assert {"interval", "repeat spread", "threads"} <= unknown
    assert cell.verdict.name == "valid"


def test_repeats_that_disagree_are_unstable_by_their_means() -> None:
    cell = measured([reported(mean, median=False) for mean in (1_000_000, 1_010_000, 1_050_000)])
    assert (cell.verdict.name, cell.verdict.reason) == ("unstable", "means of the repeats differ by 5.0%")


def test_heat_without_samples_is_unknown() -> None:
    hot = Conditions(time="2026-11-21T10:00:00+00:00", temperatures_c={"cpu": 80.0})
    repeats = [reported(1_000_000, before=hot, after=hot)] * 3
    verdict: Verdict = judge(
        repeats=repeats, summary=summarise(repeats), threads_requested=1, provenance="hardware", hot_above_c=70
    )
    (heat,) = [item for item in verdict.evidence if item.check == "temperature"]
    assert (heat.outcome, verdict.name) == ("unknown", "valid")


def test_no_table_calls_a_mean_a_median() -> None:
    mean = measured([reported(1_000_000, median=False)] * 3)
    median = measured([reported(1_000_000)] * 3)
    assert "Mean ms" in measurement_table([mean])
    assert "Median ms" not in measurement_table([mean])
    assert "Median ms" in measurement_table([median])
    both = results_text([mean, median])
    assert both.count("Mean ms") == both.count("Median ms") == 1
    assert f"benchmark_model sha256:{mean.runner.binary_sha256[:12]}" in both
    row = next(line for line in measurement_table([mean]).splitlines() if line.startswith("1 "))
    assert " -  " in row  # p90
    record = cell_record(mean)
    assert (record["median_ms"], record["centre"], record["centre_ms"]) == (None, "mean", 1.0)
    assert (record["p90_ms"], record["repeat_medians_ms"]) == (None, None)


def test_a_mean_is_not_compared_with_a_median() -> None:
    mean, median = (measured([reported(1_000_000, median=known)] * 3) for known in (False, True))
    assert unlike(mean, median) == ("a mean and a median",)
    assert unlike(mean, mean) == ()
    other = msgspec.structs.replace(mean, options=(("xnnpack", "off"),))
    assert unlike(mean, other) == ("options",)


def test_reports_can_be_compared_by_their_centres() -> None:
    slow, fast = ([reported(mean + shift) for shift in (0, 1000, 2000)] for mean in (2_000_000, 1_000_000))
    ratio, low, high = ratio_interval(timings_ns(slow), timings_ns(fast))
    assert low <= ratio <= high
    assert ratio == pytest.approx(2.0, rel=0.02)


def test_a_record_of_the_first_schema_is_read() -> None:
    document = msgspec.to_builtins(measurement_for(ARTIFACT))
    document["schema"] = 1
    del document["options"], document["summary"]["centre"]
    for repeat in document["repeats"]:
        del repeat["reported"], repeat["delegate"]
    read = decode_measurement(msgspec.json.encode(document), "old.json")
    assert (read.options, read.summary and read.summary.centre) == ((), "median")
    new = measured([reported(1_000_000)] * 3)
    assert decode_measurement(msgspec.json.encode(new), "new.json") == new
