"""The small twins of detectors and segmentations, trained in full: how good, how long, how much memory.

``python -m benchmarks.dense_twins [--only PATTERN] [--seeds 0] [--aerial FOLDER] [--photos FOLDER]``

Each line is ``compress run`` with its seed in a process of its own, and beside it the same network with the weights it
was built with, judged on the same images. What is in docs/data/dense-twins.json is not run again, so a killed campaign
goes on where it was; ``--table`` prints what is there. State goes to $POCKETZOO_HOME: give the campaign one of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.processes import Cost, costed
from benchmarks.report import machine
from pocketzoo.files import write_atomically

DATA = Path(__file__).parent.parent / "docs" / "data" / "dense-twins.json"
METRIC = {"object-detection": "mAP-voc10", "image-segmentation": "mIoU"}


@dataclass(frozen=True)
class Twin:
    """A run: a recipe, what ``--set`` changes (folders are named in braces), and what the table calls it."""

    recipe: str
    settings: tuple[str, ...] = ()
    called: str = ""

    @property
    def changes(self) -> list[str]:
        """What is told of the settings: folders are of this machine, and the artifact says what was in them."""
        return [text for text in self.settings if "{" not in text]

    @property
    def name(self) -> str:
        """In the table and in the data."""
        return self.called or self.recipe


AERIAL = ("data.training.folder={aerial}",)
PHOTOS = ("data.scenes.backgrounds={photos}",)
TWINS = tuple(
    Twin(f"{recipe}{after}", (*settings, *shorter), f"{called or recipe}{after}")
    for recipe, settings, shorter, called in (
        ("mobilenetv1-yolov3-aerial", AERIAL, (), ""),
        ("fastscnn-fashion", (), (), ""),
        ("mobilenetv1-yolov3-shapes", (), (), ""),
        ("deeplabv3-mobilenetv2-fashion", (), (), ""),
        ("mobilenetv1-yolov3-shapes", PHOTOS, (), "mobilenetv1-yolov3-shapes on photos"),
    )
    for after in ("", "-quant-post")
)


def ran(twin: Twin, seed: int, folders: dict[str, str], built: bool = False) -> tuple[dict[str, Any], Cost]:
    """``compress run``: its document's last model, and what the process cost; ``built``: without the training."""
    tag = f"{'as-built' if built else 'seed'}-{seed}"
    argv = [sys.executable, "-m", "compressors.cli", "run", twin.recipe, "--json", "--tag", tag]
    for text in (f"seed={seed}", *twin.settings, *(("weights=as-built",) if built else ())):
        argv += ["--set", text.format(**folders)]
    out, cost = costed(argv)
    found: dict[str, Any] = json.loads(out)["models"][-1]
    return found, cost


def figure(model: dict[str, Any], task: str) -> dict[str, Any]:
    """The accuracy that the table tells, with its interval."""
    one = next(each for each in model["accuracy"] if each["metric"] == METRIC[task])
    return {key: one[key] for key in ("metric", "value", "ci95", "samples", "dataset", "split")}


def row(twin: Twin, seed: int, folders: dict[str, str]) -> dict[str, Any]:
    """One line: trained, and as built."""
    from compressors.recipe import load

    recipe = load(twin.recipe, [text.format(**folders) for text in twin.settings]).recipe
    trained, cost = ran(twin, seed, folders)
    float_twin = Twin(twin.recipe.removesuffix("-quant-post"), twin.settings)
    built, _ = ran(float_twin, seed, folders, built=True)
    assert recipe.train is not None
    return {
        "name": twin.name,
        "recipe": twin.recipe,
        "seed": seed,
        "settings": twin.changes,
        "epochs": recipe.train.epochs,
        "batch": recipe.train.batch,
        "accuracy": figure(trained, recipe.task),
        "untrained": figure(built, recipe.task),
        "bytes": trained["size_bytes"],
        "macs": trained["macs"],
        "parameters": trained["parameters"],
        "notes": trained["notes"],
        "wall_s": round(cost.wall_s, 1),
        "cpu_s": round(cost.cpu_s, 1),
        "peak_mb": round(cost.peak_mb),
        "date": machine()["date"],
    }


def table(document: dict[str, Any]) -> str:
    """As docs/benchmarks.md has it."""
    lines = []
    for one in document["rows"]:
        told, built = one["accuracy"], one["untrained"]
        low, high = told["ci95"]
        lines.append(
            [
                one["name"] + (f" ({', '.join(one['settings'])})" if one["settings"] else ""),
                one["seed"],
                f"{told['metric']} {told['value']:.1f} [{low:.1f}, {high:.1f}]",
                f"{built['value']:.1f}",
                told["samples"],
                f"{one['bytes'] / 1e3:.0f}",
                f"{one['cpu_s'] / 60:.1f}",
                f"{one['wall_s'] / 60:.1f}",
                one["peak_mb"],
            ]
        )
    headers = ["run", "seed", "accuracy %", "untrained", "images", "kB", "CPU min", "wall min", "peak MB"]
    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def kept() -> dict[str, Any]:
    """What was measured so far."""
    if not DATA.is_file():
        return {"schema": 1, "machine": {}, "rows": []}
    found: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Run what is missing, keep it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="*", metavar="PATTERN")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--aerial", default="build/aerial", metavar="FOLDER", help="what `make aerial` made")
    parser.add_argument("--photos", default=".venv/demo-data/photos-calibration", metavar="FOLDER")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="for every line, told beside it"
    )
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    folders = {"aerial": str(Path(options.aerial).absolute()), "photos": str(Path(options.photos).absolute())}
    for seed in (int(text) for text in options.seeds.split(",")):
        for listed in TWINS:
            if options.table or not fnmatchcase(listed.name, options.only):
                continue
            twin = Twin(listed.recipe, (*listed.settings, *options.set), listed.called)
            done = [(one["name"], one["seed"], one["settings"]) for one in kept()["rows"]]
            if (twin.name, seed, twin.changes) in done:
                continue
            print(f"{twin.name}, seed {seed}, {time.strftime('%H:%M')}", file=sys.stderr, flush=True)
            made = row(twin, seed, folders)
            # Read again: another campaign may have written meanwhile.
            document = kept()
            order = {one.name: number for number, one in enumerate(TWINS)}
            rows = sorted([*document["rows"], made], key=lambda one: (order[one["name"]], one["seed"]))
            document |= {"machine": {**machine(), "threads": os.environ.get("OMP_NUM_THREADS", "all")}, "rows": rows}
            write_atomically(DATA, (json.dumps(document, indent=1) + "\n").encode())
    print(table(kept()))


if __name__ == "__main__":
    main()
