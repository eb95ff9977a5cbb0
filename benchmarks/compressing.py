"""What the tool adds to the libraries it is made of: ``python -m benchmarks.compressing [convert|train|memory]``.

convert  MobileNetV1 224 to .tflite and to int8: our functions, and litert-torch and ai-edge-quantizer by hand on the
         same network and the same calibration inputs; in turns, CPU seconds of the process.
train    our training loop, and a bare torch loop on the same network, data, batches and augmentation; in turns.
memory   peak resident memory of judging a file on 1,000 and on 10,000 images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import show

FASHION = Path("/usr/share/datasets/fashion-mnist")
SAMPLES = 32  # calibration inputs
CLASSES = 1000


def once(what: Callable[[], object]) -> tuple[float, float]:
    """(wall, CPU) seconds of a call; CPU seconds of all its threads tell on a busy machine, too."""
    wall, cpu = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - wall, time.process_time() - cpu


def compared(name: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> dict[str, Any]:
    """Both in turns, the order changing with each round; a first call of each is not counted."""
    ours(), theirs()
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "by hand": []}
    for number in range(rounds):
        pairs = [("ours", ours), ("by hand", theirs)]
        for key, call in pairs if number % 2 == 0 else reversed(pairs):
            found[key].append(once(call))
    wall, cpu = (
        [mine[i] / other[i] for mine, other in zip(found["ours"], found["by hand"], strict=True)] for i in (0, 1)
    )
    return {
        "what": name,
        "rounds": rounds,
        "ours CPU s": median(cpu_s for _, cpu_s in found["ours"]),
        "by hand CPU s": median(cpu_s for _, cpu_s in found["by hand"]),
        "CPU ratio": median(cpu),
        "lowest": min(cpu),
        "highest": max(cpu),
        "wall ratio": median(wall),
    }


def convert(rounds: int) -> None:
    """Conversion and quantization of MobileNetV1 224."""
    import litert_torch
    import numpy as np
    import torch
    from ai_edge_quantizer import quantizer, recipe

    from compressors import architectures
    from compressors.export import export_tflite
    from compressors.quiet import quiet
    from compressors.sections import Quantize
    from compressors.steps.quantize import quantize

    torch.manual_seed(0)
    model = architectures.build("mobilenetv1", classes=CLASSES).eval()
    random = np.random.default_rng(0)
    samples = [random.standard_normal((1, 224, 224, 3)).astype(np.float32) for _ in range(SAMPLES)]
    step = Quantize(kind="quantize")
    with tempfile.TemporaryDirectory() as folder:
        file, ours, theirs = (Path(folder, name) for name in ("float.tflite", "ours.tflite", "theirs.tflite"))

        def convert_by_hand() -> None:
            wrapped = litert_torch.to_channel_last_io(model, args=[0]).eval()
            litert_torch.convert(wrapped, (torch.zeros(1, 224, 224, 3),)).export(str(theirs))

        def quantize_by_hand() -> None:
            engine = quantizer.Quantizer(str(file), recipe.static_wi8_ai8())
            ranges = engine.calibrate({"serving_default": [{"args_0": sample} for sample in samples]})
            theirs.write_bytes(engine.quantize(ranges).quantized_model)

        def silent(call: Callable[[], object]) -> Callable[[], None]:
            def run() -> None:
                with quiet():
                    call()

            return run

        rows = [
            compared("convert", lambda: export_tflite(model, 224, file), silent(convert_by_hand), rounds),
            compared(
                f"quantize, {SAMPLES} samples", lambda: quantize(file, ours, step, samples), silent(quantize_by_hand),
                rounds,
            ),
        ]  # fmt: skip
    both = {key: sum(row[key] for row in rows) for key in ("ours CPU s", "by hand CPU s")}
    rows.append({"what": "both", **both, "CPU ratio": both["ours CPU s"] / both["by hand CPU s"]})
    note = "wanted: 1.1; ours also checks the file: operators, dtypes, scales, size, that the runtime takes it"
    show("conversion and quantization", [{**dict.fromkeys(rows[0]), **row} for row in rows], note)


def train(rounds: int, images: int) -> None:
    """Training throughput on Fashion-MNIST: MobileNetV1 0.25 and ResNet-20 of half its width, batch 64."""
    import numpy as np
    import torch

    from compressors import architectures
    from compressors.data.batches import Augmentation, Loader
    from compressors.data.dataset import drawn, hold_out
    from compressors.data.sources import open_dataset
    from compressors.progress import Silent
    from compressors.train.loop import Task
    from compressors.train.loop import train as run
    from compressors.train_section import Train
    from zoo.artifact import Preprocessing

    how = Preprocessing(resize=None, crop=28, mean=(0.286,), std=(0.353,))
    some = drawn(open_dataset("fashion-mnist", FASHION, "train"), images, 0)
    training, held_out = hold_out(some, 0.1, 0)
    augmentation = Augmentation("crop-flip", padding=2)
    plan = Train(epochs=1, batch=64, lr=0.05, weight_decay=1e-4)
    rows = []
    for name, options in (
        ("mobilenetv1", {"classes": 10, "width": 0.25, "in_channels": 1, "small_input": True}),
        ("resnet20-cifar", {"classes": 10, "width": 8, "in_channels": 1}),
    ):
        torch.manual_seed(0)
        network = architectures.build(name, **options)
        state = {key: value.clone() for key, value in network.state_dict().items()}

        def ours(network: Any = network, state: Any = state) -> None:
            network.load_state_dict(state)
            with tempfile.TemporaryDirectory() as folder:
                task = Task("t", training, held_out, how, plan, seed=0, augmentation=augmentation)
                run(network, task, Path(folder), Silent())

        def by_hand(network: Any = network, state: Any = state) -> None:
            """The shortest loop: arrays in memory, torch's own calls; judged once at the end like ours."""
            network.load_state_dict(state)
            network.train()
            optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
            loader = Loader(training, how, 64, seed=0, augmentation=augmentation, shuffle=True, drop_last=True)
            for batch in loader.epoch(0):
                inputs = torch.from_numpy(batch.images).reshape(-1, 1, 28, 28)
                loss = torch.nn.functional.cross_entropy(network(inputs), torch.from_numpy(batch.labels))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            network.eval()
            with torch.no_grad():
                for batch in Loader(held_out, how, 256).epoch(0):
                    np.argmax(network(torch.from_numpy(batch.images).reshape(-1, 1, 28, 28)).numpy(), 1)

        rows.append(compared(f"train {name}", ours, by_hand, rounds))
    note = f"{len(training.labels)} images, batch 64, one epoch, judged on {len(held_out.labels)}; wanted: 1.1"
    show("training throughput", rows, note)


MEMORY = """
import json, resource, sys
from pathlib import Path
from compressors.data.dataset import drawn
from compressors.data.sources import open_dataset
from compressors.evaluate import answer
from zoo.artifact import Preprocessing
images = drawn(open_dataset("fashion-mnist", Path(sys.argv[1]), "test"), int(sys.argv[3]), 0)
found = answer(Path(sys.argv[2]), images, Preprocessing(resize=None, crop=28, mean=(0.286,), std=(0.353,)),
               processes=int(sys.argv[4]))
# Not ru_maxrss of this process: it begins with what the process that started it had.
own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
peak = [own / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]
print(json.dumps({"images": len(found.labels), "peak MB": peak[0], "peak of a worker MB": peak[1]}))
"""


def memory(rounds: int) -> None:
    """Peak memory of an evaluation, each in a process of its own."""
    import torch

    from compressors import architectures
    from compressors.export import export_tflite

    torch.manual_seed(0)
    model = architectures.build("mobilenetv1", classes=10, width=0.25, in_channels=1, small_input=True).eval()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "float.tflite")
        export_tflite(model, 28, file, channels=1)
        for processes in (1, 2):
            for images in (1000, 10_000):
                argv = [sys.executable, "-c", MEMORY, str(FASHION), str(file), str(images), str(processes)]
                environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
                runs = []
                for _ in range(rounds):
                    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
                    runs.append(json.loads(done.stdout.splitlines()[-1]))
                peaks = {key: max(run[key] for run in runs) for key in ("peak MB", "peak of a worker MB")}
                rows.append({"processes": processes, "images": images, "rounds": rounds, **peaks})
                if processes == 1:
                    del rows[-1]["peak of a worker MB"]
    columns = {key: None for row in rows for key in row}
    show("memory of an evaluation", [{**columns, **row} for row in rows], "wanted: independent of the number of images")


def main() -> int:
    """Run what is named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="*", metavar="convert|train|memory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=3000, help="of Fashion-MNIST to train on")
    options = parser.parse_args()
    chosen = options.what or ("convert", "train", "memory")
    if "convert" in chosen:
        convert(options.rounds)
    if "train" in chosen:
        train(options.rounds, options.images)
    if "memory" in chosen:
        memory(options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
