"""What does a farm of one host cost beside no farm at all?

``python -m benchmarks.farm_overhead [--devices 4] [--seconds 2] [--cells 9] [--rounds 2]``

``harness run --farm`` on a farm of one host, and ``harness run`` without one, at the same moment on the same machine:
the same pretended devices, whose repeats sleep, the same cells, PostgreSQL on both sides. What is timed is the whole
command, from its start to its end, with planning and connecting; at most 5% may lie between the two.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.farm import tiny_model
from benchmarks.report import show
from tests.harness.farm.rig import Rig, farm
from tests.harness.results import postgres

# `harness run` whose devices are the pretended ones of the farm's hosts.
AT_HOME = """
import sys
from contextlib import contextmanager
from devices.inventory import load_inventory
from pathlib import Path
import harness.campaign
from harness.cli import main
from tests.harness.farm.simulated_host import PretendedHands

seconds = float(sys.argv.pop(1))

@contextmanager
def pretended(request, device):
    spec = load_inventory(Path(request.inventory)).get(device)
    with PretendedHands([device], seconds).open(spec, None) as bench:
        yield bench

harness.campaign.bench_on = pretended
main()
"""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0, help="Of one repeat.")
    parser.add_argument("--cells", type=int, default=9, help="Of a device; six make a turn.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="farm-") as name, postgres.running() as server:
        folder = Path(name)
        names = [f"sim-{number}" for number in range(given.devices)]
        inventory = folder / "devices.yaml"
        inventory.write_text(
            "devices:\n" + "".join(f"  {n}:\n    transport: {{kind: adb}}\n    runner: python\n" for n in names)
        )
        with farm(folder, server.new_database(), tiny_model(folder)) as rig:
            at_home = server.new_database()
            rig.limit_s = 600.0
            rig.scheduler()
            rig.host("one", *names, seconds=given.seconds, options=("--check", "30"))
            rig.offers("one", len(names))
            options = [*rig.run_options(*names, threads=given.cells, repeats=given.repeats), "--fresh"]
            alone = ["run", "--inventory", str(inventory), *options[3:]]
            ideal = given.cells * given.repeats * given.seconds
            for _ in range(given.rounds):
                began = time.monotonic()
                rig.client("with a farm", *options)
                home = _at_home(rig, alone, given.seconds, at_home)
                took = {}
                while len(took) < 2:
                    for what, process in (("farm", rig.processes["with a farm"]), ("no farm", home)):
                        if what not in took and process.poll() is not None:
                            took[what] = time.monotonic() - began
                    time.sleep(0.01)
                codes = rig.processes["with a farm"].returncode, home.returncode
                if codes != (0, 0):
                    sys.exit(f"error: exit codes {codes}\n{rig.said('with a farm')}\n{rig.said('at home')}")
                rows.append(
                    {
                        "devices": given.devices,
                        "repeats": given.devices * given.cells * given.repeats,
                        "ideal s": ideal,
                        "no farm s": took["no farm"],
                        "farm of one host s": took["farm"],
                        "longer %": 100 * (took["farm"] / took["no farm"] - 1),
                        "load": os.getloadavg()[0],
                    }
                )
    show("farm_overhead", rows, "Whole commands, both at the same moment; devices sleep, everything else is real.")


def _at_home(rig: Rig, options: list[str], seconds: float, database: str) -> subprocess.Popen[bytes]:
    with (rig.folder / "at home.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", AT_HOME, str(seconds), *options],
            env={**rig.env("home-client"), "POCKETZOO_RESULTS": database},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=Path(__file__).parents[1],
        )  # fmt: skip


if __name__ == "__main__":
    main()
