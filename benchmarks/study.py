"""A study: recipes trained with several seeds, judged on every test image, timed side by side, kept as data.

Each line of a study is ``compress run`` with the seed and the budget that the study says, in a process of its own; the
stage cache makes a killed study go on where it was. Its latencies are a campaign of ``harness run`` on this machine,
the models turn by turn. What came of it is written to ``docs/data/results-NAME.json`` and, as tables, to
``docs/results-NAME.md``: both are committed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.report import machine
from pocketzoo.files import write_atomically

ROOT = Path(__file__).parent.parent
# 97.5% points of Student's t for n - 1 degrees of freedom.
T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
REPEATS = 5


@dataclass(frozen=True)
class Line:
    """One model of a study: its recipe, what ``--set`` changes, and the recipe it is held against (None: it is one)."""

    recipe: str
    settings: tuple[str, ...] = ()
    against: str | None = None
    says: str = ""


@dataclass(frozen=True)
class Study:
    """The lines, in the order of the table; ``budget`` is told above it, ``remarks`` below."""

    name: str
    title: str
    budget: str
    lines: tuple[Line, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    remarks: str = ""
    more_columns: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """Where the results are kept."""
        return ROOT / "docs" / "data" / f"results-{self.name}.json"

    @property
    def page(self) -> Path:
        """Where they are told."""
        return ROOT / "docs" / f"results-{self.name}.md"


def command(*argv: str, also: tuple[int, ...] = ()) -> Any:
    """Run one of this project's commands; its ``--json`` document. It must end with 0, or one of ``also``."""
    done = subprocess.run(
        [str(Path(sysconfig.get_path("scripts")) / argv[0]), *argv[1:], "--json"],
        stdout=subprocess.PIPE,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode not in (0, *also):
        raise SystemExit(f"{' '.join(argv)} ended with exit code {done.returncode}")
    return json.loads(done.stdout)


def settings_of(line: Line, seed: int) -> list[str]:
    """The arguments of ``compress run`` after the recipe's name."""
    out = []
    for text in (f"seed={seed}", *line.settings):
        out += ["--set", text]
    return out


def train(line: Line, seed: int) -> dict[str, Any]:
    """Run one line with one seed; what the finished file is like."""
    began = time.monotonic()
    found = command("compress", "run", line.recipe, *settings_of(line, seed), "--tag", f"seed-{seed}")
    model = found["models"][-1]
    judged = {entry["metric"]: entry for entry in model["accuracy"]}
    top1 = judged["top1"]
    agreement = judged.get("agreement-with-parent")
    return {
        "recipe": line.recipe,
        "seed": seed,
        "settings": list(line.settings),
        "against": line.against,
        "digest": model["digest"],
        "recipe_digest": model["recipe_digest"],
        "dataset": f"{top1['dataset']}/{top1['split']}",
        "samples": top1["samples"],
        "top1": top1["value"],
        "top1_ci95": top1["ci95"],
        "agreement": agreement["value"] if agreement else None,
        "bytes": model["size_bytes"],
        "macs": model["macs"],
        "parameters": model["parameters"],
        "notes": model["notes"],
        "seconds": round(time.monotonic() - began, 1),
    }


def timed(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Latency of every model at one thread, and its ratio to the one it is held against, by model and seed."""
    models = [f"{row['recipe']}:seed-{row['seed']}" for row in rows]
    argv = ["harness", "run", "--device", "local", "--threads", "1", "--repeats", str(REPEATS), "--retry", "2"]
    command(*argv, *(part for model in models for part in ("--model", model)))
    found = {}
    for row in rows:
        if row["against"] is None:
            continue
        theirs, ours = f"{row['against']}:seed-{row['seed']}", f"{row['recipe']}:seed-{row['seed']}"
        one = command("harness", "compare", theirs, ours, "--device", "local", "--threads", "1")[0]
        found[ours] = {
            "ratio": one["ratio"],
            "ratio_ci95": one["ratio_ci95"],
            "verdicts": sorted({one[side]["verdict"] for side in ("first", "second")}),
            "ms": one["second"]["median_ms"],
            "against_ms": one["first"]["median_ms"],
        }
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and the half width of its 95% interval by Student's t over the seeds; NaN for a single seed."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return mean, T[len(values)] * spread / math.sqrt(len(values))


def with_interval(values: Sequence[float], digits: int, sign: str = "") -> str:
    """``91.23 ± 0.15``; a single value stands alone."""
    mean, half = interval(values)
    return f"{mean:{sign}.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def table(study: Study, document: dict[str, Any]) -> str:
    """One row for each line: means over the seeds with intervals."""
    rows = document["rows"]
    out = []
    for line in study.lines:
        mine = sorted((row for row in rows if row["recipe"] == line.recipe), key=lambda row: row["seed"])
        if not mine:
            continue
        base = {row["seed"]: row for row in rows if row["recipe"] == line.against}
        pairs = [(row, base[row["seed"]]) for row in mine if row["seed"] in base]
        speeds = [document["latency"].get(f"{row['recipe']}:seed-{row['seed']}") for row in mine]
        known = [1 / speed["ratio"] for speed in speeds if speed]
        out.append(
            {
                "model": line.recipe,
                "how": line.says,
                "seeds": len(mine),
                "top-1 %": with_interval([row["top1"] for row in mine], 2),
                "points to float": with_interval([r["top1"] - b["top1"] for r, b in pairs], 2, "+") if pairs else "",
                "kB": f"{mine[0]['bytes'] / 1e3:.0f}",
                "of its size": f"{100 * mine[0]['bytes'] / pairs[0][1]['bytes']:.0f} %" if pairs else "",
                "times as fast": with_interval(known, 2) if known else "",
                **{name: make(mine[0]) for name, make in study.more_columns.items()},
            }
        )
    return tabulate(out, headers="keys", tablefmt="github", disable_numparse=True)


def run(study: Study) -> None:
    """``python -m benchmarks.results_NAME``: train what is missing, time, write data and page."""
    parser = argparse.ArgumentParser(description=study.title)
    parser.add_argument("--seeds", default=",".join(map(str, study.seeds)), help="which, separated by commas")
    parser.add_argument("--only", default="", help="only lines whose recipe begins like this")
    parser.add_argument("--no-latency", action="store_true", help="leave the latencies as they are")
    parser.add_argument("--no-training", action="store_true", help="only the latencies and the page")
    options = parser.parse_args()
    document: dict[str, Any] = {"study": study.name, "rows": [], "latency": {}}
    if study.data.is_file():
        document = json.loads(study.data.read_text(encoding="utf-8"))
    if not options.no_training:
        for seed in (int(text) for text in options.seeds.split(",")):
            for line in study.lines:
                if not line.recipe.startswith(options.only):
                    continue
                print(f"{study.name}: {line.recipe}, seed {seed}", file=sys.stderr, flush=True)
                row = train(line, seed)
                others = [old for old in document["rows"] if (old["recipe"], old["seed"]) != (line.recipe, seed)]
                document["rows"] = sorted([*others, row], key=lambda one: (one["recipe"], one["seed"]))
                document["training"] = {"machine": machine(), "budget": study.budget}
                save(study, document)
    if not options.no_latency:
        document["latency"] = timed(document["rows"])
        document["latency_machine"] = machine()
        save(study, document)


def save(study: Study, document: dict[str, Any]) -> None:
    """Data and page, each whole or as it was."""
    write_atomically(study.data, (json.dumps(document, indent=1) + "\n").encode())
    where = document["training"]["machine"]
    lines = [
        f"# {study.title}",
        "",
        f"`make results-{study.name}` made this page; every number of it, seed by seed, is in",
        f"[data/results-{study.name}.json](data/results-{study.name}.json).",
        "",
        study.budget,
        "",
        table(study, document),
        "",
        "Top-1 is that of the finished .tflite file on all test images. ± is the half width of the 95 % interval over",
        "the seeds (Student's t); differences and ratios are taken seed by seed.",
        "",
        f"Trained and judged on: {where['cpu']}, {where['cores']} cores, Python {where['python']}, {where['date']}.",
    ]
    if document["latency"]:
        timed_on = document["latency_machine"]
        others = sum(found["verdicts"] != ["valid"] for found in document["latency"].values())
        lines += [
            f"Latency: `harness run` on the same machine at one thread, {REPEATS} repeats, "
            f"{timed_on['date']}; {others} of {len(document['latency'])} comparisons had a cell that was not valid.",
        ]
    if study.remarks:
        lines += ["", study.remarks]
    write_atomically(study.page, ("\n".join(lines) + "\n").encode())
