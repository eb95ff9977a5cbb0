"""What the two tools called ``benchmark_model`` print, read as figures. Pure; docs/howto-runners.md shows samples.

TFLite's own tool prints a ``count=`` line for the warm-up and one for the measurement. LiteRT's (litert/tools) prints
a block of results, and in newer builds the ``count=`` lines as well. Ten years of builds differ in prefixes, in what a
line holds and in which stream it goes to, so nothing is anchored at the start of a line.
"""

from __future__ import annotations

import math
import re
from typing import Literal

from msgspec import Struct

from harness.runner import RunnerFailed
from pocketzoo.decodable import decodable
from zoo.measurement import Reported

Tool = Literal["tflite", "litert"]
MOST_RUNS = 100_000_000
LONGEST_US = 1e12  # an inference of eleven days is no inference

_N = r"(-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|nan|inf))"
# `curr` ends a line whose runs took the same time, and all figures but the mean are whole microseconds.
_COUNT = re.compile(
    rf"\bcount=(\d+)(?: first={_N})?(?: curr={_N})?(?P<same>\(all same\))?"
    rf"(?: min={_N} max={_N} avg={_N} std={_N})?(?: p5={_N})?(?: median={_N})?(?: p95={_N})?"
)
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: {_N}, First inference: {_N}, Warmup \(avg\): {_N}, Inference \(avg\): {_N}"
)
_OLD_TIMINGS = re.compile(rf"Average inference timings in us: Warmup: {_N}, Init: {_N}, no stats: {_N}")
_SESSION = re.compile(rf"Initialized session in {_N} ?ms")
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_N}")
_OLD_PEAK = re.compile(rf"Peak memory footprint \(MB\): init={_N} overall={_N}")
_DELTA = re.compile(rf"Memory footprint delta from the start of the tool \(MB\): init={_N} overall={_N}")
_UNCONSUMED = re.compile(r"Unconsumed cmdline flags:(.*)")
_APPLIED = re.compile(r"Explicitly applied (\w+) delegate, and the model graph will be (completely|partially) executed")
_NOT_APPLIED = re.compile(r"Though (\w+) delegate is explicitly applied, the model graph will not be executed")
_REPLACED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(TfLite(\w+?)Delegate\w*\)")
_CREATED = re.compile(r"Created TensorFlow Lite (\w+) delegate for CPU")
_CPUS = re.compile(r"^Cpus_allowed_list:\s*([0-9,-]{1,4096})\s*$", re.MULTILINE)

_LITERT = {
    "init": re.compile(rf"Model initialization:\s+{_N} ms"),
    "first": re.compile(rf"Warmup \(first\):\s+{_N} ms"),
    "warmup": re.compile(rf"Warmup \(avg\):\s+{_N} ms \((\d+) runs\)"),
    "mean": re.compile(rf"Inference \(avg\):\s+{_N} ms \((\d+) runs\)"),
    "min": re.compile(rf"Inference \(min\):\s+{_N} ms"),
    "max": re.compile(rf"Inference \(max\):\s+{_N} ms"),
    "std": re.compile(rf"Inference \(std\):\s+{_N}"),
    "peak": re.compile(rf"Peak memory:\s+{_N} MB"),
    "delta": re.compile(rf"Overall footprint:\s+{_N} MB"),
}
_LAST_WORDS = re.compile(r"ERROR|[Ff]ailed|not found|cannot|[Ss]egmentation|Aborted|Illegal", re.ASCII)


class Output(Struct, frozen=True, kw_only=True):
    """One run of the tool.

    ``warmup_runs`` and ``runs.count`` are what really ran. ``delegate`` is None where the tool said nothing of any.
    ``unconsumed`` are flags this build does not know. ``cpus`` is the kernel's list of allowed CPUs, as text, where
    the command printed it before the tool began. Times in nanoseconds.
    """

    tool: Tool
    warmup_runs: int
    runs: Reported
    init_ns: int | None = None
    first_ns: int | None = None
    peak_memory_bytes: int | None = None
    delegate: str | None = None
    unconsumed: tuple[str, ...] = ()
    cpus: str | None = None


decodable(Output)


def parse_output(text: str) -> Output:
    """The figures in a tool's output; stdout and stderr may be joined in any order.

    Raises:
        RunnerFailed: no figures, half of them, or figures that cannot be; the last lines are its detail.
    """
    lines = [match for match in _COUNT.finditer(text) if int(match[1][:12]) <= MOST_RUNS]
    block = _LITERT["mean"].search(text)
    if len(lines) >= 2:
        # Other counts may follow (profiling prints its own); warm-up and measurement come first.
        warmup_runs, runs = int(lines[0][1]), _from_line(lines[1], text)
        if block is None:
            _check_ended(runs, text)
    elif block is not None:
        warmup = _LITERT["warmup"].search(text)
        warmup_runs, runs = (_count(warmup[2], text) if warmup else 0), _from_block(block, text)
    else:
        raise _nothing(text, half=bool(lines))
    init, first = _init_and_first(text)
    if first is None or first <= 0:  # no warm-up: then the first measured run is the first of all
        first = (_us(lines[0][2] or lines[0][3]) if lines and int(lines[0][1]) else None) or runs.first_ns
    delta = _megabytes(_DELTA, text, 2) or _megabytes(_LITERT["delta"], text, 1)
    peak = _megabytes(_PEAK, text, 1) or _megabytes(_OLD_PEAK, text, 2) or _megabytes(_LITERT["peak"], text, 1)
    cpus = _CPUS.search(text)
    return Output(
        tool="litert" if block is not None else "tflite",
        warmup_runs=warmup_runs,
        runs=runs if delta is None else _with_delta(runs, delta),
        init_ns=init,
        first_ns=first,
        peak_memory_bytes=peak,
        delegate=delegate_of(text),
        unconsumed=tuple(flag for match in _UNCONSUMED.finditer(text) for flag in match[1].split()[:20]),
        cpus=cpus[1] if cpus else None,
    )


def delegate_of(text: str) -> str | None:
    """What the model ran on, in the tool's words: ``xnnpack (whole graph)``, ``none``; None where it says nothing."""
    if match := _APPLIED.search(text):
        return f"{match[1].lower()} ({'whole graph' if match[2] == 'completely' else 'part of the graph'})"
    if _NOT_APPLIED.search(text):
        return "none"
    if match := _REPLACED.search(text):
        return f"{match[3].lower()} ({match[1][:9]} of {match[2][:9]} nodes)"
    if match := _CREATED.search(text):
        return match[1].lower()
    return None


def flags_of(usage: str) -> frozenset[str]:
    """The names of the flags a usage text lists: ``--num_runs=50  int32  optional  ...``."""
    return frozenset(re.findall(r"^\s*--([a-z0-9_]{2,60})=", usage, re.MULTILINE))


def tool_of(usage: str) -> Tool | None:
    """Which of the two tools printed a usage text or a complaint about a missing model; None where it is neither."""
    flags = flags_of(usage)
    if {"use_npu", "use_cpu", "signature_to_run_for"} & flags or "benchmark_litert_model" in usage:
        return "litert"
    if "num_runs" in flags or "name of your TF Lite input file" in usage:
        return "tflite"
    return None


def _from_line(match: re.Match[str], text: str) -> Reported:
    count = int(match[1])
    first, curr = _us(match[2]), _us(match[3])
    low, high, mean, std = (_us(match[group]) for group in (5, 6, 7, 8))
    if count == 1 or match["same"]:
        # One figure stands for all: every run took it.
        low = high = mean = first = curr
        std = 0
    if count < 1 or low is None or high is None or mean is None or std is None:
        raise _nothing(text, half=True)
    median, p5, p95 = (_us(match[group]) for group in (10, 9, 11))
    if low == high:  # whether a build prints medians or not, here it is known
        median = low
    return _checked(
        Reported(
            count=count,
            first_ns=first,
            min_ns=low,
            max_ns=high,
            mean_ns=mean,
            std_ns=std,
            median_ns=median,
            p5_ns=p5,
            p95_ns=p95,
        )
        if mean > 0 and low >= 0 and high >= 0 and std >= 0
        else None,
        text,
    )


def _from_block(block: re.Match[str], text: str) -> Reported:
    found = {name: pattern.search(text) for name, pattern in _LITERT.items()}
    count = _count(block[2], text)
    mean = _ms(block[1])
    low, high, std = (_ms(match[1]) if match else None for match in (found["min"], found["max"], found["std"]))
    if count < 1 or not mean or mean < 0 or low is None or high is None or std is None:
        raise _nothing(text, half=True)
    if min(low, high, std) < 0:
        raise _nothing(text, half=True)
    return _checked(Reported(count=count, min_ns=low, max_ns=high, mean_ns=mean, std_ns=std), text)


def _checked(runs: Reported | None, text: str) -> Reported:
    """Figures that fit together. Means are printed with six digits, the block with 10 µs: that much may be off."""
    if runs is None:
        raise _nothing(text, half=True)
    slack = max(10_000, runs.mean_ns // 100_000)
    middle = [value for value in (runs.p5_ns, runs.median_ns, runs.p95_ns, runs.first_ns) if value is not None]
    outside = [value for value in (runs.mean_ns, *middle) if not runs.min_ns - slack <= value <= runs.max_ns + slack]
    if runs.min_ns > runs.max_ns or outside or runs.std_ns > runs.max_ns:
        raise RunnerFailed(
            "the tool's figures contradict each other: the output is damaged", detail=(_line_with("count=", text),)
        )
    return runs


def _check_ended(runs: Reported, text: str) -> None:
    """TFLite's tool says its mean again in its last lines; without them the figures above may be cut off too."""
    match, old = _TIMINGS.search(text), _OLD_TIMINGS.search(text)
    again = _us(match[4]) if match else _us(old[3]) if old else None
    if again is None or abs(again - runs.mean_ns) > max(1_000, runs.mean_ns / 1_000):
        raise _nothing(text, half=True)


def _init_and_first(text: str) -> tuple[int | None, int | None]:
    if match := _TIMINGS.search(text):
        return _us(match[1]), _us(match[2])
    if match := _OLD_TIMINGS.search(text):
        return _us(match[2]), None
    init, first = _LITERT["init"].search(text), _LITERT["first"].search(text)
    if init:
        return _ms(init[1]), _ms(first[1]) if first else None
    session = _SESSION.search(text)
    return (_ms(session[1]) if session else None), None


def _with_delta(runs: Reported, delta: int) -> Reported:
    from msgspec.structs import replace

    return replace(runs, memory_delta_bytes=delta)


def _count(text: str, whole: str) -> int:
    if len(text) > 9:
        raise _nothing(whole, half=True)
    return int(text)


def _number(text: str | None, most: float) -> float | None:
    value = float(text) if text else math.nan
    return value if math.isfinite(value) and abs(value) <= most else None


def _us(text: str | None) -> int | None:
    """Microseconds as nanoseconds; None where nothing usable is written."""
    value = _number(text, LONGEST_US)
    return None if value is None else round(value * 1e3)


def _ms(text: str | None) -> int | None:
    value = _number(text, LONGEST_US / 1e3)
    return None if value is None else round(value * 1e6)


def _megabytes(pattern: re.Pattern[str], text: str, group: int) -> int | None:
    match = pattern.search(text)
    value = _number(match[group], 1e9) if match else None
    return None if value is None or value <= 0 else round(value * (1 << 20))


def _line_with(word: str, text: str) -> str:
    return next((line.strip()[:200] for line in text.splitlines() if word in line), "")


def _nothing(text: str, *, half: bool) -> RunnerFailed:
    said = [line.strip()[:200] for line in text.splitlines() if line.strip()]
    telling = [line for line in said if _LAST_WORDS.search(line)]
    what = "the tool's output is cut off" if half else "the tool ended without figures"
    return RunnerFailed(what, detail=tuple((telling or said)[-3:]))
