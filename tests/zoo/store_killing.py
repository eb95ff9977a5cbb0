"""Work on a store, killed with signal 9 at random moments, and what must hold afterwards.

An operation is a function of a store, a folder of its own and a number; ``python -m tests.zoo.store_killing NAME ROOT
FOLDER NUMBER`` runs it. To put another one under fire, add it to OPERATIONS, and to PREPARED what must be there before.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pocketzoo.errors import BadInput, PocketzooError
from pocketzoo.files import sha256_file
from tests.records import measurement_for
from tests.zoo.conftest import artifact_for
from zoo.artifact import Artifact
from zoo.collect import collect
from zoo.removal import remove
from zoo.store import Store

Operation = Callable[[Store, Path, int], None]
BYTES = 2_000_000


def model(folder: Path, number: int) -> tuple[Artifact, Path]:
    """A model of two megabytes, the same for the same number."""
    path = folder / f"model{number}.tflite"
    if not path.exists():
        path.write_bytes(random.Random(number).randbytes(BYTES))
    return artifact_for(path, f"model{number}"), path


def add(store: Store, folder: Path, number: int) -> None:
    """One entry more."""
    artifact, path = model(folder, number)
    store.add(artifact, {artifact.files[0].name: path}, tags=("latest", "v1"))


def tag(store: Store, folder: Path, number: int) -> None:
    """Tags on an entry that is there."""
    store.enter(store.get(f"model{number}").artifact, tags=("latest", "v2", "v3", "v4"))


def attach(store: Store, folder: Path, number: int) -> None:
    """Numbers for an entry that is there."""
    artifact = store.get(f"model{number}").artifact
    for cell in range(5):
        store.attach(measurement_for(artifact, threads=cell + 1, key=f"{cell:064x}"))


def gc(store: Store, folder: Path, number: int) -> None:
    """Everything nobody needs goes at once."""
    collect(store, grace_s=0, untagged=True)


def remove_entry(store: Store, folder: Path, number: int) -> None:
    """An entry goes; where it has gone already, that is said."""
    try:
        remove(store, f"model{number}")
    except BadInput:
        if f"model{number}" in store.names():
            raise


def list_models(store: Store, folder: Path, number: int) -> None:
    """The index is brought up to date."""
    store.listing()
    store.candidates()


OPERATIONS: dict[str, Operation] = {
    "add": add,
    "tag": tag,
    "attach": attach,
    "gc": gc,
    "remove": remove_entry,
    "list": list_models,
}
PREPARED: dict[str, Sequence[Operation]] = {
    "tag": (add,),
    "attach": (add,),
    "gc": (add, remove_entry),
    "remove": (add, attach),
    "list": (add, attach),
}


@dataclass
class Killed:
    """What a campaign gave: kills by operation, runs that ended before they were killed, and what must not be."""

    kills: dict[str, int] = field(default_factory=dict)
    too_late: int = 0
    wrong: list[str] = field(default_factory=list)


def campaign(folder: Path, *, kills: int, seed: int, operations: Sequence[str] = (), longest_s: float = 0.08) -> Killed:
    """Kill operations in turn until ``kills`` of them were hit; each is then run to its end, and the store checked.

    Args:
        folder: empty; the store is made in it.
        kills: how many processes are killed.
        seed: of the moments.
        operations: names; default: all.
        longest_s: the latest moment, in seconds after the operation began.
    """
    store, moments, done = Store(folder / "zoo"), random.Random(seed), Killed()
    names = list(operations or OPERATIONS)
    number = 0
    while sum(done.kills.values()) < kills and number < 20 * kills:
        number += 1
        name = names[number % len(names)]
        for before in PREPARED.get(name, ()):
            before(store, folder, number)
        argv = [sys.executable, "-m", "tests.zoo.store_killing", name, str(store.root), str(folder), str(number)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.read(1)  # it has imported what it needs and begins now
        try:
            process.wait(moments.uniform(0, longest_s))
            done.too_late += 1
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done.kills[name] = done.kills.get(name, 0) + 1
        process.stdout.close()
        done.wrong += [f"{name} {number}, killed: {text}" for text in problems(store)]
        try:
            OPERATIONS[name](store, folder, number)
        except PocketzooError as error:
            done.wrong.append(f"{name} {number}, repeated: {error.what}: {error.where}")
        done.wrong += [f"{name} {number}, repeated: {text}" for text in problems(store)]
        (folder / f"model{number}.tflite").unlink(missing_ok=True)
    return done


def problems(store: Store) -> list[str]:
    """What is wrong: unreadable records, files that are missing or changed, an index that says otherwise."""
    found: list[PocketzooError] = []
    wrong = []
    entries = list(store.entries(found.append))
    for entry in entries:
        for record in entry.artifact.files:
            try:
                if sha256_file(store.file(record)) != record.sha256:
                    wrong.append(f"{record.name} was changed")
            except PocketzooError as error:
                wrong.append(error.what)
    expected = [(e.artifact.name, e.artifact.digest, e.tags, len(e.measurements)) for e in entries]
    if [(r.name, r.digest, r.tags, r.measurements) for r in store.listing(found.append)] != expected:
        wrong.append("the index says otherwise than the files")
    return [*wrong, *(f"{error.what}: {error.where}" for error in found)]


if __name__ == "__main__":
    operation = OPERATIONS[sys.argv[1]]
    sys.stdout.write(".")
    sys.stdout.flush()
    operation(Store(Path(sys.argv[2])), Path(sys.argv[3]), int(sys.argv[4]))
