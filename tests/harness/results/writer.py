"""A process that writes results, for tests that start several at once or kill one.

``python -m tests.harness.results.writer begin|fresh|append|look URL``: prints ``ready``, waits for a line, then works
and prints what came of it, one line at a time, each after it is true.
"""

from __future__ import annotations

import sys
from itertools import count

from harness.results import Results
from pocketzoo.errors import PocketzooError
from tests.harness.cells import RUNNER, cell_of
from tests.harness.results.rounds import measured
from tests.records import FACTS, repeat_of


def say(*words: object) -> None:
    print(*words, flush=True)


def begin(results: Results, *, fresh: bool) -> None:
    """Begin the one cell and store its first repeat."""
    round_ = results.begin(cell_of(), FACTS, RUNNER.record, fresh=fresh)
    try:
        results.append(round_, 0, repeat_of([1]))
        say("stored", round_.number)
    except PocketzooError as error:
        say("refused", round_.number, error.what)


def append(results: Results) -> None:
    """Whole rounds without end."""
    for seed in count():
        cell = cell_of(seed=seed)
        measurement = measured(cell, samples=range(200))
        round_ = results.begin(cell, FACTS, RUNNER.record)
        for number, repeat in enumerate(measurement.repeats):
            if number not in round_.done:
                results.append(round_, number, repeat)
                say("repeat", seed, number)
        results.finish(round_, measurement)
        say("finished", seed)


def main() -> None:
    mode, url = sys.argv[1:]
    results = Results(url)
    say("ready")
    sys.stdin.readline()
    if mode == "append":
        append(results)
    elif mode == "look":
        say(len(results.latest()))
    else:
        begin(results, fresh=mode == "fresh")


if __name__ == "__main__":
    main()
