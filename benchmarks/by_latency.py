"""A network searched for by measured latency on this machine, against a uniform network of the same latency.

``python -m benchmarks.by_latency [--model mobilenetv1-fashion] [--width 1.0] [--target 60%] [--seeds 0,1,2]``

For each seed: `compress search` (AMC's agent with milliseconds as its budget), both networks fine-tuned alike by
`compress run`, both measured side by side with the unpruned one by `harness run`; top-1 of both deployed files on all
10,000 test images. Wanted: within 5% of the target; accuracy at least the uniform network's. Everything that is done
already is taken from the state folder: a benchmark that was killed goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.report import machine, show
from benchmarks.study import command, with_interval
from pocketzoo.files import write_atomically
from pocketzoo.home import home

IMAGES, EPOCHS, FINETUNE, JUDGED = 16_000, 3, 2, 600


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="mobilenetv1-fashion")
    parser.add_argument("--width", default="1.0", help="a tenth of a millisecond measures badly on a shared machine")
    parser.add_argument("--target", default="60%")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--episodes", type=int, default=120)
    parser.add_argument("--out", type=Path, help="keep the rows here, those of other seeds beside them")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if options.out and options.out.is_file():
        rows = json.loads(options.out.read_text(encoding="utf-8"))["rows"]
    for seed in (int(text) for text in options.seeds.split(",")):
        row = one(options.model, options.width, options.target, seed, options.episodes)
        rows = sorted([*(old for old in rows if old["seed"] != seed), row], key=lambda each: int(each["seed"]))
        if options.out:
            document = {
                "benchmark": "by_latency",
                "machine": machine(),
                "model": options.model,
                "width": options.width,
                "rows": rows,
            }
            write_atomically(options.out, (json.dumps(document, indent=1) + "\n").encode())
    show("by_latency", [told(row) for row in rows], summary(rows))


def one(model: str, width: str, target: str, seed: int, episodes: int) -> dict[str, Any]:
    """Search, fine-tune, measure."""
    base = (f"seed={seed}", f"data.training.limit={IMAGES}", f"train.epochs={EPOCHS}", f"model.options.width={width}")
    settings = [part for text in base for part in ("--set", text)]
    folder = home() / "by-latency"
    folder.mkdir(parents=True, exist_ok=True)
    found = folder / f"{model}-{width}x-{target.rstrip('%')}-{seed}.yaml"
    beside = found.with_name(f"{found.stem}-uniform.yaml")
    asked = ["--target", target] if target.endswith("%") else ["--target-latency-ms", target]
    report = found.with_suffix(".report.json")
    if not report.is_file():
        print(f"by_latency: search, seed {seed}", file=sys.stderr, flush=True)
        command(
            "compress", "search", "--device", "local", "--model", model, *asked, "--protocol", "amc",
            "--episodes", str(episodes), "--images", str(JUDGED), "--batches", "5", "--seed", str(seed),
            "--finetune-epochs", str(FINETUNE), "--out", str(found), *settings, also=(1,),
        )  # fmt: skip
    said = json.loads(report.read_text(encoding="utf-8"))
    row: dict[str, Any] = {"seed": seed, "target_ms": said["target"], "measurements": said["measurements"]}
    for name, recipe in (("found", found), ("uniform", beside)):
        trained = command("compress", "run", str(recipe), *settings, "--tag", f"seed-{seed}")["models"][-1]
        judged = {entry["metric"]: entry for entry in trained["accuracy"]}["top1"]
        row[name] = {
            "recipe": recipe.name, "outcome": said[name]["outcome"], "rounds": said[name]["rounds"],
            "macs": trained["macs"], "top1": judged["value"], "top1_ci95": judged["ci95"], "sha256": trained["digest"],
        }  # fmt: skip
    references = [f"{path.stem}:seed-{seed}" for path in (found, beside)]
    print(f"by_latency: measure, seed {seed}", file=sys.stderr, flush=True)
    cells = command(
        "harness", "run", "--device", "local", "--threads", "1", "--repeats", "10", "--retry", "3",
        *(part for reference in references for part in ("--model", reference)),
    )  # fmt: skip
    for name, reference in zip(("found", "uniform"), references, strict=True):
        cell = next(cell for cell in cells if reference.partition(":")[0] == cell["model"].partition(":")[0])
        row[name] |= {key: cell[key] for key in ("centre_ms", "ci95_ms", "verdict")}
    return row


def told(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table."""
    out: dict[str, Any] = {"seed": row["seed"], "target ms": row["target_ms"]}
    for name in ("found", "uniform"):
        it = row[name]
        out[f"{name} ms"] = f"{it['centre_ms']:.4f} ({it['ci95_ms'][0]:.4f} to {it['ci95_ms'][1]:.4f}) {it['verdict']}"
        out[f"{name} off"] = f"{100 * (it['centre_ms'] / row['target_ms'] - 1):+.1f} %"
        out[f"{name} top-1 %"] = f"{it['top1']:.2f} ({it['top1_ci95'][0]:.1f} to {it['top1_ci95'][1]:.1f})"
        out[f"{name} M MACs"] = f"{it['macs'] / 1e6:.2f}"
    return out


def summary(rows: list[dict[str, Any]]) -> str:
    """The difference in accuracy, seed by seed."""
    gained = [row["found"]["top1"] - row["uniform"]["top1"] for row in rows]
    return (
        f"Found minus uniform: {with_interval(gained, 2, '+')} points of top-1 over {len(rows)} seeds "
        "(95% interval by Student's t); of one file, Wilson's over 10,000 images."
    )


if __name__ == "__main__":
    main()
