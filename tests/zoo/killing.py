"""``zoo pull`` and ``zoo push`` killed with signal 9 at any moment: what is seen then, and the same command again."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pocketzoo.errors import PocketzooError
from pocketzoo.files import sha256_bytes, sha256_file
from tests.records import measurement_for
from zoo.artifact import Artifact, FileRecord
from zoo.asking import decode_manifest
from zoo.backends.protocol import Remote
from zoo.push import push
from zoo.remotes import RemoteConfig, open_remote
from zoo.store import Entry, Store

SCRIPTS = Path(sys.executable).parent
LONGEST_S = 120.0


@dataclass
class Killed:
    """What came of one way: kills that hit, commands that ended before theirs, pulls gone on with, broken rules."""

    way: str
    kills: int = 0
    too_late: int = 0
    seen_whole: int = 0
    resumed: int = 0
    wrong: list[str] = field(default_factory=list)


def pulls(
    folder: Path, url: str, kills: int, seed: int, *, size: int = 4_000_000, publish_to: Remote | None = None
) -> Killed:
    """Kill pulls from a remote into stores that are empty at first; ``publish_to`` where the URL is read-only."""
    rng = random.Random(seed)
    publisher = Store(folder / "publisher")
    done = Killed(f"pull {url.partition(':')[0]}")
    home = folder / "reader"
    env = {**os.environ, "POCKETZOO_HOME": str(home), "POCKETZOO_REMOTE": url}
    argv = [str(SCRIPTS / "zoo"), "pull", "--json"]

    def one(number: int, after_s: float | None) -> float:
        entry = _entry(publisher, folder, f"killed{seed}-{number}", rng, size)
        with closing(publish_to or open_remote(RemoteConfig(name="there", url=url))) as remote:
            push(publisher, remote, entry, tags=("latest",))
        shutil.rmtree(home, ignore_errors=True)
        store = Store(home / "zoo")
        seconds = _run(done, [*argv, entry.artifact.name], env, after_s)
        if after_s is None:
            return seconds
        done.wrong += [f"{number} after the kill: {text}" for text in broken(store)]
        done.seen_whole += entry.artifact.name in store.names()
        partial = store.partial(entry.artifact.digest)
        done.resumed += partial.exists() and partial.stat().st_size > 0
        again = subprocess.run(
            [*argv, entry.artifact.name], check=False, env=env, capture_output=True, timeout=LONGEST_S
        )
        if again.returncode:
            done.wrong.append(f"{number} again: exit {again.returncode}: {again.stderr.decode()}")
        done.wrong += [f"{number} at the end: {text}" for text in broken(store)]
        if store.get(entry.artifact.name).measurements != entry.measurements:
            done.wrong.append(f"{number}: measurements were lost")
        left = [path.name for path in (store.root / "partial").iterdir()]
        done.wrong += [f"{number}: {name} is left over" for name in left]
        return seconds

    _campaign(one, done, kills, rng)
    return done


def pushes(folder: Path, url: str, kills: int, seed: int, *, size: int = 4_000_000) -> Killed:
    """Kill pushes to a remote, which a reader looks at in between."""
    rng = random.Random(seed)
    home = folder / "publisher-home"
    store = Store(home / "zoo")
    done = Killed(f"push {url.partition(':')[0]}")
    env = {**os.environ, "POCKETZOO_HOME": str(home), "POCKETZOO_REMOTE": url}
    argv = [str(SCRIPTS / "zoo"), "push", "--json"]

    def one(number: int, after_s: float | None) -> float:
        entry = _entry(store, folder, f"pushed{seed}-{number}", rng, size)
        seconds = _run(done, [*argv, entry.artifact.name], env, after_s)
        if after_s is None:
            return seconds
        with closing(open_remote(RemoteConfig(name="there", url=url))) as remote:
            done.wrong += [f"{number} after the kill: {text}" for text in unsound(remote, entry)]
            done.seen_whole += remote.snapshot(entry.artifact.name) is not None
            again = subprocess.run(
                [*argv, entry.artifact.name], check=False, env=env, capture_output=True, timeout=LONGEST_S
            )
            if again.returncode:
                done.wrong.append(f"{number} again: exit {again.returncode}: {again.stderr.decode()}")
            done.wrong += [f"{number} at the end: {text}" for text in unsound(remote, entry)]
            snapshot = remote.snapshot(entry.artifact.name)
            if (
                snapshot is None
                or dict(snapshot.tags) != {"latest": entry.artifact.digest}
                or len(snapshot.measurements[entry.artifact.digest]) != len(entry.measurements)
            ):
                done.wrong.append(f"{number}: the entry is not there as a whole")
        done.wrong += [f"{number} here: {text}" for text in broken(store)]
        shutil.rmtree(store.root)
        return seconds

    _campaign(one, done, kills, rng)
    return done


def _campaign(one: Callable[[int, float | None], float], done: Killed, kills: int, rng: random.Random) -> None:
    whole = one(0, None)
    number = 0
    while done.kills < kills and number < 4 * kills:
        number += 1
        one(number, rng.uniform(0.15, 1.1) * whole)


def _run(done: Killed, argv: list[str], env: dict[str, str], after_s: float | None) -> float:
    start = time.monotonic()
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _, said = process.communicate(timeout=after_s if after_s is not None else LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            done.kills += 1
            return time.monotonic() - start
    done.too_late += after_s is not None
    if process.returncode:
        done.wrong.append(f"{argv}: exit {process.returncode}: {said.decode()}")
    return time.monotonic() - start


def _entry(store: Store, folder: Path, name: str, rng: random.Random, size: int) -> Entry:
    path = folder / "content"
    path.write_bytes(rng.randbytes(size))
    record = FileRecord(name=f"{name}.tflite", sha256=sha256_file(path), size=size)
    artifact = Artifact(name=name, format="tflite", files=(record,))
    store.add(artifact, {record.name: path})
    for key in range(3):
        store.attach(measurement_for(artifact, key=f"{key:064x}"))
    return store.get(name)


def broken(store: Store) -> list[str]:
    """What is wrong with what a store shows: every blob, manifest, tag and measurement."""
    found = []
    for path in (store.root / "blobs").rglob("*"):
        if path.is_file() and not path.name.startswith(".") and sha256_file(path) != path.name:
            found.append(f"the blob {path.name} has another content")
    problems: list[PocketzooError] = []
    for entry in store.entries(problems.append):
        for record in entry.artifact.files:
            try:
                store.file(record)
            except PocketzooError as error:
                found.append(error.what)
    for tag in (store.root / "tags").glob("*/*"):
        if not tag.name.startswith(".") and not list(
            store.root.glob(f"entries/{tag.parent.name}/{tag.read_text()}.json")
        ):
            found.append(f"{tag.parent.name}:{tag.name} points nowhere")
    return [*found, *(problem.what for problem in problems)]


def unsound(remote: Remote, entry: Entry) -> list[str]:
    """What is wrong with what a reader of a remote sees of an entry."""
    name = entry.artifact.name
    snapshot = remote.snapshot(name)
    if snapshot is None:
        return []
    found = []
    for digest in snapshot.manifests:
        artifact = decode_manifest(snapshot, digest, remote.address)
        for record in artifact.files:
            with remote.blob(name, digest, record, 0) as body:
                if sha256_bytes(b"".join(body.chunks)) != record.sha256:
                    found.append(f"{record.name} has another content")
        for file_name in snapshot.measurements.get(digest, ()):
            if sha256_bytes(remote.measurement(name, digest, file_name))[:16] not in file_name:
                found.append(f"the measurement {file_name} has another content")
    found += [f"{tag} points nowhere" for tag, digest in snapshot.tags.items() if digest not in snapshot.manifests]
    return found
