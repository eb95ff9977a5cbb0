"""``harness run`` killed with signal 9 at random moments, resumed each time: is anything lost, or there twice?

``python -m benchmarks.kills [--kills 50] [--seed N] [--longest S] [--local]``

Measures on this machine, a board and a phone of a lab of its own (see ``devices lab up``), side by side, while the
phone drops, hangs, corrupts, fills up, gets hot or goes away at random.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fault_campaign import Subject
from benchmarks.report import show
from devices.inventory import load_inventory
from devices.lab import lab
from devices.lab.phone_control import PhoneControl
from devices.spec import DeviceSpec
from pocketzoo.errors import PocketzooError
from tests.harness.killing import SCRIPTS, kill_and_resume
from tests.tiny_model import write_tiny_tflite

LAB = ("lab-board-armv7", "lab-phone-armv8")
HANG_S = 20.0  # a phone that hangs would keep a campaign for its everyday deadline of minutes


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--longest", type=float, default=15.0)
    parser.add_argument("--local", action="store_true", help="this machine alone, without a lab")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        own = Path(folder)
        os.environ["POCKETZOO_HOME"] = folder
        devices, phone = ["local"], None
        if not options.local:
            try:
                phone = stack.enter_context(_lab())
            except PocketzooError as error:
                print(f"error: {error.what}\n  next: {error.hint}", *error.detail, sep="\n  ", file=sys.stderr)
                return 1
            devices += LAB
        model = write_tiny_tflite(own / "tiny.tflite")
        subprocess.run([str(SCRIPTS / "zoo"), "add", str(model), "--name", "tiny"], check=True, capture_output=True)
        argv = [part for name in devices for part in ("--device", name)]
        argv += ["--model", "tiny", "--threads", "1,2", "--runs", "5", "--warmup", "1", "--repeats", "6"]
        start = time.monotonic()
        done = kill_and_resume(
            own, [*argv, "--retry", "0", "--cool-limit", "5", "--deadline", f"{HANG_S:g}"],
            kills=options.kills, seed=options.seed, longest_s=options.longest, phone=phone,
        )  # fmt: skip
        seconds = time.monotonic() - start
    row = {
        "devices": ", ".join(devices),
        "kills": done.kills,
        "before anything was stored": done.early,
        "faults asked for": len(done.faults),
        "repeats stored": done.repeats,
        "lost, twice or unsound": len(done.wrong),
        "s": seconds,
    }
    show("kills", [row], f"signal 9 within {options.longest:g} s of each start, seed {options.seed}.")
    for line in done.wrong:
        print(line)
    return 1 if done.wrong else 0


@contextlib.contextmanager
def _lab() -> Iterator[Subject]:
    lab.up([], inventory=load_inventory(), say=lambda text: print(text, file=sys.stderr))
    try:
        yield _Phone(load_inventory().get(LAB[1]), lab.phone_control(LAB[1]))
    finally:
        lab.down()


class _Phone:
    """The phone with the faults that a campaign must survive; implements :class:`Subject`."""

    def __init__(self, spec: DeviceSpec, control: PhoneControl) -> None:
        self.spec = spec
        self._control = control

    def trouble(self, random: random.Random) -> str:
        kind = random.choice(["drop", "drop", "close", "hang", "corrupt", "full", "offline", "heat"])
        if kind == "heat":
            self._control.heat(60.0)
            return kind
        match = {"corrupt": "SEND", "full": "SEND"}.get(kind, random.choice(["SEND", "^shell", ""]))
        after = random.choice([None, 0, random.randrange(500)]) if kind in ("drop", "close", "hang") else 0
        seconds = random.choice([0.0, 1.0, 3.0]) if kind in ("drop", "offline") else 0.0
        times = 1 if kind in ("hang", "offline") else random.choice([1, 2])
        direction = random.choice(["in", "out"])
        self._control.ask(
            "fault", kind=kind, match=match, after=after, direction=direction, times=times, seconds=seconds
        )
        return kind

    def happened(self) -> int:
        return int(self._control.status()["happened"])

    def calm(self) -> None:
        self._control.reset_faults()
        until = time.monotonic() + 30
        while not self._control.status()["listening"] and time.monotonic() < until:
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
