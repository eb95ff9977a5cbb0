"""How near to ideal is a farm, and what does its scheduler cost?

``python -m benchmarks.farm [--devices 1000] [--hosts 20] [--seconds 6] [--cells 6]``

A scheduler, hosts with pretended devices whose repeats sleep, a PostgreSQL of its own, and one campaign over all of it.
Ideal is what one device needs for its repeats, for all devices have the same and work side by side. A repeat sleeps for
6 s, as on a phone (300 inferences of 20 ms): hosts, scheduler, client and PostgreSQL have the time for each repeat
that they would have. What is compressed is the campaign (18 repeats a device) and the space: all of it runs on this
machine. CPU time and memory are read from /proc, so that they mean something on a busy machine too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.processes import TICKS, cpu_s
from benchmarks.report import show
from tests.harness.farm.rig import farm
from tests.harness.results import postgres


def busy_s() -> float:
    """Seconds that all cores of this machine together have been busy."""
    numbers = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(numbers) - numbers[3] - numbers[4]) / TICKS


def peak_mb(pid: int) -> float:
    """The most memory a process has had, in 1,000,000 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the kernel does not say")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=6.0, help="Of one repeat.")
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=Path, help="A .tflite file; default: a tiny one is made.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="farm-") as name, postgres.running() as server:
        folder = Path(name)
        model = given.model or tiny_model(folder)
        with farm(folder, server.new_database(), model) as rig:
            rig.limit_s = 600.0
            rig.scheduler()
            names = [f"sim-{number:04d}" for number in range(given.devices)]
            # One after the other: twenty interpreters that start at once on two cores would wait for each other.
            for host in range(given.hosts):
                mine = names[host :: given.hosts]
                rig.host(f"host{host:02d}", *mine, seconds=given.seconds, options=("--check", "600"))
                rig.offers(f"host{host:02d}", len(mine))
                print(f"host {host + 1} of {given.hosts} offers {len(mine)} devices", file=sys.stderr, flush=True)
            scheduler = rig.processes["scheduler"].pid
            hosts = [rig.processes[f"host{host:02d}"].pid for host in range(given.hosts)]
            before, began = cpu_s(scheduler), time.monotonic()
            hosts_before, others_before = sum(map(cpu_s, hosts)), busy_s()
            rig.client("client", *rig.run_options(*names, threads=given.cells, repeats=given.repeats))
            first = rig.until(lambda: rig.stored() > 0 and time.monotonic(), "the first repeat")
            ticks = 0.0
            while rig.processes["client"].poll() is None:
                ticks = cpu_s(rig.processes["client"].pid)
                time.sleep(0.2)
            code, ended = rig.processes["client"].returncode, time.monotonic()
            used, wall = cpu_s(scheduler) - before, ended - began
            hosts_used, all_used = sum(map(cpu_s, hosts)) - hosts_before, busy_s() - others_before
            repeats = given.devices * given.cells * given.repeats
            ideal = given.cells * given.repeats * given.seconds
            row = {
                "devices": given.devices,
                "hosts": given.hosts,
                "repeats": repeats,
                "stored": rig.stored(),
                "client's exit code": code,
                "ideal s": ideal,
                "from first repeat to end s": ended - first,
                "with planning s": wall,
                "of ideal": ideal / wall,
                "scheduler cores": used / wall,
                "scheduler ms a repeat": 1e3 * used / repeats,
                "hosts' CPU ms a repeat": 1e3 * hosts_used / repeats,
                "client's CPU s": ticks,
                "busy cores of this machine": all_used / wall,
                "scheduler MB": peak_mb(scheduler),
                "host MB": peak_mb(rig.processes["host00"].pid),
                "load": os.getloadavg()[0],
            }
    show("farm", [row], "Devices sleep; hosts, scheduler, client and PostgreSQL are real and share this machine.")


def tiny_model(folder: Path) -> Path:
    """A small .tflite file."""
    # In a process of its own: what exports the model would stay in this one's memory.
    target = folder / "tiny.tflite"
    code = "import sys, pathlib, tests.tiny_model as t; t.write_tiny_tflite(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(target)], check=True, capture_output=True)
    return target


if __name__ == "__main__":
    main()
