"""What judging detectors and segmentations costs: suppression, average precision, whole evaluations, memory.

``python -m benchmarks.dense_speed [suppression] [answer] [precision] [evaluation] [memory] [--only PATTERN]``

suppression  :func:`compressors.dense.boxes.suppressed` beside the loop over pairs of boxes that everybody writes first
answer       from a 608x608 detector's raw boxes to what it found
precision    our average precision beside pycocotools on the same answers, and how far the figures are apart
evaluation   images a second of reading, preparing, asking the file and suppressing, of the twins' networks as built:
             their scores are all alike, so that suppression has as much to do as it ever gets
memory       ``compress run --untrained`` and ``harness run`` of the 769x769 and 608x608 networks, each with a home and
             processes of its own; peak of the whole tree (PSS), looked at twice a second

CPU seconds of this process count where it is compared with others, so that other work on the machine does not.
Memory is left out unless it is named: it takes minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import costed
from benchmarks.report import machine, show
from compressors.dense.boxes import Detections, Floats, detections, suppressed
from compressors.dense.precision import Truth, coco_judged, mean_precision, voc_precision
from pocketzoo.files import write_atomically

SIZE = 608.0
THRESHOLD = 0.45
MEMORY = Path(__file__).parent.parent / "docs" / "data" / "dense-memory.json"
LARGE = ("fastscnn", "deeplabv3-mobilenetv2", "mobilenetv1-yolov3", "deeplabv3-mobilenetv2-quant-post")
# Recipe -> what its data is called in the table; Fashion-MNIST is a package of the system.
EVALUATED = ("mobilenetv1-yolov3-shapes", "fastscnn-fashion", "deeplabv3-mobilenetv2-fashion")


def seconds(work: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Median CPU seconds of a call, and its answer."""
    taken, answer = [], None
    for _ in range(rounds):
        began = time.process_time()
        answer = work()
        taken.append(time.process_time() - began)
    return statistics.median(taken), answer


def crowd(count: int, things: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Candidates as a detector gives them: many around each of ``things``, none twice the same."""
    random = np.random.default_rng(seed)
    centres = random.uniform(40, SIZE - 40, (things, 2))[random.integers(things, size=count)]
    centres = centres + random.normal(0, 6, (count, 2))
    sides = random.uniform(20, 120, (things, 2))[random.integers(things, size=count)] * random.uniform(
        0.8, 1.25, (count, 2)
    )
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)
    return np.clip(boxes, 0, SIZE), random.random(count).astype(np.float32)


def plain_loop(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    """Suppression as textbooks have it: each box against each that stayed."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda one: -scores[one]):
        x1, y1, x2, y2 = boxes[index]
        for other in kept:
            a1, b1, a2, b2 = boxes[other]
            shared = max(0.0, min(x2, a2) - max(x1, a1)) * max(0.0, min(y2, b2) - max(y1, b1))
            both = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - shared
            if both > 0 and shared / both > threshold:
                break
        else:
            kept.append(index)
    return kept


def suppression(rounds: int) -> None:
    """Boxes a second of both."""
    rows = []
    for count, things in ((1000, 20), (1000, 200), (10_000, 20), (10_000, 200)):
        boxes, scores = crowd(count, things)
        ours, mine = seconds(partial(suppressed, boxes, scores, THRESHOLD), rounds)
        theirs, plain = seconds(partial(plain_loop, boxes.tolist(), scores.tolist(), THRESHOLD), 3)
        # Rounding may decide a pair that overlaps by just the threshold.
        differ = len(set(mine.tolist()) ^ set(plain))
        rows.append(
            {
                "candidates": count, "things": things, "stay": len(mine), "stay in one only": differ,
                "boxes/s": round(count / ours), "plain loop, boxes/s": round(count / theirs),
                "times as fast": theirs / ours,
            }
        )  # fmt: skip
    show("dense-suppression", rows, f"Median of {rounds} rounds, CPU seconds, one thread; threshold {THRESHOLD}.")


def answers(images: int, each: int, classes: int) -> tuple[list[Detections], list[Truth]]:
    """Made answers of a middling detector: most true boxes found a little off, the rest anywhere."""
    random = np.random.default_rng(0)
    found, truths = [], []
    for _ in range(images):
        count = int(random.integers(1, 12))
        corner = random.uniform(0, SIZE - 130, (count, 2))
        boxes = np.concatenate([corner, corner + random.uniform(20, 130, (count, 2))], 1).astype(np.float32)
        labels = random.integers(0, classes, count)
        truths.append(Truth(boxes, labels, random.random(count) < 0.05))
        near = random.integers(0, count, each // 2)
        off = boxes[near] + random.normal(0, 8, (len(near), 4)).astype(np.float32)
        there = random.uniform(0, SIZE - 130, (each - len(near), 2))
        anywhere = np.concatenate([there, there + random.uniform(20, 130, there.shape)], 1).astype(np.float32)
        told = np.concatenate([off, anywhere])
        told = np.clip(np.concatenate([np.minimum(told[:, :2], told[:, 2:] - 1), told[:, 2:]], 1), 0, SIZE)
        scores = np.concatenate([random.beta(3, 2, len(near)), random.beta(2, 4, len(there))]).astype(np.float32)
        order = np.argsort(-scores)
        named = np.concatenate([labels[near], random.integers(0, classes, len(there))])
        found.append(Detections(told[order].astype(np.float32), named[order], scores[order]))
    return found, truths


def of_pycocotools(found: list[Detections], truths: list[Truth], classes: int) -> float:
    """AP50 in percent: matching and summing by COCO's own code."""
    with contextlib.redirect_stdout(io.StringIO()):
        judged = coco_judged(found, truths, classes)
        judged.accumulate()
    return float(100 * judged.eval["precision"][0, :, :, 0, -1].mean())


def precision(rounds: int) -> None:
    """Average precision of the same answers by both, at an overlap of one half and over all ten."""
    from compressors.dense.precision import coco_precision
    from compressors.dense.ranking import ranked_coco, ranked_voc

    rows = []
    for images, each, classes in ((500, 20, 6), (500, 100, 20)):
        found, truths = answers(images, each, classes)
        boxes = sum(len(one.labels) for one in found)

        half, each_class = seconds(partial(voc_precision, found, truths, classes), rounds)
        coco, official = seconds(partial(of_pycocotools, found, truths, classes), rounds)
        voc = ranked_voc(found, truths, classes)
        weights = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images))
        draw, _ = seconds(partial(voc.mean, "all", weights), rounds)
        ten = coco_precision(found, truths, classes)["AP"]
        again = ranked_coco(found, truths, classes).mean("101")
        rows.append(
            {
                "images": images, "answers": boxes, "classes": classes,
                "ours at one half, boxes/s": round(boxes / half), "pycocotools, boxes/s": round(boxes / coco),
                "one draw of the bootstrap ms": 1e3 * draw,
                "mAP-voc10": mean_precision(each_class), "AP50 of pycocotools": official,
                "AP-coco apart": abs(ten - again),
            }
        )  # fmt: skip
    note = (
        "CPU seconds, one thread. pycocotools matches at ten overlaps and four ranges of area at once, ours at one; "
        "the two figures count recall at 101 points and under the whole curve. AP-coco apart: our sums beside its own."
    )
    show("dense-precision", rows, note)


def evaluation(only: str) -> None:
    """Whole evaluations, and the share of each part."""
    import torch

    from compressors.data.dense_sources import open_scenes
    from compressors.pipeline import compress
    from compressors.progress import Silent
    from compressors.recipe import load
    from compressors.tasks import task_of
    from compressors.tasks.detection import Detection
    from compressors.tasks.segmentation import Segmentation

    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["POCKETZOO_HOME"] = home
        for name in EVALUATED:
            if not fnmatchcase(name, only):
                continue
            loaded = load(name, ("weights=as-built", "data.scenes.evaluation=40"))
            (product,) = compress(loaded, Silent())
            recipe, training = loaded.recipe, loaded.recipe.data.training
            assert training is not None
            folder = Path(training.folder) if training.folder else None
            images = open_scenes(
                training.kind, folder, "test", None, classes=None, scenes=recipe.data.scenes, key="data.evaluation"
            )
            count = len(images.labels)
            read, _ = seconds(partial(list, map(images.scene, range(count))), 1)
            how, task = recipe.preprocessing.record(), task_of(recipe)
            assert isinstance(task, Detection | Segmentation)
            # Scenes are kept once they are drawn: what is left is preparing, asking and judging.
            whole, judged = seconds(partial(task.answers, product.file, images, how, lambda: None), 1)
            figures, _ = seconds(partial(judged.accuracies, dataset="d", split="s", measured_on="0" * 64), 1)
            rows.append(
                {
                    "network": name, "input": how.crop, "images/s": count / whole,
                    "drawing a scene ms": 1e3 * read / count, "figures and intervals s": figures,
                }
            )  # fmt: skip
    show("dense-evaluation", rows, "40 images, CPU seconds, one thread; networks as built.")


def one_answer(rounds: int) -> None:
    """From a 608x608 detector's raw boxes to what it found, when nothing and when everything is a candidate."""
    rows = []
    random = np.random.default_rng(0)
    count = 3 * (19**2 + 38**2 + 76**2)
    for what, score in (("untrained: every box", 0.5), ("trained: 40 boxes", 0.001)):
        answer = np.concatenate(
            [random.uniform(0, SIZE, (count, 2)), random.uniform(10, 200, (count, 2)), np.full((count, 81), score)], 1
        ).astype(np.float32)
        answer[:40, 4:] = 0.7
        taken, found = seconds(partial(detections, answer, size=(SIZE, SIZE)), rounds)
        rows.append({"answer": what, "boxes": count, "classes": 80, "ms": 1e3 * taken, "found": len(found.labels)})
    show("dense-answer", rows, f"Median of {rounds} rounds, CPU seconds, one thread.")


def memory(only: str) -> None:
    """Peak memory of exports and runs; what is kept in the data is not measured again."""
    kept: dict[str, Any] = json.loads(MEMORY.read_text()) if MEMORY.is_file() else {"schema": 1, "rows": []}
    for name in LARGE:
        if not fnmatchcase(name, only) or any(row["network"] == name for row in kept["rows"]):
            continue
        with tempfile.TemporaryDirectory() as home:
            environment = {**os.environ, "POCKETZOO_HOME": home}
            argv = [sys.executable, "-m", "compressors.cli", "run", name, "--untrained", "--json"]
            text, export = costed(argv, environment=environment)
            model = json.loads(text)["models"][-1]
            argv = [sys.executable, "-c", "from harness.cli import main; main()", "run", "--device", "local", "--json"]
            argv += ["--model", f"{name}:untrained", "--threads", "1", "--warmup", "1", "--runs", "3", "--repeats", "1"]
            _, run = costed([*argv, "--retry", "0"], environment=environment)
        kept["rows"].append(
            {
                "network": name, "bytes": model["size_bytes"],
                "export_cpu_s": round(export.cpu_s, 1), "export_peak_mb": round(export.peak_mb),
                "run_peak_mb": round(run.peak_mb), "date": machine()["date"],
            }
        )  # fmt: skip
        write_atomically(MEMORY, (json.dumps({**kept, "machine": machine()}, indent=1) + "\n").encode())
    show("dense-memory", kept["rows"], "Whole process trees; harness and agent together for the run.")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "what", nargs="*", help="suppression, answer, precision, evaluation, memory; all but memory by default"
    )
    parser.add_argument("--only", default="*", metavar="PATTERN")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    known: dict[str, Callable[[], None]] = {
        "suppression": partial(suppression, options.rounds),
        "answer": partial(one_answer, options.rounds),
        "precision": partial(precision, max(1, options.rounds // 2)),
        "evaluation": partial(evaluation, options.only),
        "memory": partial(memory, options.only),
    }
    chosen = options.what or [name for name in known if name != "memory"]
    for name in chosen:
        if name not in known:
            parser.error(f"no {name}; there are {', '.join(known)}")
        known[name]()


if __name__ == "__main__":
    main()
