"""A stand-in for TFLite's native `benchmark_model`: its flags, its output, real inferences of the Python runtime.

Installed on the virtual devices as /usr/local/bin/benchmark_model. It stands alone: Python 3.11, numpy, and
ai-edge-litert or tflite-runtime. Loops and figures follow the tool's sources: counts are minimums, the first `count=`
line is the warm-up, the deviation is of the population and truncated, percentiles are not interpolated.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FLAGS: dict[str, bool | int | float | str] = {  # flag: default; its type decides how a value is read
    "graph": "",
    "num_threads": -1,
    "num_runs": 50,
    "min_secs": 1.0,
    "max_secs": 150.0,
    "warmup_runs": 1,
    "warmup_min_secs": 0.5,
    "run_delay": -1.0,
    "use_xnnpack": True,
    "use_gpu": False,
    "use_nnapi": False,
    "require_full_delegation": False,
    "allow_fp16": False,
    "enable_op_profiling": False,
    "report_peak_memory_footprint": False,
    "verbose": False,
    "input_layer_value_files": "",
    "output_filepath": "",
}


class UsageError(Exception):
    """What the tool says before it gives up."""


def parse_flags(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """``--name=value`` by name over the defaults, and what is left over (the tool only warns of it).

    Raises:
        UsageError: a value that is none of its flag's kind.
    """
    values: dict[str, Any] = dict(FLAGS)
    left = []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in FLAGS:
            left.append(argument)
            continue
        kind = type(FLAGS[name])
        try:
            if kind is bool:
                values[name] = {"": True, "true": True, "1": True, "false": False, "0": False}[text.lower()]
            elif not equals:
                raise ValueError(text)
            else:
                values[name] = kind(text)
        except (KeyError, ValueError):
            raise UsageError(f"ERROR: Couldn't interpret value {text} for flag {name}.") from None
    return values, left


def stat_line(samples_us: list[int]) -> str:
    """The tool's summary of samples."""
    count, last = len(samples_us), samples_us[-1]
    if len(set(samples_us)) == 1:
        return f"count={count} curr={last}" + ("(all same)" if count > 1 else "")
    ordered = sorted(samples_us)
    mean = sum(samples_us) / count
    deviation = int(math.sqrt(sum((sample - mean) ** 2 for sample in samples_us) / count))

    def percentile(share: int) -> int:
        return ordered[min(count - 1, count * share // 100)]

    return (
        f"count={count} first={samples_us[0]} curr={last} min={ordered[0]} max={ordered[-1]} avg={mean:.6g} "
        f"std={deviation} p5={percentile(5)} median={percentile(50)} p95={percentile(95)}"
    )


def repeat(work: Callable[[], None], runs: int, min_secs: float, max_secs: float, delay: float) -> list[int]:
    """The tool's loop: at least that many runs and at least that long, but no longer than the limit."""
    say(
        f"Running benchmark for at least {runs} iterations and at least {min_secs:g} seconds but terminate if "
        f"exceeding {max_secs:g} seconds."
    )
    samples: list[int] = []
    start = time.monotonic()
    while (len(samples) < runs or time.monotonic() - start < min_secs) and time.monotonic() - start <= max_secs:
        before = time.perf_counter_ns()
        work()
        samples.append((time.perf_counter_ns() - before) // 1000)
        if delay > 0:
            time.sleep(delay)
    say(f"{stat_line(samples)}\n" if samples else "count=0\n")
    return samples


def say(line: str) -> None:
    """As the tool's log prints it."""
    print(f"INFO: {line}", flush=True)


def peak_mb() -> float:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def runtime() -> Any:
    """The interpreter class of whichever runtime is here. Loading it is no part of the initialisation that is timed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    return Interpreter


def fill(interpreter: Any) -> None:
    """Random inputs, as the tool makes them: floats between -0.5 and 0.5, whole numbers over the type's range."""
    import numpy

    random = numpy.random.RandomState(0)
    for detail in interpreter.get_input_details():
        shape = [size if size > 0 else 1 for size in detail["shape"]]
        kind = numpy.dtype(detail["dtype"])
        if kind.kind == "f":
            value = random.uniform(-0.5, 0.5, shape).astype(kind)
        else:
            value = random.randint(0, 2 if kind.kind == "b" or kind.itemsize > 1 else 100, shape).astype(kind)
        interpreter.set_tensor(detail["index"], value)


def main(arguments: list[str]) -> int:
    """Run the benchmark; the exit code of the tool."""
    try:
        flags, left = parse_flags(arguments)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    say("STARTING!")
    if left:
        print(f"WARN: Unconsumed cmdline flags: {' '.join(left)}", flush=True)
    if not flags["graph"]:
        print("ERROR: Please specify the name of your TF Lite input file with --graph", file=sys.stderr)
        return 1
    for label, name in (
        ("Min num runs", "num_runs"),
        ("Min runs duration (seconds)", "min_secs"),
        ("Max runs duration (seconds)", "max_secs"),
        ("Min warmup runs", "warmup_runs"),
        ("Graph", "graph"),
        ("#threads used for CPU inference", "num_threads"),
    ):
        value = flags[name]
        if value != FLAGS[name] or name in ("num_threads", "graph"):
            say(f"{label}: [{value:g}]" if isinstance(value, float) else f"{label}: [{value}]")
    interpreter_class = runtime()
    base = peak_mb()
    threads = flags["num_threads"] if flags["num_threads"] > 0 else None
    try:
        size = Path(flags["graph"]).stat().st_size
        start = time.perf_counter_ns()
        interpreter = interpreter_class(model_path=flags["graph"], num_threads=threads)
        say(f"Loaded model {flags['graph']}")
        interpreter.allocate_tensors()
        fill(interpreter)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"ERROR: Failed to load the model: {error}", file=sys.stderr)
        print("ERROR: Benchmarking failed.", file=sys.stderr)
        return 1
    init_us = (time.perf_counter_ns() - start) // 1000
    init_mb = peak_mb()
    say(f"The input model file size (MB): {size / 1e6:g}")
    say(f"Initialized session in {init_us / 1000:g}ms.")
    delay, longest = flags["run_delay"], flags["max_secs"]
    warm = repeat(interpreter.invoke, flags["warmup_runs"], flags["warmup_min_secs"], longest, delay)
    samples = repeat(interpreter.invoke, flags["num_runs"], flags["min_secs"], longest, delay)
    say(
        f"Inference timings in us: Init: {init_us}, First inference: {(warm or samples or [0])[0]}, "
        f"Warmup (avg): {sum(warm) / max(1, len(warm)):g}, Inference (avg): {sum(samples) / max(1, len(samples)):g}"
    )
    say(
        "Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual "
        "memory footprint of the model at runtime. Take the information at your discretion."
    )
    say(f"Memory footprint delta from the start of the tool (MB): init={init_mb - base:g} overall={peak_mb() - base:g}")
    if flags["report_peak_memory_footprint"]:
        say(f"Overall peak memory footprint (MB) via periodic monitoring: {peak_mb():g}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
