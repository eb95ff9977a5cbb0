"""Does our harness measure what the runtime's own benchmark measures? Same file, same threads, turn by turn.

``python -m benchmarks.fidelity [--rounds N] [--threads 1,2] [--foreign DIR | MODEL.tflite ...]``

Ours is the agent that ``harness run`` starts; theirs is ``python -m ai_edge_litert.tools.benchmark_litert_model``.
Each round runs both once, in alternating order, each as a process of its own; the figure is the median over rounds of
ours divided by theirs, with a 95% bootstrap interval over the rounds. Without MODEL the demo's two models are taken
from the local zoo; ``--foreign`` takes four that others made (:mod:`benchmarks.foreign`), kept in DIR.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.foreign import fetch
from benchmarks.report import show
from harness.runners.python import AGENT
from zoo.store import Store

WARMUP, RUNS = 100, 200


def ours(model: Path, threads: int) -> float:
    """Median of one repeat in ms, as the harness's agent measures it."""
    argv = [sys.executable, str(AGENT), "--model", str(model), "--threads", str(threads)]
    argv += ["--warmup", str(WARMUP), "--runs", str(RUNS)]
    done = subprocess.run(argv, check=True, capture_output=True)
    return float(np.median(json.loads(done.stdout.splitlines()[-1])["samples_ns"])) / 1e6


def theirs(model: Path, threads: int) -> float:
    """Median of one run of the official tool in ms."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        argv = [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model", f"--model={model}"]
        argv += [f"--num_threads={threads}", f"--warmup_runs={WARMUP}", f"--num_runs={RUNS}", f"--result_json={result}"]
        subprocess.run(argv, check=True, capture_output=True)
        return float(json.loads(result.read_text())["latency"]["median_ms"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--foreign", type=Path, metavar="DIR")
    parser.add_argument("models", nargs="*", type=Path)
    options = parser.parse_args()
    store = Store()
    given = [*options.models, *(fetch(options.foreign) if options.foreign else [])]
    models = {path.stem: path for path in given} or {
        name: store.file(store.get(name).artifact.files[0]) for name in ("mobilenetv2", "mobilenetv2-quant")
    }
    rows = []
    for name, path in models.items():
        for threads in (int(part) for part in options.threads.split(",")):
            pairs = []
            for round_ in range(options.rounds):
                order = (ours, theirs) if round_ % 2 == 0 else (theirs, ours)
                found = {measure: measure(path, threads) for measure in order}
                pairs.append((found[ours], found[theirs]))
            ratios = np.array([a / b for a, b in pairs])
            drawn = np.random.default_rng(0).choice(ratios, (5000, len(ratios)))
            low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
            rows.append(
                {
                    "model": name,
                    "threads": threads,
                    "ours ms": float(np.median([a for a, _ in pairs])),
                    "theirs ms": float(np.median([b for _, b in pairs])),
                    "ratio": float(np.median(ratios)),
                    "95% low": float(low),
                    "95% high": float(high),
                }
            )
    show("fidelity", rows, f"{options.rounds} rounds, {WARMUP} warm-up and {RUNS} runs in each process; seed 0.")


if __name__ == "__main__":
    main()
