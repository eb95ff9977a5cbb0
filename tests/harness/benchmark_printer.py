"""The tool's figures printed as each generation prints them: what the parser must read back."""

from __future__ import annotations

from zoo.measurement import Reported

GENERATIONS = ("2018", "2019", "2020", "info", "percentiles")


def stat_line(runs: Reported, *, percentiles: bool) -> str:
    """As ``Stat::OutputToStream`` writes it: whole microseconds, the mean with six digits."""

    def us(value: int | None) -> str:
        assert value is not None
        return str(value // 1000)

    if runs.min_ns == runs.max_ns:
        text = f"count={runs.count} curr={us(runs.max_ns)}" + ("(all same)" if runs.count > 1 else "")
    else:
        text = f"count={runs.count} first={us(runs.first_ns)} curr={us(runs.max_ns)} min={us(runs.min_ns)} "
        text += f"max={us(runs.max_ns)} avg={runs.mean_ns / 1e3:.6g} std={us(runs.std_ns)}"
    if percentiles:
        text += f" p5={us(runs.p5_ns)} median={us(runs.median_ns)} p95={us(runs.p95_ns)}"
    return text


def printed(generation: str, warmup: Reported, runs: Reported, init_us: int) -> str:
    """A whole output."""
    prefix = {"2018": "native : benchmark_tflite_model.cc:440 ", "info": "INFO: ", "percentiles": "INFO: "}
    head = prefix.get(generation, "")
    lines = [f"{head}STARTING!", f"{head}Initialized session in {init_us / 1000:g}ms."]
    for stats in (warmup, runs):
        lines += [f"{head}Running benchmark", head + stat_line(stats, percentiles=generation == "percentiles"), ""]
    means = [f"{stats.mean_ns / 1e3:.6g}" for stats in (warmup, runs)]
    if generation in ("2018", "2019"):
        lines.append(
            f"{head}Average inference timings in us: Warmup: {means[0]}, Init: {init_us}, no stats: {means[1]}"
        )
    else:
        first = (warmup.first_ns or 0) // 1000
        lines.append(
            f"{head}Inference timings in us: Init: {init_us}, First inference: {first}, Warmup (avg): {means[0]}, "
            f"Inference (avg): {means[1]}"
        )
    return "\n".join(lines) + "\n"


def printed_by_litert(warmup: Reported, runs: Reported, init_ms: float) -> str:
    """The block of LiteRT's tool, with two decimals of a millisecond."""
    where = "INFO: [benchmark_litert_model.h:92] "
    first = (warmup.first_ns or 0) / 1e6
    return "\n".join(
        [
            "========== BENCHMARK RESULTS ==========",
            f"{where}Model initialization: {init_ms:.2f} ms",
            f"{where}Warmup (first):       {first:.2f} ms",
            f"{where}Warmup (avg):         {warmup.mean_ns / 1e6:.2f} ms ({warmup.count} runs)",
            f"{where}Inference (avg):      {runs.mean_ns / 1e6:.2f} ms ({runs.count} runs)",
            f"{where}Inference (min):      {runs.min_ns / 1e6:.2f} ms",
            f"{where}Inference (max):      {runs.max_ns / 1e6:.2f} ms",
            f"{where}Inference (std):      {runs.std_ns / 1e6:.2f}",
            "======================================",
        ]
    )
