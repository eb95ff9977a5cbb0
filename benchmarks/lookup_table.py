"""A look-up table of MobileNetV1 (224x224, width 1.0) on this machine: how long it takes, and how far its sum is from
the whole network.

``python -m benchmarks.lookup_table [--size 224] [--width 1.0] [--threads 1]``

Wanted: the table in under five minutes. Random weights: kernels are chosen by shapes and types. The state folder is a
new one, so that everything is measured; CPU time is that of all measuring processes and of this one. A machine that is
not quiet shows in the verdicts: short layers then come out nearly undisturbed, a whole network does not, and the ratio
says nothing.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.report import show

WANTED_S = 300.0
LOWEST = 0.2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["POCKETZOO_HOME"] = folder
        measure(Path(folder), options.size, options.width, options.threads)


def measure(folder: Path, size: int, width: float, threads: int) -> None:
    """One row."""
    from compressors.progress import Silent
    from compressors.recipe import load
    from compressors.search.lookup import Budget, Lookup
    from compressors.search.proposals import Settings, least_of
    from compressors.search.subject import subject_of
    from zoo.meter import Way, find_meter

    recipe = folder / "network.yaml"
    recipe.write_text(
        "name: network\ntitle: MobileNetV1\nweights: as-built\n"
        f"model: {{architecture: mobilenetv1, options: {{width: {width}}}}}\n"
        f"preprocessing: {{resize: null, crop: {size}, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}\n"
    )
    subject = subject_of(load(str(recipe)), Silent())
    meter = find_meter(Way("local", threads))
    lookup = Lookup(meter, meter.identify(), Budget(1000), lambda text: print(text, file=sys.stderr))
    before, began = cpu_s(), time.perf_counter()
    predictor = lookup.cover(subject.parts.parts, least_of(subject, Settings(lowest=LOWEST)), subject.full)
    wall, cpu, layers = time.perf_counter() - began, cpu_s() - before, lookup.budget.spent
    whole = lookup.network("whole", "network", lambda: subject.file)
    verdicts = Counter(entry.verdict for entry in lookup.kept.layers.values())
    row = {
        "network": f"mobilenetv1 {width:g}, {size}",
        "points": len(lookup.kept.layers),
        "measurements": layers,
        "wall s": wall,
        "cpu s": cpu,
        "sum ms": predictor.sum(),
        "whole ms": whole.value,
        "sum/whole": predictor.sum() / whole.value,
        "layers": ", ".join(f"{count} {name}" for name, count in sorted(verdicts.items())),
        "whole": whole.verdict,
    }
    show("lookup_table", [row], f"Wanted: at most {WANTED_S:g} s. Layers that are not valid are measured twice.")


def cpu_s() -> float:
    """Seconds of CPU of this process and of all that it waited for."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in times)


if __name__ == "__main__":
    main()
