"""``harness run`` killed with signal 9 at random moments, resumed each time: is anything lost, or there twice?

``python -m benchmarks.kills [--kills 50] [--seed N] [--device D ...] [--longest S] MODEL.tflite``

Works in a state folder of its own. Devices of a lab that is up in the present state folder can be named; their entries
are taken along.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.report import show
from devices.lab import state
from tests.harness.killing import SCRIPTS, kill_and_resume


def main() -> None:
    """Print the table; exit 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--device", action="append", default=[])
    parser.add_argument("--longest", type=float, default=6.0)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    devices = options.device or ["local"]
    lab = state.folder() if any(name.startswith("lab") for name in devices) else None
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder)
        if lab is not None:
            (own / "lab").symlink_to(lab)
        subprocess.run(
            [str(SCRIPTS / "zoo"), "add", str(options.model.absolute()), "--name", "tiny"],
            env={**os.environ, "POCKETZOO_HOME": folder}, check=True, capture_output=True,
        )  # fmt: skip
        argv = [part for name in devices for part in ("--device", name)]
        argv += ["--model", "tiny", "--threads", "1,2", "--runs", "5", "--warmup", "1", "--repeats", "4"]
        start = time.monotonic()
        done = kill_and_resume(
            own, [*argv, "--retry", "0"], kills=options.kills, seed=options.seed, longest_s=options.longest
        )
        seconds = time.monotonic() - start
    row = {
        "devices": ", ".join(devices),
        "kills": done.kills,
        "before anything was stored": done.early,
        "repeats stored": done.repeats,
        "lost, twice or unsound": len(done.wrong),
        "s": seconds,
    }
    show("kills", [row], f"signal 9 within {options.longest:g} s of each start, seed {options.seed}; {done.wrong[:5]}")
    if done.wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
