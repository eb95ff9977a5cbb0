"""`zoo verify --remeasure` on this machine, for real: what it does is checked, not how fast the machine is."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from tests.harness.conftest import Command
from zoo.measurement import Measurement
from zoo.store import Store

QUICK = ("--device", "local", "--model", "tiny", "--threads", "1", "--runs", "5", "--warmup", "1", "--retry", "0")


def published(command: Command, home: Path) -> Measurement:
    """A real measurement of tiny, as a publisher on a quiet machine would have published it."""
    done = command("harness", "run", *QUICK, "--repeats", "2", "--publish")
    assert done.returncode == 0, done.stderr
    store = Store(home / "zoo")
    (made,) = store.get("tiny").measurements
    return made


def attach_valid(home: Path, made: Measurement, slowness: float = 1.0) -> None:
    """The same with a verdict that can be held to, whatever else ran on this machine; ``slowness`` times as long."""
    repeats = tuple(
        msgspec.structs.replace(repeat, samples_ns=tuple(round(ns * slowness) for ns in repeat.samples_ns))
        for repeat in made.repeats
    )
    from zoo.stats import summarise

    valid = msgspec.structs.replace(
        made,
        repeats=repeats,
        summary=summarise(repeats),
        verdict=msgspec.structs.replace(made.verdict, name="valid", reason=None),
        time="2026-01-01T00:00:00.000+00:00",
    )
    assert Store(home / "zoo").attach(valid)


def test_a_published_figure_is_measured_again_the_way_it_was(command: Command, home: Path) -> None:
    made = published(command, home)
    attach_valid(home, made)
    done = command("zoo", "verify", "tiny", "--remeasure", "--device", "local", "--json")
    document = json.loads(done.stdout)
    assert all(finding["ok"] for finding in document["findings"])
    (again,) = document["remeasured"]
    assert again["measured"]["job_key"] == again["published"]["job_key"] == made.job_key
    assert again["measured"]["time"] > made.time
    assert again["notes"] == []
    if again["measured"]["verdict"] == "valid":
        assert again["ratio"] is not None
        assert again["outcome"] in ("reproduced", "slower", "faster", "cannot tell")
    else:
        assert again["outcome"] == "cannot tell"
        assert f"is {again['measured']['verdict']}, not valid" in again["says"]
    assert done.returncode == (0 if again["outcome"] == "reproduced" else 1) == (0 if document["ok"] else 1)
    assert "repeats" in done.stderr


def test_a_figure_that_nobody_could_reproduce_fails(command: Command, home: Path) -> None:
    """A thousand times as long as it takes: whatever this machine does meanwhile, it does not take that long."""
    attach_valid(home, published(command, home), slowness=1000.0)
    store = Store(home / "zoo")
    # The honest one is newer and may be valid; only the false one is under test.
    (honest,) = [m for m in store.get("tiny").measurements if m.time > "2026-02"]
    for path in (store.root / "measurements" / honest.artifact_sha256).glob("*.json"):
        if honest.time.encode() in path.read_bytes():
            path.unlink()
    done = command("zoo", "verify", "tiny", "--remeasure", "--device", "local")
    assert done.returncode == 1, done.stdout
    assert "FAIL  tiny on local" in done.stdout
    assert ": faster" in done.stdout or ": cannot tell" in done.stdout


def test_nothing_published_there_is_bad_input(command: Command) -> None:
    done = command("zoo", "verify", "tiny", "--remeasure", "--device", "local")
    assert done.returncode == 2
    assert "tiny has no measurement on local; it has on: none" in done.stderr
    assert "harness run --device local --model tiny --publish" in done.stderr
