"""The main job, as a person would type it: compress, measure, publish, report. ``make demo`` runs this.

Every line that starts with ``>`` is a command of pocketzoo, run as it is shown. State goes to $POCKETZOO_HOME or the
platform's data directory, so that ``zoo list`` shows the result afterwards. A second run reuses what has not changed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

MODELS = ("mobilenetv2", "mobilenetv2-quant")


def commands(data: Path, out: Path) -> list[tuple[str, list[str]]]:
    """What is done and the command that does it, in order."""
    evaluation = [
        "--set",
        f"weights={data / 'mobilenet_v2-b0353104.pth'}",
        "--set",
        f"data.evaluation.folder={data / 'photos-labelled'}",
        "--set",
        "data.evaluation.split=foolbox-20",
    ]
    calibration = ["--set", f"data.calibration.folder={data / 'photos-calibration'}"]
    run = ["harness", "run", "--device", "local", "--threads", "1,2,4", "--publish", "--retry", "0"]
    for model in MODELS:
        run += ["--model", model]
    return [
        ("float32 .tflite, accuracy measured on the file", ["compress", "run", "mobilenetv2", *evaluation]),
        ("full int8, calibrated on photos", ["compress", "run", "mobilenetv2-quant", *evaluation, *calibration]),
        ("latency at 1, 2 and 4 threads; each repeat is a process of its own", run),
        ("the report", ["reports", "build", "--out", str(out)]),
    ]


def main() -> int:
    """Run the commands in order; stop at the first that fails, with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    scripts = Path(sysconfig.get_path("scripts"))
    start = time.monotonic()
    steps = commands(options.data, options.out)
    for number, (purpose, argv) in enumerate(steps, start=1):
        print(f"\n[{number}/{len(steps)}] {purpose}\n> {shlex.join(argv)}", flush=True)
        try:
            code = subprocess.run([str(scripts / argv[0]), *argv[1:]], check=False, env=os.environ).returncode
        except KeyboardInterrupt:
            code = 130
        if code:
            print(f"\nerror: step {number} ended with exit code {code}; `make demo` goes on from here", file=sys.stderr)
            return code
    seconds = time.monotonic() - start
    print(f"\ndone in {seconds:.0f} s. The report: {options.out / 'README.md'}")
    print(f"\nTry next, after `. {Path(sys.prefix).name}/bin/activate`:")
    print("  zoo show mobilenetv2-quant")
    print("  zoo pull mobilenetv2-quant --to out")
    print("  harness run --device local --model mobilenetv2-quant --threads 1,2")
    return 0


if __name__ == "__main__":
    sys.exit(main())
