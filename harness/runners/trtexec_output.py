"""What TensorRT's ``trtexec`` prints and exports, read as figures. Pure."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec
from msgspec import Struct

from harness.runner import RunnerFailed
from pocketzoo.decodable import decodable

Span = Literal["latency", "compute"]
LONGEST_MS = 1e9

_N = r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|inf|nan)"
_HEADER = re.compile(
    r"&&&& (RUNNING|PASSED|FAILED) TensorRT\.trtexec(?: \[TensorRT v([0-9]{1,9})\])?(?: \[b([0-9]+)\])?"
)
_QPS = re.compile(rf"\[I\] Throughput: {_N} qps|\[I\] throughput: {_N} qps")
_LINE = r"\[I\] {}: min = {n} ms, max = {n} ms, mean = {n} ms, median = {n} ms((?:, percentile\([0-9.]+%\) = {n} ms)*)"
_FIGURES = {name: re.compile(_LINE.format(name, n=_N)) for name in ("Latency", "GPU Compute Time")}
_PERCENTILE = re.compile(rf"percentile\(([0-9.]+)%\) = {_N} ms")
# TensorRT 7: a heading, then a line for each figure.
_OLD_FIGURES = {
    name: re.compile(
        rf"\[I\] {heading}\n.*?\[I\] min: {_N} ms.*\n.*?\[I\] max: {_N} ms.*\n.*?\[I\] mean: {_N} ms.*\n"
        rf".*?\[I\] median: {_N} ms.*\n.*?\[I\] percentile: {_N} ms at ([0-9.]+)%"
    )
    for name, heading in (("Latency", "Host Latency"), ("GPU Compute Time", "GPU Compute"))
}
_ERROR = re.compile(r"\[E\] (.*)")


class Figures(Struct, frozen=True, kw_only=True):
    """A line of the performance summary, in milliseconds; percentiles by their number as printed."""

    min_ms: float
    max_ms: float
    mean_ms: float
    median_ms: float
    percentiles_ms: dict[str, float] = {}


class Log(Struct, frozen=True, kw_only=True):
    """What a log says: the version as TensorRT writes it (8.6.1), whether it passed, and its summary."""

    version: str | None
    passed: bool
    throughput_qps: float | None = None
    latency: Figures | None = None
    compute: Figures | None = None
    warnings: tuple[str, ...] = ()


class _Query(Struct, frozen=True):
    """One query of the exported times; the older names of the same spans are computed from their ends."""

    latencyMs: float
    computeMs: float


decodable(Figures, Log, _Query)


def parse_log(text: str) -> Log:
    """The log of a run.

    Raises:
        RunnerFailed: it did not pass, or is cut off before it says so; the errors it names are the detail.
    """
    said = list(_HEADER.finditer(text))
    states = [match[1] for match in said]
    errors = tuple(line.strip()[:200] for line in _ERROR.findall(text))[-3:]
    if "FAILED" in states:
        raise RunnerFailed("trtexec failed", detail=errors)
    if "PASSED" not in states:
        raise RunnerFailed("trtexec ended without saying that it passed", detail=errors or _tail(text))
    qps = _QPS.search(text)
    return Log(
        version=version_of(text),
        passed=True,
        throughput_qps=_number(qps[1] or qps[2]) if qps else None,
        latency=_figures("Latency", text),
        compute=_figures("GPU Compute Time", text),
        warnings=tuple(line.strip()[:200] for line in re.findall(r"\[W\] \* (.*)", text))[:10],
    )


def version_of(text: str) -> str | None:
    """The version in the header: ``v8601`` is 8.6.1 and ``v100900`` is 10.9.0; None where it names none (before 8)."""
    for match in _HEADER.finditer(text):
        if match[2]:
            digits, build = match[2], f" build {match[3]}" if match[3] else ""
            # 8.6.1 is written 8601, and from 10 on the middle number has two digits: 10.9.0 is 100900.
            middle = 2 if len(digits) > 4 else 1
            parts = (digits[: -2 - middle], digits[-2 - middle : -2], digits[-2:])
            return ".".join(str(int(part or 0)) for part in parts) + build
    return None


def parse_times(text: str, *, span: Span) -> tuple[int, ...]:
    """The exported times (``--exportTimes``) as nanoseconds, a query each, in the order they ran.

    Args:
        text: the file.
        span: ``latency`` (input copied, computed, output copied) or ``compute`` (the GPU's work alone).

    Raises:
        RunnerFailed: not that file, cut off, or times that cannot be.
    """
    try:
        queries = msgspec.json.decode(text, type=list[_Query])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunnerFailed(f"the exported times are cut off or damaged: {error}") from error
    found = [query.latencyMs if span == "latency" else query.computeMs for query in queries]
    if not all(0 < value < LONGEST_MS for value in found):
        raise RunnerFailed("the exported times hold a time that cannot be")
    return tuple(round(value * 1e6) for value in found)


def _figures(name: str, text: str) -> Figures | None:
    if match := _FIGURES[name].search(text):
        values = [_number(match[group]) for group in range(1, 5)]
        percentiles = {number: _number(value) for number, value in _PERCENTILE.findall(match[5])}
    elif match := _OLD_FIGURES[name].search(text):
        values = [_number(match[group]) for group in range(1, 5)]
        percentiles = {match[6]: _number(match[5])}
    else:
        return None
    low, high, mean, median = values
    if low is None or high is None or mean is None or median is None:
        return None
    kept = {number: value for number, value in percentiles.items() if value is not None}
    return Figures(min_ms=low, max_ms=high, mean_ms=mean, median_ms=median, percentiles_ms=kept)


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) and value < LONGEST_MS else None


def _tail(text: str) -> tuple[str, ...]:
    return tuple(line.strip()[:200] for line in text.splitlines() if line.strip())[-3:]
