"""Outputs of both tools called benchmark_model, through every generation."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.runner import RunnerFailed
from harness.runners.benchmark_output import Output, flags_of, parse_output, tool_of
from tests.harness.benchmark_printer import GENERATIONS, printed, printed_by_litert
from zoo.measurement import Reported

CORPUS = Path(__file__).parents[1] / "corpus" / "benchmark_model"
OUTPUTS = sorted(CORPUS.glob("*.txt"))


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: path.stem)
def test_every_output_of_the_corpus_gives_its_figures(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    text = path.read_text()
    if "error" in expected:
        with pytest.raises(RunnerFailed) as caught:
            parse_output(text)
        assert {"error": caught.value.what, "detail": list(caught.value.detail)} == expected
    else:
        assert parse_output(text) == msgspec.convert(expected, Output)


def test_the_corpus_names_the_source_of_every_file() -> None:
    readme = (CORPUS / "README.md").read_text()
    assert OUTPUTS
    assert [path.stem for path in OUTPUTS if f"| {path.stem} |" not in readme] == []


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: path.stem)
def test_an_output_cut_anywhere_gives_the_same_figures_or_an_error(path: Path) -> None:
    text = path.read_text()
    try:
        whole = parse_output(text)
    except RunnerFailed:
        return
    for end in range(0, len(text), 7):
        try:
            part = parse_output(text[:end])
        except RunnerFailed:
            continue
        slack = 1e-3 * whole.runs.mean_ns
        assert part.runs.count == whole.runs.count
        assert abs(part.runs.mean_ns - whole.runs.mean_ns) <= slack
        assert part.runs.median_ns in (None, whole.runs.median_ns)


@st.composite
def reports(draw: st.DrawFn, *, percentiles: bool = False, step: int = 1000, first: bool = True) -> Reported:
    """Figures that can be, in whole steps."""
    low = draw(st.integers(1, 2_000_000))
    high = low + draw(st.one_of(st.just(0), st.integers(1, 2_000_000)))
    count = 1 if low == high and draw(st.booleans()) else draw(st.integers(2, 10_000))
    inside = st.integers(low, high)
    mean = draw(inside)
    # What six digits cannot hold is lost in print.
    mean_ns = round(float(f"{mean * step / 1e3:.6g}") * 1e3)
    middle = sorted(draw(st.tuples(inside, inside, inside)))
    return Reported(
        count=count,
        first_ns=draw(inside) * step if first else None,
        min_ns=low * step,
        max_ns=high * step,
        mean_ns=low * step if low == high else mean_ns,
        std_ns=draw(st.integers(0, high - low)) * step,
        median_ns=middle[1] * step if percentiles else None,
        p5_ns=middle[0] * step if percentiles else None,
        p95_ns=middle[2] * step if percentiles else None,
    )


def told(runs: Reported) -> Reported:
    """What can be known of it: where every run took the same time, that is the median, also where none is printed."""
    return msgspec.structs.replace(runs, median_ns=runs.min_ns) if runs.min_ns == runs.max_ns else runs


@pytest.mark.parametrize("generation", GENERATIONS)
@given(data=st.data())
def test_what_a_generation_prints_is_read_back(generation: str, data: st.DataObject) -> None:
    warmup, runs = (data.draw(reports(percentiles=generation == "percentiles")) for _ in range(2))
    init = data.draw(st.integers(1, 10**7))
    output = parse_output(printed(generation, warmup, runs, init))
    assert (output.runs, output.warmup_runs, output.init_ns) == (told(runs), warmup.count, init * 1000)
    assert output.first_ns == warmup.first_ns


@given(reports(step=10_000, first=False), reports(step=10_000))
def test_what_litert_prints_is_read_back(runs: Reported, warmup: Reported) -> None:
    runs = msgspec.structs.replace(runs, mean_ns=max(10_000, round(runs.mean_ns / 1e4) * 10_000))
    output = parse_output(printed_by_litert(warmup, runs, 1.5))
    assert (output.tool, output.runs, output.warmup_runs) == ("litert", runs, warmup.count)


PIECES = [
    *(path.read_text() for path in OUTPUTS),
    "count=",
    "avg=nan",
    "\n",
    "count=9999999999999999999999 curr=1",
    "1e999",
]


@given(st.binary(max_size=400), st.lists(st.sampled_from(PIECES), max_size=4), st.integers(0, 3000))
@example(b"", ["count=0\ncount=0 curr=nan\nInference timings in us: Init: nan, First inference: inf"], 3000)
def test_whatever_is_printed_gives_figures_or_a_reason(noise: bytes, pieces: list[str], end: int) -> None:
    text = "".join(pieces)[:end] + noise.decode("utf-8", "replace") + "".join(pieces)
    try:
        output = parse_output(text)
    except RunnerFailed as error:
        assert error.what
    else:
        assert output.runs.count >= 1
        assert output.runs.mean_ns > 0


@pytest.mark.parametrize(
    "damaged",
    [
        "count=3 first=5 curr=5 min=9 max=4 avg=5 std=0",
        "count=3 first=5 curr=5 min=4 max=9 avg=50 std=0",
        "count=3 first=5 curr=5 min=4 max=9 avg=nan std=0",
        "count=3 first=500 curr=5 min=4 max=9 avg=5 std=0",
        "count=0",
    ],
)
def test_figures_that_cannot_be_are_refused(damaged: str) -> None:
    end = "Inference timings in us: Init: 1, First inference: 5, Warmup (avg): 5, Inference (avg): 5"
    with pytest.raises(RunnerFailed):
        parse_output(f"count=1 curr=5\n{damaged.replace('=5 std', '=5000 std')}\n{end}\n")


def test_a_delegate_that_was_not_applied_is_none() -> None:
    text = (CORPUS / "tflite-info-xnnpack.txt").read_text()
    refused = "Though XNNPACK delegate is explicitly applied, the model graph will not be executed by the delegate."
    lines = [refused if "Explicitly" in line else line for line in text.splitlines()]
    assert parse_output("\n".join(lines)).delegate == "none"


def test_the_two_tools_are_told_apart_by_what_they_say_of_themselves() -> None:
    common = "usage: benchmark_model <flags>\nFlags:\n\t--num_runs=50\tint32\toptional\texpected number of runs\n"
    tflite = f"{common}\t--use_xnnpack=false\tbool\toptional\texplicitly apply the XNNPACK delegate\n"
    litert = f"{common}\t--use_npu=false\tbool\toptional\tWhether to use NPU accelerator.\n"
    assert (tool_of(tflite), tool_of(litert)) == ("tflite", "litert")
    assert tool_of("ERROR: Please specify the name of your TF Lite input file with --graph") == "tflite"
    assert tool_of("hello") is None
    assert flags_of(tflite) == {"num_runs", "use_xnnpack"}
