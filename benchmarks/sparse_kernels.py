"""Does storing zeros as sparse tensors make anything faster? MobileNetV1 at 224 x 224, both ways, on a device.

``python -m benchmarks.sparse_kernels [--device local] [--metric latency] [--sparsity 75,90] [--size 224]``

The network's weights are random and its smallest ones zero: a kernel's work depends on where zeros are, not on what
was learnt. ``--device lab:snapdragon855 --metric instructions`` counts what an ARM phone's kernels execute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import machine

SPARSITIES = "75,90"


def made(folder: Path, percent: int, size: int) -> tuple[Path, Path]:
    """The files of one sparsity: zeros stored like other weights, and as sparse tensors."""
    import torch

    from compressors import architectures
    from compressors.export import export_tflite
    from compressors.steps.sparsify.encode import encode
    from compressors.steps.sparsify.layers import sparse_layers
    from compressors.steps.sparsify.rules import uniform
    from compressors.steps.sparsify.search import masked

    torch.manual_seed(0)
    model = architectures.build("mobilenetv1").eval()
    weights = sparse_layers(model, (1, 3, size, size))
    dense, sparse = folder / f"dense{percent}.tflite", folder / f"sparse{percent}.tflite"
    export_tflite(masked(model, uniform(weights, percent / 100)), size, dense)
    encode(dense, sparse, fewest=0.0)
    return dense, sparse


def command(*argv: str) -> Any:
    """One of this project's commands; its ``--json`` document."""
    tool = str(Path(sysconfig.get_path("scripts")) / argv[0])
    done = subprocess.run([tool, *argv[1:], "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with exit code {done.returncode}")
    return json.loads(done.stdout)


def main() -> None:
    """Export, measure in turns, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="local")
    parser.add_argument("--metric", default="latency", choices=("latency", "instructions"))
    parser.add_argument("--sparsity", default=SPARSITIES, help="percent of zeros, separated by commas")
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for percent in map(int, options.sparsity.split(",")):
            files = made(Path(folder), percent, options.size)
            names = [f"kernels-{options.size}-{file.stem}" for file in files]
            for file, name in zip(files, names, strict=True):
                command("zoo", "add", str(file), "--name", name)
            where = ("--device", options.device, "--threads", "1")
            command("harness", "run", *where, "--metric", options.metric, *(p for n in names for p in ("--model", n)))
            found = command("harness", "compare", *names, "--device", options.device, "--threads", "1")[0]
            rows.append(
                {
                    "zeros": percent,
                    "bytes": [file.stat().st_size for file in files],
                    "ratio": found["ratio"],
                    "ratio_ci95": found["ratio_ci95"],
                    "verdicts": sorted({found[side]["verdict"] for side in ("first", "second")}),
                }
            )
            last = rows[-1]
            print(
                f"{percent} % zeros on {options.device}: stored sparse the file has {files[1].stat().st_size:,} bytes "
                f"instead of {files[0].stat().st_size:,} and takes {last['ratio']:.3f} times the {options.metric}",
                file=sys.stderr,
            )
    print(
        json.dumps({"machine": machine(), "device": options.device, "metric": options.metric, "rows": rows}, indent=1)
    )


if __name__ == "__main__":
    main()
