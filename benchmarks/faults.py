"""Randomised faults on the lab's phones and boards, and what came of each.

``python -m benchmarks.faults [--steps N] [--seed N] [--step N] [--only DEVICE]``

Needs what ``devices lab up`` needs, and starts a lab of its own. Exit code 1 where a rule did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fault_campaign import BoardSubject, PhoneSubject, Step, Subject, campaign
from benchmarks.relay import Relay
from benchmarks.report import show
from devices.inventory import load_inventory
from devices.lab import lab
from devices.lab.members import MEMBERS
from devices.spec import SshTransport
from pocketzoo.errors import PocketzooError


def main() -> int:
    """Print a table by kind of fault; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", type=int, help="only the one of that number, to look at it alone")
    parser.add_argument("--only", action="append", help="a device of the lab; may be given several times")
    asked = parser.parse_args()
    names = asked.only or [member.name for member in MEMBERS]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["POCKETZOO_HOME"] = str(Path(folder, "home"))
        try:
            lab.up([], inventory=load_inventory(), say=lambda text: print(text, file=sys.stderr))
        except PocketzooError as error:
            print(f"error: {error.what}", *error.detail, f"next: {error.hint}", sep="\n  ", file=sys.stderr)
            return 1
        try:
            with subjects(names) as chosen:
                done = []
                numbers = range(asked.steps) if asked.step is None else [asked.step]
                for step in campaign(chosen, steps=numbers, seed=asked.seed, folder=Path(folder, "work")):
                    done.append(step)
                    print(_line(step), file=sys.stderr, flush=True)
        finally:
            lab.down()
    broken = [step for step in done if step.broken]
    for kind in ("device", "fault"):
        show(f"faults by {kind}", _rows(done, kind), f"{len(done)} steps, seed {asked.seed}.")
    for step in broken:
        print(f"does not hold: {_line(step)}")
    return 1 if broken else 0


@contextlib.contextmanager
def subjects(names: list[str]) -> Iterator[list[Subject]]:
    """The devices of a running lab; boards behind a relay."""
    inventory = load_inventory()
    with contextlib.ExitStack() as stack:
        found: list[Subject] = []
        for name in names:
            spec = inventory.get(name)
            if isinstance(spec.transport, SshTransport):
                relay = stack.enter_context(Relay(spec.transport.port or 22))
                known = Path(stack.enter_context(tempfile.TemporaryDirectory()), "known_hosts")
                recorded = Path(str(spec.transport.known_hosts)).read_text(encoding="ascii")
                known.write_text(recorded.replace(f"]:{spec.transport.port} ", f"]:{relay.port} "), encoding="ascii")
                way = spec.transport.model_copy(update={"port": relay.port, "known_hosts": str(known)})
                found.append(BoardSubject(spec.model_copy(update={"transport": way}), relay))
            else:
                found.append(PhoneSubject(spec, lab.phone_control(name)))
        yield found


def _rows(done: list[Step], by: str) -> list[dict[str, object]]:
    rows = []
    for key in sorted({getattr(step, by) for step in done}):
        chosen = [step for step in done if getattr(step, by) == key]
        errors = Counter(step.error for step in chosen if step.error)
        rows.append(
            {
                by: key,
                "steps": len(chosen),
                "faults that happened": sum(step.happened for step in chosen),
                "done in spite of it": sum(step.error is None for step in chosen),
                "failed with a reason": ", ".join(f"{count} {name}" for name, count in errors.most_common()),
                "longest s": round(max(step.seconds for step in chosen), 1),
                "rules broken": sum(bool(step.broken) for step in chosen),
            }
        )
    return rows


def _line(step: Step) -> str:
    came = f"{step.error or 'done'} after {step.seconds:.1f} s"
    what = f"[{step.number}] {step.device}: {step.operation} with {step.fault} ({step.happened} x): {came}"
    return "; ".join((what, *step.broken))


if __name__ == "__main__":
    sys.exit(main())
