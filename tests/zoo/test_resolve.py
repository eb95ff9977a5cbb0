"""Choosing by need: what counts, what decides, what is said where nothing fits."""

from __future__ import annotations

import random
import shlex
from typing import Any

import click
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketzoo.errors import BadInput
from tests.zoo.candidates import cell, digest_of, model, top1
from zoo.candidate import Candidate
from zoo.choice_text import choice_record, choice_text, misses_text
from zoo.commands.constraints import build_constraints, constraint_options
from zoo.constraints import Constraints, as_options, check_constraints, parse_limits, query_text
from zoo.resolve import Choice, latency_of, merged, next_command, relaxed, resolve

ON_KIRIN = Constraints(device="kirin970", max_latency_ms=20.0, threads=4, abi="armv8")
D = digest_of("mobilenetv1")


def chosen(choice: Choice) -> str | None:
    return choice.chosen.candidate.name if choice.chosen else None


def test_the_question_of_the_readme() -> None:
    """Accuracy decides among those that fit; each that does not says its first violated constraint and by how much."""
    asked = msgspec.structs.replace(ON_KIRIN, minimum=(("top1", 70.0),), max_size_mb=6.0)
    entries = [
        model("mobilenetv1", accuracy=70.9, ms=33.0, size_bytes=16_900_000),
        model("mobilenetv1-quant", accuracy=70.2, ms=15.0, size_bytes=4_300_000),
        model("mobilenetv1-quant-channelwise", accuracy=70.6, ms=16.0, size_bytes=4_400_000),
        model("mobilenetv1-0.5x-quant", accuracy=63.0, ms=5.0, size_bytes=1_400_000),
        model("mobilenetv1-yolov3", accuracy=90.0, ms=1.0, size_bytes=1_000),
    ]
    choice = resolve("mobilenetv1", asked, entries)
    assert [row.candidate.name for row in choice.fits] == ["mobilenetv1-quant-channelwise", "mobilenetv1-quant"]
    assert [row.candidate.name for row in choice.misses] == ["mobilenetv1-0.5x-quant", "mobilenetv1"]
    assert choice.misses[0].violations[0].says == "top1 63.00 < 70, 10.0% short"
    text = choice_text(choice)
    assert "asked for mobilenetv1: --device kirin970 --max-latency-ms 20 --threads 4 --abi armv8" in text
    assert "--min-top1 70 --max-size-mb 6" in text
    lines = text.splitlines()
    (top,) = [line for line in lines if "chosen" in line]
    assert lines.index(top) == 4
    assert "16 (15.68 to 16.32)" in top
    assert "16.90 MB > 6, 181.7% over (+1 more)" in text
    assert "yolov3" not in text
    record = choice_record(choice)
    assert msgspec.json.decode(msgspec.json.encode(record))["chosen"]["name"] == "mobilenetv1-quant-channelwise"


@pytest.mark.parametrize(
    ("prefer", "name"),
    [("accuracy", "mobilenetv1"), ("latency", "mobilenetv1-0.5x"), ("size", "mobilenetv1-quant")],
)
def test_prefer_puts_one_figure_in_front(prefer: Any, name: str) -> None:
    entries = [
        model("mobilenetv1", accuracy=72.0, ms=19.0, size_bytes=9_000_000),
        model("mobilenetv1-0.5x", accuracy=65.0, ms=6.0, size_bytes=5_000_000),
        model("mobilenetv1-quant", accuracy=71.0, ms=12.0, size_bytes=4_000_000),
    ]
    assert chosen(resolve("mobilenetv1", msgspec.structs.replace(ON_KIRIN, prefer=prefer), entries)) == name


def test_the_upper_end_of_the_interval_must_hold() -> None:
    wide = model("mobilenetv1", cells=(cell(D, 19.0, ci95_ms=(17.0, 20.5)),))
    choice = resolve("mobilenetv1", ON_KIRIN, [wide])
    assert choice.chosen is None
    assert choice.misses[0].violations[0].says == "20.5 ms > 20, 2.5% over"
    assert chosen(resolve("mobilenetv1", msgspec.structs.replace(ON_KIRIN, max_latency_ms=20.5), [wide]))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"artifact_sha256": "0" * 64}, "measured on another file"),
        ({"device": "pixel1"}, "not measured on kirin970"),
        ({"metric": "instructions"}, "not measured on kirin970"),
        ({"abi": "armv7"}, "measured as armv7, not as armv8"),
        ({"threads": 1}, "measured with 1 thread, not with 4"),
        ({"threads_actual": 2}, "it ran 2 threads instead of 4"),
        ({"options": (("batch", "8"),)}, "measured with batch=8"),
        ({"provenance": "emulated", "verdict": "emulated"}, "emulated, which says nothing of hardware"),
        ({"provenance": "emulated"}, "emulated, which says nothing of hardware"),
        ({"provenance": "published"}, "published, not measured"),
        ({"verdict": "throttled", "reason": "it slowed down"}, "throttled, not valid: it slowed down"),
        ({"verdict": "contended"}, "contended, not valid"),
        ({"output_check": "differs"}, "it computes something else than the host"),
        ({"centre_ms": None, "ci95_ms": None}, "it has no time"),
        ({"centre_ms": float("inf"), "ci95_ms": None}, "it has no time"),
        ({"ci95_ms": (float("nan"), 2.0)}, "it has no time"),
        ({"centre_ms": -1.0, "ci95_ms": None}, "it has no time"),
    ],
)
def test_only_what_was_measured_like_this_counts(fields: dict[str, Any], why: str) -> None:
    entry = model("mobilenetv1", cells=(cell(D, fields.pop("centre_ms", 5.0), **fields),))
    choice = resolve("mobilenetv1", ON_KIRIN, [entry])
    assert choice.chosen is None
    (violation,) = choice.misses[0].violations
    assert violation.says == why
    assert violation.missing


def test_published_figures_count_where_they_are_allowed_and_only_after_measured_ones() -> None:
    published = cell(D, 5.0, provenance="published", ci95_ms=None)
    only = model("mobilenetv1", cells=(published,))
    allowed = msgspec.structs.replace(ON_KIRIN, allow_published=True)
    assert chosen(resolve("mobilenetv1", allowed, [only])) == "mobilenetv1"
    assert "5 published" in choice_text(resolve("mobilenetv1", allowed, [only]))
    both = model("mobilenetv1", cells=(published, cell(D, 18.0)))
    row = resolve("mobilenetv1", allowed, [both]).fits[0]
    assert row.latency is not None and row.latency.cell.centre_ms == 18.0
    emulated = model("mobilenetv1", cells=(cell(D, 5.0, provenance="emulated", verdict="emulated"),))
    assert resolve("mobilenetv1", allowed, [emulated]).chosen is None


def test_the_newest_valid_measurement_of_a_way_counts() -> None:
    old = cell(D, 10.0, time="2026-01-01T00:00:00.000+00:00")
    new = cell(D, 25.0, time="2026-06-01T00:00:00.000+00:00")
    doubtful = cell(D, 8.0, time="2026-09-01T00:00:00.000+00:00", verdict="contended")
    found = latency_of(model("mobilenetv1", cells=(new, doubtful, old)), ON_KIRIN)
    assert not isinstance(found, str) and found.cell is new


def test_of_several_ways_the_fastest_and_of_several_systems_the_slowest() -> None:
    asked = Constraints(device="kirin970")
    ways = (cell(D, 30.0, threads=1), cell(D, 12.0), cell(D, 14.0, fingerprint="e" * 64))
    found = latency_of(model("mobilenetv1", cells=ways), asked)
    assert not isinstance(found, str)
    assert (found.cell.centre_ms, found.cell.threads, found.systems) == (14.0, 4, 2)
    only = msgspec.structs.replace(asked, fingerprint="f" * 64)
    found = latency_of(model("mobilenetv1", cells=ways), only)
    assert not isinstance(found, str) and found.cell.centre_ms == 12.0


def test_an_accuracy_of_another_file_or_of_a_publication_does_not_count() -> None:
    asked = Constraints(minimum=(("top1", 70.0),))
    other = msgspec.structs.replace(model("mobilenetv1"), accuracy=(top1(75.0, "0" * 64),))
    assert resolve("mobilenetv1", asked, [other]).misses[0].violations[0].says == "top1 was measured on another file"
    published = msgspec.structs.replace(other, accuracy=(top1(75.0, D, provenance="published"),))
    assert resolve("mobilenetv1", asked, [published]).chosen is None
    allowed = msgspec.structs.replace(asked, allow_published=True)
    assert chosen(resolve("mobilenetv1", allowed, [published])) == "mobilenetv1"


def test_metrics_other_than_top1_and_those_of_which_less_is_better() -> None:
    def detector(name: str, **values: float) -> Candidate:
        entry = model(name, accuracy=None)
        found = tuple(top1(v, entry.digest, metric=m, dataset="coco") for m, v in values.items())
        return msgspec.structs.replace(entry, accuracy=found, task="object-detection")

    entries = [detector("ssd", mAP=22.0, error=3.0), detector("ssd-quant", mAP=21.0, error=2.0)]
    assert chosen(resolve("ssd", Constraints(minimum=(("map", 20.0),)), entries)) == "ssd"
    assert chosen(resolve("ssd", Constraints(maximum=(("error", 5.0),)), entries)) == "ssd-quant"
    assert chosen(resolve("ssd", Constraints(format="tflite"), entries)) == "ssd"


def test_accuracies_of_different_data_are_told() -> None:
    one, other = model("mobilenetv1"), model("mobilenetv1-quant", accuracy=None)
    other = msgspec.structs.replace(other, accuracy=(top1(99.0, other.digest, dataset="photos", samples=20),))
    choice = resolve("mobilenetv1", Constraints(minimum=(("top1", 50.0),)), [one, other])
    assert any("different data (imagenet/val, photos/val)" in note for note in choice.notes)
    narrowed = resolve("mobilenetv1", Constraints(minimum=(("top1", 50.0),), dataset="imagenet/val"), [one, other])
    assert chosen(narrowed) == "mobilenetv1"
    assert not any("different data" in note for note in narrowed.notes)
    assert narrowed.misses[0].violations[0].says == "no top1 on imagenet/val, but on photos/val"


def test_the_nearest_miss_first_and_a_command_that_would_do() -> None:
    asked = msgspec.structs.replace(ON_KIRIN, minimum=(("top1", 70.0),))
    near = model("mobilenetv1", accuracy=69.5, ms=21.0)
    far = model("mobilenetv1-0.75x", accuracy=50.0, ms=19.0)
    unmeasured = model("mobilenetv1-quant", accuracy=75.0)
    choice = resolve("mobilenetv1", asked, [far, unmeasured, near])
    assert [row.candidate.name for row in choice.misses] == ["mobilenetv1", "mobilenetv1-0.75x", "mobilenetv1-quant"]
    assert any("21.42 ms > 20" in line and "69.50 < 70" in line for line in misses_text(choice))
    command = next_command(choice)
    assert command is not None
    assert "--max-latency-ms 21.42 " in command and "--min-top1 69.5" in command
    less = relaxed(asked, choice.misses[0])
    assert less is not None and chosen(resolve("mobilenetv1", less, [far, unmeasured, near])) == "mobilenetv1"
    only = resolve("mobilenetv1", asked, [unmeasured])
    assert next_command(only) == (
        f"harness run --device kirin970 --model mobilenetv1-quant@sha256:{unmeasured.digest} --publish "
        "--threads 4 --abi armv8"
    )


def test_one_entry_in_several_places_is_one_candidate_with_all_cells() -> None:
    here = model("mobilenetv1", cells=(cell(D, 12.0),))
    there = model("mobilenetv1", cells=(cell(D, 12.0), cell(D, 9.0, threads=8)), source="hub", tags=("v1",))
    (one,) = merged([there, here])
    assert (one.source, one.tags, len(one.cells)) == ("local", ("latest", "v1"), 2)
    away = [msgspec.structs.replace(here, source="a"), msgspec.structs.replace(here, source="b")]
    assert merged(away, ("b", "a"))[0].source == "b"


def test_a_latency_belongs_to_a_device() -> None:
    with pytest.raises(BadInput, match="--max-latency-ms needs --device"):
        check_constraints(Constraints(max_latency_ms=20.0))
    with pytest.raises(BadInput, match="--prefer latency needs --device"):
        check_constraints(Constraints(prefer="latency"))
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="greater than 0"):
            check_constraints(Constraints(device="d", max_latency_ms=wrong))
    for text in ("top1", "top1=", "=3", "top1=nan", "top1=inf", "a b=3", "top1=7,5"):
        with pytest.raises(BadInput, match="METRIC=NUMBER"):
            parse_limits([text], "--min")


def test_a_query_has_one_text() -> None:
    one = check_constraints(Constraints(minimum=(("top5", 90.0), ("top1", 70.5)), device="lab:kirin970"))
    other = check_constraints(Constraints(device="lab:kirin970", minimum=(("top1", 70.5), ("top5", 90.0))))
    assert query_text("mobilenetv1", one) == query_text("mobilenetv1", other)
    assert as_options(one) == "--device lab:kirin970 --min-top1 70.5 --min top5=90"
    assert query_text("mobilenetv1", Constraints()) == "mobilenetv1"


NAMES = ("mobilenetv1", "mobilenetv1-quant", "mobilenetv1-0.5x", "amc-mobilenetv1-0.5flops", "resnet18")


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    name = draw(st.sampled_from(NAMES))
    digest = digest_of(name + str(draw(st.integers(0, 2))))
    cells = tuple(
        cell(
            digest,
            draw(st.sampled_from((5.0, 15.0, 19.9, 25.0))),
            threads=draw(st.sampled_from((1, 4))),
            verdict=draw(st.sampled_from(("valid", "contended"))),
            fingerprint=draw(st.sampled_from("ef")) * 64,
            time=draw(st.sampled_from(("2026-01-01", "2026-02-01"))),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    return model(
        name,
        digest=digest,
        accuracy=draw(st.sampled_from((None, 60.0, 70.0, 75.0))),
        cells=cells,
        source=draw(st.sampled_from(("local", "hub", "share"))),
        size_bytes=draw(st.sampled_from((1_000_000, 4_000_000))),
        tags=draw(st.sampled_from(((), ("latest",), ("v1",)))),
        task=draw(st.sampled_from((None, "image-classification"))),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(candidates(), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(entries: list[Candidate], shuffler: random.Random) -> None:
    asked = msgspec.structs.replace(ON_KIRIN, threads=None, minimum=(("top1", 70.0),))
    shuffled = list(entries)
    shuffler.shuffle(shuffled)
    first, second = resolve("mobilenetv1", asked, entries), resolve("mobilenetv1", asked, shuffled)
    assert choice_record(first) == choice_record(second)
    for row in first.fits:
        assert row.latency is not None and row.latency.upper_ms <= 20.0
        assert row.accuracies[0] is not None and row.accuracies[0].value >= 70.0
    for row in first.misses:
        assert row.violations and row.distance > 0


def test_texts_of_others_make_no_rows_and_reach_no_terminal() -> None:
    reason = "busy\nmobilenetv1  0.00  99.00  chosen\x1b[2J\u202e"
    entry = model("mobilenetv1", cells=(cell(D, 5.0, verdict="contended", reason=reason),))
    fits = model("mobilenetv1-quant", cells=(cell(digest_of("mobilenetv1-quant"), 5.0, abi="armv8\nx"),))
    for text in (
        choice_text(resolve("mobilenetv1", ON_KIRIN, [entry])),
        "\n".join(misses_text(resolve("mobilenetv1", msgspec.structs.replace(ON_KIRIN, max_size_mb=1.0), [entry]))),
        choice_text(resolve("mobilenetv1", Constraints(device="kirin970"), [fits])),
    ):
        assert not any(line.startswith("mobilenetv1  0.00  99.00") or line == "x" for line in text.splitlines())
        assert "\x1b" not in text and "\u202e" not in text


NUMBERS = st.floats(0.001, 1e6).map(lambda value: round(value, 3))
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789:_-. '\"$", min_size=1, max_size=12).filter(lambda t: t[0] != "-")


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        Constraints,
        device=WORDS,
        max_latency_ms=st.none() | NUMBERS,
        threads=st.none() | st.integers(1, 64),
        abi=st.none() | WORDS,
        affinity=st.none() | WORDS,
        options=st.dictionaries(st.sampled_from(["batch", "use_gpu"]), WORDS).map(lambda d: tuple(d.items())),
        max_size_mb=st.none() | NUMBERS,
        minimum=st.dictionaries(st.sampled_from(["top1", "top5", "mAP@0.5"]), NUMBERS).map(lambda d: tuple(d.items())),
        maximum=st.dictionaries(st.sampled_from(["error"]), NUMBERS).map(lambda d: tuple(d.items())),
        dataset=st.none() | WORDS,
        format=st.none() | st.just("tflite"),
        prefer=st.sampled_from(["accuracy", "latency", "size"]),
        allow_published=st.booleans(),
    )
)
def test_the_text_of_a_query_typed_again_is_the_same_query(asked: Constraints) -> None:
    checked = check_constraints(asked)
    seen: list[Constraints] = []

    @click.command()
    @constraint_options
    def typed(**flags: Any) -> None:
        seen.append(build_constraints(flags))

    typed.main(shlex.split(as_options(checked)), standalone_mode=False)
    assert seen == [checked]
    assert as_options(seen[0]) == as_options(checked)
