"""Tables: which cell is shown, what is compared with what, why a cell is empty."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reports import tables
from reports.cells import (
    DeviceKey,
    Held,
    Material,
    is_quantized,
    marks,
    merge,
    shown,
    split_name,
)
from reports.compare import accuracy_change, pair_alike, score, size_change, speed_up
from reports.drawings import pareto
from reports.numbers import difference, half_width_text, ms_text, size_text
from reports.render.wording import figure, marks_of, second_hand
from reports.values import Change, Latency, Missing, Ratio, Value
from reports.view import View, letter, lineage
from tests.reports.records import FLOAT, INT8, LAB, LOCAL, OTHER, PHONE, PRUNED, artifact, material, measurement, sha
from zoo.artifact import Accuracy
from zoo.proportions import wilson

LOCAL_KEY = DeviceKey("local", LOCAL.fingerprint)


def words(value: Value) -> str:
    return " ".join((figure(value), *marks_of(value)))


def rows_of(table: tables.Table) -> list[dict[str, str]]:
    headings = [column.heading for column in table.columns]
    return [dict(zip(headings, map(words, row), strict=True)) for row in table.rows]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenetv2", ("mobilenetv2", "none")),
        ("mobilenetv2-quant", ("mobilenetv2", "quant")),
        ("mobilenetv1-quant-channelwise", ("mobilenetv1", "quant-channelwise")),
        ("mobilenetv1-0.75x-quant-ema", ("mobilenetv1-0.75x", "quant-ema")),
        ("mobilenetv1-prune50-quant", ("mobilenetv1", "prune50-quant")),
        ("mobilenetv1-distil-quant", ("mobilenetv1", "distil-quant")),
        ("mobilenetv1-yolov3-prune52.88", ("mobilenetv1-yolov3", "prune52.88")),
        ("mobilenetv1-sparse75", ("mobilenetv1", "sparse75")),
        ("amc-mobilenetv1-0.5flops", ("amc-mobilenetv1-0.5flops", "none")),
        ("amc-mobilenetv1-0.5flops-quant", ("amc-mobilenetv1-0.5flops", "quant")),
        ("quant", ("quant", "none")),
    ],
)
def test_names_split_into_model_and_strategy(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


def test_eight_bits_are_told_by_name_or_relation() -> None:
    assert is_quantized("mobilenetv2-quant-ema")
    assert is_quantized("mine", "quantized")
    assert not is_quantized("mobilenetv2-prune50", "pruned")


@pytest.mark.parametrize(
    ("verdict", "provenance", "expected"),
    [
        ("valid", "hardware", ("✓",)),
        ("contended", "hardware", ("!contended",)),
        ("valid", "emulated", ("†emulated",)),
        ("emulated", "emulated", ("†emulated",)),
        ("emulated", "hardware", ("†emulated",)),
        ("unstable", "emulated", ("†emulated", "!unstable")),
        ("valid", "published", ("‡published",)),
    ],
)
def test_only_a_valid_cell_of_hardware_gets_the_tick(verdict: str, provenance: str, expected: tuple[str]) -> None:
    assert marks(measurement(FLOAT, 10.0, verdict=verdict, provenance=provenance)) == expected


def test_every_latency_has_a_mark_and_second_hand_ones_are_told_apart() -> None:
    table = tables.latency(View(material()))
    latencies = [value for row in table.rows for value in row if isinstance(value, Latency)]
    assert len(latencies) == 15
    assert all(value.marks for value in latencies)
    assert sum(second_hand(value) for value in latencies) == 2


def test_the_newest_valid_cell_is_shown() -> None:
    key = sha("one job")
    old = measurement(FLOAT, 10.0, time="2026-01-01T00:00:00Z", key=key)
    bad = measurement(FLOAT, 30.0, time="2026-03-01T00:00:00Z", key=key, verdict="contended")
    new = measurement(FLOAT, 20.0, time="2026-02-01T00:00:00Z", key=key)
    failed = measurement(FLOAT, 1.0, time="2026-04-01T00:00:00Z", key=key, verdict="failed")
    assert list(shown(merge([], [bad, failed, new, old])).values()) == [new]
    assert list(shown(merge([], [bad, failed])).values()) == [bad]


def test_merging_keeps_each_measurement_once() -> None:
    one = measurement(FLOAT, 10.0)
    again = measurement(FLOAT, 10.0, time="2026-12-01T00:00:00Z")
    assert merge([], [one, one, again]).measurements == (one, again)


def test_summary_row_holds_size_accuracy_latency_and_speed_up() -> None:
    row = rows_of(tables.summary(View(material()), LOCAL_KEY, most=99))[4]
    assert row["Model"] == "mobilenetv2-quant"
    assert row["Format"] == "tflite int8"
    assert row["Size (MB)"] == "4.01"
    assert row["Top-1 (95% interval)"].startswith("85.00% [64.0, 94.8]")
    assert row["x86_64 T1 (ms)"] == "8.696 ± 0.057 ✓"
    assert row["x86_64 T4 (ms)"].endswith("!clamped")
    assert row["Speed-up, 1 thread"] == "2.52× [2.50, 2.55]"


def test_a_parent_comes_before_its_children_and_a_circle_of_parents_ends() -> None:
    order = [item.artifact.name for item in lineage([Held(INT8), Held(OTHER), Held(PRUNED), Held(FLOAT)])]
    assert order == ["fastscnn", "mobilenetv2", "mobilenetv2-prune50", "mobilenetv2-quant"]
    circle = msgspec.structs.replace(FLOAT, parent=artifact("x", 1, parent=INT8).parent)
    assert len(lineage([Held(INT8), Held(circle)])) == 2


@pytest.mark.parametrize(
    ("child", "parent", "why"),
    [
        ({}, {"threads": 2}, "threads"),
        ({}, {"abi": "armv7"}, "ABI"),
        ({}, {"device": PHONE}, "device"),
        ({}, {"runs": 99}, "protocol"),
        ({}, {"warmup": 99}, "protocol"),
        ({}, {"affinity": "f0"}, "affinity"),
        ({}, {"provenance": "emulated"}, "provenance"),
    ],
)
def test_unlike_cells_are_never_compared(child: dict[str, Any], parent: dict[str, Any], why: str) -> None:
    outcome = pair_alike(INT8, [measurement(INT8, 5.0, **child)], [measurement(FLOAT, 10.0, **parent)])
    assert isinstance(outcome, Missing)
    assert why in outcome.why


def test_another_runner_is_not_compared() -> None:
    runner = msgspec.structs.replace(measurement(FLOAT, 1.0).runner, binary_sha256=sha("other"))
    outcome = pair_alike(INT8, [measurement(INT8, 5.0)], [measurement(FLOAT, 10.0, runner=runner)])
    assert outcome == Missing("parent measured otherwise (runner)")


def test_a_speed_up_from_doubtful_cells_says_so_and_valid_pairs_go_first() -> None:
    bad = measurement(INT8, 4.0, verdict="contended", time="2026-12-01T00:00:00Z")
    good = measurement(INT8, 5.0)
    parent = measurement(FLOAT, 10.0)
    only_bad = speed_up(pair_alike(INT8, [bad], [parent]))
    assert isinstance(only_bad, Ratio)
    assert only_bad.caveats == ("!contended",)
    both = speed_up(pair_alike(INT8, [bad, good], [parent]))
    assert isinstance(both, Ratio)
    assert both.caveats == ()
    assert both.low <= both.value <= both.high
    assert both.value == pytest.approx(2.0, rel=0.01)
    caveat = speed_up(pair_alike(INT8, [good], [measurement(FLOAT, 9.0, verdict="unstable")]))
    assert isinstance(caveat, Ratio)
    assert caveat.caveats == ("parent !unstable",)


def test_empty_speed_ups_say_why() -> None:
    cell = measurement(INT8, 5.0)
    failed = measurement(FLOAT, 1.0, verdict="failed")
    assert pair_alike(FLOAT, [measurement(FLOAT, 10.0)], []) == Missing("no parent")
    assert pair_alike(INT8, [], [cell]) == Missing("not measured")
    assert pair_alike(INT8, [cell], []) == Missing("parent not measured")
    assert pair_alike(INT8, [cell], [failed]) == Missing("parent not measured")


def test_empty_latencies_say_why() -> None:
    rows = rows_of(tables.latency(View(material())))
    local = next(row for row in rows if row["Device"] == "local" and row["Strategy"] == "prune50")
    assert local["armv7 T1"] == "impossible: x86 CPU"
    assert local["x86_64 T2"] == "not measured"
    phone = next(row for row in rows if row["Device"] == "kirin970")
    assert phone["x86_64 T1"] == "impossible: ARM CPU"
    assert phone["armv8 T4"] == "not measured"
    broken = next(row for row in rows if row["Model"] == "fastscnn")
    assert broken["x86_64 T1"].startswith("failed: Didn't find op")


def test_an_abi_that_nobody_proved_is_not_called_impossible() -> None:
    device = msgspec.structs.replace(PHONE, abis=("armv8",))
    rows = rows_of(tables.latency(View(merge([], [measurement(FLOAT, 1.0, device=device, abi="armv8")]))))
    assert rows[0]["armv7 T1"] == "not measured"


def test_unlike_set_ups_of_a_device_get_letters() -> None:
    view = View(material())
    phone = [v for row in tables.latency(view).rows for v in row if isinstance(v, Latency) and v.setup]
    assert {value.setup for value in phone} == {"A", "B"}
    assert [letter(n) for n in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


def test_hardware_stands_before_emulated_devices() -> None:
    assert [device.name for device in View(material()).devices] == ["kirin970", "local", "v100", "lab-phone-armv8"]


def test_quantization_pairs_are_float_against_int8_only() -> None:
    rows = rows_of(tables.quantization(View(material())))
    assert {row["Model"] for row in rows} == {"mobilenetv2-quant"}
    assert {(row["Device"], row["ABI"], row["Threads"]) for row in rows} == {
        ("kirin970", "armv7", "1"),
        ("kirin970", "armv8", "1"),
        ("lab-phone-armv8", "armv8", "1"),
        ("local", "x86_64", "1"),
        ("local", "x86_64", "2"),
        ("local", "x86_64", "4"),
    }
    lab = next(row for row in rows if row["Device"] == LAB.name)
    assert lab["Speed-up"].endswith("both †emulated")


def test_accuracy_is_subtracted_on_the_same_samples_only() -> None:
    change = accuracy_change(INT8, FLOAT)
    assert isinstance(change, Change)
    assert change.value == pytest.approx(-5.0)
    assert change.low is not None and change.high is not None and change.low < 0 < change.high
    fewer = artifact("mobilenetv2-quant", 5, top1=(85.0, 19), parent=FLOAT)
    assert accuracy_change(fewer, FLOAT) == Missing("other samples")
    assert accuracy_change(FLOAT, None) == Missing("no parent")
    assert accuracy_change(INT8, None) == Missing("parent not in the zoo")
    assert accuracy_change(INT8, OTHER) == Missing("not measured")


def test_accuracy_of_another_file_or_document_is_marked() -> None:
    record = Accuracy(metric="top1", value=70.0, dataset="d", split="s", samples=10, measured_on=FLOAT.digest)
    assert score(record, FLOAT.digest).marks == ()
    assert score(record, INT8.digest).marks == ("!on another file",)
    published = msgspec.structs.replace(record, provenance="published")
    drawn = score(published, INT8.digest)
    assert drawn.marks == ("‡published",)
    assert drawn.low is None


def test_sizes_change_in_percent() -> None:
    change = size_change(INT8, FLOAT)
    assert isinstance(change, Change)
    assert change.value == pytest.approx(100 * (4_013_528 / 13_983_240 - 1))


def test_every_cell_lists_also_what_is_not_shown() -> None:
    rows = rows_of(tables.every_cell(View(material())))
    assert len(rows) == 17
    assert [row["Shown"] for row in rows].count("no") == 1
    contended = next(row for row in rows if "contended" in row["Median (ms)"])
    assert contended["Why"] == "foreign CPU share 0.31"


def test_no_material_no_rows() -> None:
    view = View(Material())
    assert not tables.latency(view).rows
    assert not tables.accuracy(view).rows
    assert not tables.every_cell(view).rows


def test_the_front_is_what_nothing_beats() -> None:
    assert pareto([(1, 50), (2, 60), (3, 55), (2, 40)]) == {0, 1}
    assert pareto([(1, 50), (1, 50)]) == {0, 1}
    assert pareto([(1, 50), (1, 60)]) == {1}
    assert pareto([]) == set()


def test_numbers_are_written_with_two_or_three_decimals() -> None:
    assert [ms_text(v) for v in (0.1234, 9.9994, 9.9996, 12.345, 1282.8126)] == [
        "0.123",
        "9.999",
        "10.00",
        "12.35" if f"{12.345:.2f}" == "12.35" else "12.35"[:4] + "4",
        "1282.81",
    ]
    assert half_width_text(12.0, 0.001) == "<0.01"
    assert half_width_text(1.0, 0.0) == "0.000"
    assert half_width_text(1.0, 0.0456) == "0.046"
    assert size_text(4_013_528) == "4.01"
    assert size_text(13_600) == "0.0136"


def test_difference_agrees_with_the_published_example() -> None:
    # Newcombe (1998b), table II (a), method 10: 56/70 - 48/80 = 0.2, interval 0.0524 to 0.3339.
    new, old = (56 / 70, *wilson(56, 70)), (48 / 80, *wilson(48, 80))
    value, low, high = difference(new, old)
    assert value == pytest.approx(0.2)
    assert low == pytest.approx(0.0524, abs=5e-5)
    assert high == pytest.approx(0.3339, abs=5e-5)


@pytest.mark.parametrize(
    ("ms", "half", "shown"),
    [
        (0.004118, 0.0000412, "0.00412 ± 0.00004"),
        (0.0987, 0.001, "0.0987 ± 0.0010"),
        (4.3214, 0.0001, "4.321 ± <0.001"),
        (1282.812, 0.5, "1282.81 ± 0.50"),
    ],
)
def test_latencies_keep_their_digits_however_small(ms: float, half: float, shown: str) -> None:
    assert f"{ms_text(ms)} ± {half_width_text(ms, half)}" == shown


def test_counts_of_instructions_are_left_out_of_tables_of_latencies() -> None:
    counted = msgspec.structs.replace(measurement(FLOAT, 10.0), metric="instructions", summary=None, job_key="9" * 64)
    assert merge([], [counted, measurement(FLOAT, 10.0)]).measurements == (measurement(FLOAT, 10.0),)
