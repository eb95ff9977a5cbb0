"""Adding, tagging, attaching, listing, collecting and removing, each killed with signal 9 at random moments.

``python -m benchmarks.zoo_kills [--kills 60] [--seed N] [--longest S] [--only NAME ...]``

After each kill the store must be sound, the same command must succeed, and the store must be sound again. What is put
under fire is in tests/zoo/store_killing.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import show
from tests.zoo.store_killing import OPERATIONS, campaign


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--longest", type=float, default=0.08, help="the latest moment, in seconds after the start")
    parser.add_argument("--only", nargs="*", choices=sorted(OPERATIONS), default=[])
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = campaign(
            Path(folder), kills=options.kills, seed=options.seed, operations=options.only, longest_s=options.longest
        )
    rows = [{"operation": name, "kills": count} for name, count in done.kills.items()]
    rows.append({"operation": "all", "kills": sum(done.kills.values())})
    ended = f"{done.too_late} ended before they were killed, {len(done.wrong)} lost or unsound"
    show("zoo_kills", rows, f"{ended}, seed {options.seed}, {time.monotonic() - start:.0f} s.")
    for line in done.wrong:
        print(line)
    return 1 if done.wrong or sum(done.kills.values()) < options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
