"""Forecasts: published ratios from their tables, ratios of counts, and what stands beside what."""

from __future__ import annotations

import msgspec
import pytest

from harness.forecast import Counted, Published, counted, forecasts, missing, published_ratios
from harness.published import load, names
from tests.harness.test_instructions import measurement
from tests.records import FACTS

PUBLISHED = published_ratios([load(name) for name in names()])
ONE = Published("snapdragon855", "armv8", "net", "net-quant", 2.0, "table", "Document, table 1", "")
OTHER = Published("snapdragon855", "armv7", "net", "net-quant", 0.9, "table", "Document, table 1", "")
UNTOLD = Published("snapdragon855", None, "net", "net-quant", 2.5, "other", "Another, table 1", "")


def count_of(name: str, instructions: float, digest: str, abi: str = "armv8", runner: str = "r") -> Counted:
    return Counted(name, digest, abi, instructions, runner, "lab:snapdragon855")


@pytest.mark.parametrize(
    ("device", "abi", "base", "name", "ratio"),
    [
        ("snapdragon855", "armv8", "mobilenetv1", "mobilenetv1-quant", 31.3474 / 14.0947),
        ("snapdragon855", "armv7", "mobilenetv1", "mobilenetv1-quant", 33.5086 / 37.0498),
        ("snapdragon845", "armv8", "mobilenetv1", "mobilenetv1-prune50", 66.052 / 37.9892),
        ("snapdragon710", None, "mobilenetv2", "mobilenetv2-quant", 153.18 / 57.55),
        ("pixel1", None, "mobilenetv1", "mobilenetv1-0.75x", 123 / 72.5),
        ("pixel1", None, "mobilenetv1", "amc-mobilenetv1-0.5flops", 123 / 68.9),
        ("kirin970", "armv8", "deeplabv3-mobilenetv2", "deeplabv3-mobilenetv2-quant", 1448.9739 / 1020.753),
    ],
)
def test_published_ratios(device: str, abi: str | None, base: str, name: str, ratio: float) -> None:
    (found,) = [one for one in PUBLISHED if (one.device, one.abi, one.base, one.name) == (device, abi, base, name)]
    assert found.ratio == pytest.approx(ratio)


def test_every_published_ratio_is_of_a_phone_and_has_a_source() -> None:
    assert len(PUBLISHED) == 37
    assert "v100" not in {one.device for one in PUBLISHED}
    assert all(one.source and one.ratio > 0 and one.base != one.name for one in PUBLISHED)


def test_a_child_stands_beside_its_parent_and_what_was_published() -> None:
    counts = [count_of("net", 300.0, "a"), count_of("net-quant", 100.0, "b")]
    (row,) = forecasts(counts, {"b": "a"}, [ONE, OTHER, UNTOLD])
    assert (row.name, row.base, row.ratio) == ("net-quant", "net", 3.0)
    assert [(one.ratio, round(one.error, 3), one.abi) for one in row.published] == [
        (2.0, 0.5, "armv8"),
        (2.5, 0.2, None),
    ]


def test_a_chain_is_compared_with_the_model_as_it_was_trained() -> None:
    counts = [
        count_of("net", 300.0, "a"),
        count_of("net-prune50", 150.0, "b"),
        count_of("net-prune50-quant", 50.0, "c"),
    ]
    rows = forecasts(counts, {"b": "a", "c": "b"}, [])
    assert [(row.name, row.base, row.ratio) for row in rows] == [
        ("net-prune50", "net", 2.0), ("net-prune50-quant", "net", 6.0),
    ]  # fmt: skip


def test_files_that_were_added_are_paired_as_published() -> None:
    counts = [count_of("net", 300.0, "a"), count_of("net-quant", 100.0, "b")]
    assert [row.ratio for row in forecasts(counts, {}, [ONE])] == [3.0]
    assert forecasts(counts, {}, []) == ()


def test_unlike_counts_are_not_compared() -> None:
    quant = count_of("net-quant", 100.0, "b")
    assert forecasts([count_of("net", 300.0, "a", abi="armv7"), quant], {"b": "a"}, [ONE]) == ()
    assert forecasts([count_of("net", 300.0, "a", runner="other"), quant], {"b": "a"}, [ONE]) == ()


def test_parents_in_a_circle_end() -> None:
    counts = [count_of("net", 300.0, "a"), count_of("net-quant", 100.0, "b")]
    assert len(forecasts(counts, {"b": "a", "a": "b"}, [])) <= 2


def test_what_is_missing_is_named() -> None:
    named = {"net": "a", "net-quant": "b", "alone": "c"}
    assert missing([], named, {"b": "a"}, []) == ("net", "net-quant")
    assert missing([count_of("net", 1.0, "a")], named, {}, [ONE]) == ("net-quant",)
    assert missing([count_of("net", 1.0, "old")], {"net": "a"}, {}, []) == ()


def test_counts_of_the_identity_alone_and_the_newest() -> None:
    phone = msgspec.structs.replace(FACTS, name="lab:snapdragon855")
    twin = msgspec.structs.replace(FACTS, name="lab:snapdragon855-armv7")
    real = msgspec.structs.replace(FACTS, name="snapdragon855")
    older = measurement(((10, 10),), device=phone)
    newer = measurement(((20, 20),), device=phone, time="2026-11-22T10:00:00+00:00")
    others = [
        measurement(((30, 30),), device=twin, abi="armv7"),
        measurement(((40, 40),), device=real, artifact_sha256="d" * 64),
        measurement(((50, 50),), device=phone, artifact_sha256="e" * 64, metric="latency", instructions=None),
    ]
    found = counted([newer, older, *others], ("lab:snapdragon855", "lab:snapdragon855-armv7"))
    assert sorted((one.abi, one.instructions) for one in found) == [("armv7", 30.0), ("armv8", 20.0)]
