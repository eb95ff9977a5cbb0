"""Every network of the documents at its full size, untrained: MACs, parameters, file size, memory, time, instructions.

``python -m benchmarks.networks export`` puts them into the zoo as ``compress run --untrained`` does, the large ones
each in a process of its own, whose peak memory is kept; ``local`` measures them on this machine; ``lab`` counts their
instructions on both boards of the lab (``devices lab up`` first); ``report`` writes docs/data/networks.json and
docs/networks.md.

Each goes on where it was: what is in the zoo is not exported again, what is measured is not measured again. ``--only``
takes a pattern of names. Nothing is trained, so nothing is said about accuracy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks.network_list import LISTED, STRUCTURES, Network, is_large, write_recipe
from pocketzoo.errors import PocketzooError
from zoo.store import Entry, Store

DATA = Path("docs/data/networks.json")
BOARDS = ("lab-board-armv8", "lab-board-armv7")
LOCAL = ("--threads", "1", "--repeats", "3", "--retry", "0", "--publish")
# Inferences that do not count and that do: fewer where one takes seconds. Intervals come from the repeats.
MANY, FEW, LARGE = ("--warmup", "3", "--runs", "10"), ("--warmup", "1", "--runs", "3"), 8e9  # MACs
ONCE = ("--metric", "instructions", "--warmup", "0", "--runs", "1", "--repeats", "1", "--retry", "0", "--publish")
SECONDS_EACH_GIGA = 240.0  # of one emulated inference on a machine that is shared


def main() -> None:
    """One phase."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("phase", choices=["export", "local", "lab", "report"])
    parser.add_argument("--only", default="*", metavar="PATTERN")
    parser.add_argument("--most-macs", type=float, default=float("inf"), help="Of networks for the lab, in millions.")
    options = parser.parse_args()
    networks = [each for each in LISTED if fnmatchcase(each.name, options.only)]
    if options.phase == "export":
        export(networks)
    elif options.phase == "report":
        report()
    else:
        for network in networks:
            measure(network, options.phase, options.most_macs)


def exports() -> Path:
    """Where seconds and memory of the exports are kept, beside the zoo that they went to."""
    from pocketzoo.home import home

    return home() / "networks-exports.json"


def noted() -> dict[str, Any]:
    """Name -> seconds and peak memory of its export; a network that was in the zoo before has none."""
    found: dict[str, Any] = json.loads(exports().read_text()) if exports().is_file() else {}
    return found


def export(networks: list[Network]) -> None:
    """Those that are not in the zoo yet, one after another; the large ones in processes of their own."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        written = {name: write_recipe(name, Path(folder)) for name in STRUCTURES}
        for network in networks:
            if entry(network.name) is not None:
                continue
            recipe = str(written.get(network.name, network.name))
            began = time.monotonic()
            try:
                peak = None
                if is_large(network.name):
                    peak = alone(recipe)
                else:
                    here(recipe)
            except (PocketzooError, subprocess.CalledProcessError) as error:
                print(f"{network.name}: {error}", file=sys.stderr, flush=True)
                continue
            kept = noted()
            kept[network.name] = {"seconds": round(time.monotonic() - began, 1), "peak_mb": peak}
            exports().write_text(json.dumps(kept, indent=1))
            print(network.name, kept[network.name], file=sys.stderr, flush=True)


def here(recipe: str) -> None:
    """In this process: loading the converter takes longer than a small network."""
    from compressors.pipeline import compress
    from compressors.progress import OnStderr
    from compressors.recipe import load
    from compressors.untrained import TAG, untrained

    store = Store()
    for product in compress(untrained(load(recipe)), OnStderr()):
        store.add(product.artifact, {product.artifact.files[0].name: product.file}, tags=(TAG,))


def alone(recipe: str) -> int:
    """In a process of its own; its peak resident memory in MB (2^20 bytes)."""
    argv = [sys.executable, "-m", "compressors.cli", "run", recipe, "--untrained", "--json"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv[3:])
    return round(used.ru_maxrss / 1024)


def measure(network: Network, phase: str, most_macs: float) -> None:
    """One network on this machine, or on both boards."""
    found = entry(network.name)
    if found is None:
        print(f"{network.name}: not exported yet", file=sys.stderr, flush=True)
        return
    macs = found.artifact.macs or 0
    argv = [sys.executable, "-c", "from harness.cli import main; main()", "run", "--model", f"{network.name}:untrained"]
    if phase == "local":
        argv += ["--device", "local", *LOCAL, *(FEW if macs > LARGE else MANY), "--json"]
    else:
        if macs > most_macs * 1e6:
            print(f"{network.name}: {macs / 1e6:.0f} M MACs, left out", file=sys.stderr, flush=True)
            return
        deadline = 300 + SECONDS_EACH_GIGA * macs / 1e9
        argv += [*(part for board in BOARDS for part in ("--device", board)), *ONCE, "--json"]
        argv += ["--deadline", f"{deadline:.0f}"]
    began = time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    print(f"{network.name}: exit {done.returncode}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def entry(name: str) -> Entry | None:
    """The zoo's, None where it has none."""
    try:
        return Store().get(f"{name}:untrained")
    except PocketzooError:
        return None


def failures() -> list[dict[str, Any]]:
    """What the boards measured and would not vouch for: that is not published to the zoo."""
    argv = [sys.executable, "-c", "from harness.cli import main; main()", "results", "--format", "json"]
    boards = [part for board in BOARDS for part in ("--device", board)]
    done = subprocess.run([*argv, *boards], stdout=subprocess.PIPE, check=True)
    return [each for each in json.loads(done.stdout) if each["verdict"] == "failed"]


def report() -> None:
    """What is known of each, as data and as a page."""
    from benchmarks.network_page import add_failed, page, rows
    from benchmarks.report import machine

    kept = noted()
    found = rows((network, entry(network.name), kept.get(network.name)) for network in LISTED)
    add_failed(found, failures())
    document = {"schema": 1, "machine": machine(), "rows": found}
    DATA.write_text(json.dumps(document, indent=1) + "\n")
    Path("docs/networks.md").write_text(page(document))
    print(f"{len(found)} networks: {DATA}, docs/networks.md", file=sys.stderr)


if __name__ == "__main__":
    main()
