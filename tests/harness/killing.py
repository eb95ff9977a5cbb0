"""``harness run`` killed again and again, gone on with by ``harness resume``, and what must hold afterwards."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fault_campaign import Subject
from harness.results import Results

SCRIPTS = Path(sysconfig.get_path("scripts"))


@dataclass
class Killed:
    """What a campaign under fire gave.

    Args:
        kills: how often it was killed.
        early: kills before there was anything of it on disk.
        repeats: stored in the end.
        faults: what a device was asked to do wrong, before each start.
        wrong: what must not be, a line each.
    """

    kills: int = 0
    early: int = 0
    repeats: int = 0
    faults: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def kill_and_resume(
    home: Path,
    options: Sequence[str],
    *,
    kills: int,
    seed: int,
    longest_s: float,
    tries: int = 400,
    phone: Subject | None = None,
) -> Killed:
    """Start a campaign, kill it ``kills`` times at random moments, resume it each time, and let the last one end.

    Args:
        home: a state folder whose zoo holds the models; its results must be empty.
        options: of ``harness run``.
        kills: how many processes are killed with signal 9.
        seed: of the moments.
        longest_s: the latest moment, in seconds after a start.
        tries: campaigns that may end before they are killed.
        phone: a device that breaks at random while it is measured, and works again for the last resume.
    """
    moments, done = random.Random(seed), Killed()
    stored: dict[tuple[str, int, int], bytes] = {}
    campaigns = Results(f"sqlite:///{home}/results.sqlite")
    while done.kills < kills and tries:
        tries -= 1
        known = [one for one in campaigns.campaigns() if one.state != "done"]
        argv = ["resume", known[0].id] if known else ["run", *options, "--fresh"]
        if phone is not None:
            phone.calm()
            done.faults += [phone.trouble(moments)]
        process = start(home, argv)
        try:
            process.wait(moments.uniform(0.05, longest_s))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done.kills += 1
            done.early += not known and not [one for one in campaigns.campaigns() if one.state != "done"]
        now = repeats_in(home)
        done.wrong += [f"lost after a kill: {key}" for key, record in stored.items() if now.get(key) != record]
        stored = now
    if phone is not None:
        phone.calm()
    for one in campaigns.campaigns():
        if one.state != "done" or phone is not None:
            process = start(home, ["resume", one.id, *(["--retry-failed"] if phone is not None else [])])
            if process.wait(600) != 0:
                said = (home / "said.log").read_text(errors="replace")[-500:]
                done.wrong.append(f"resume ended with {process.returncode}: {said}")
    final = repeats_in(home)
    done.wrong += [f"lost in the end: {key}" for key, record in stored.items() if final.get(key) != record]
    done.repeats = len(final)
    done.wrong += unsound(home, failing=phone is not None)
    return done


def start(home: Path, argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """A ``harness`` command; what it says is in ``said.log`` of the state folder."""
    env = {**os.environ, "POCKETZOO_HOME": str(home)}
    env.pop("POCKETZOO_RESULTS", None)
    with (home / "said.log").open("wb") as log:
        return subprocess.Popen(
            [str(SCRIPTS / "harness"), *argv], env=env, stdout=subprocess.DEVNULL, stderr=log, stdin=subprocess.DEVNULL
        )


def repeats_in(home: Path) -> dict[tuple[str, int, int], bytes]:
    """Every stored repeat as its bytes, by job key, round and number."""
    path = home / "results.sqlite"
    if not path.exists():
        return {}
    query = (
        "SELECT job_key, rounds.number, repeats.number, record, samples "
        "FROM repeats JOIN rounds ON rounds.id = round_id"
    )
    connection = sqlite3.connect(path, timeout=60)
    try:
        rows = connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # killed before there were tables
        return {}
    finally:
        connection.close()
    return {(key, round_, number): record + samples for key, round_, number, record, samples in rows}


def unsound(home: Path, *, failing: bool) -> list[str]:
    """What is wrong with the results of campaigns that are all done; failed rounds are none where devices fail."""
    wrong = []
    connection = sqlite3.connect(home / "results.sqlite", timeout=60)
    if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
        wrong.append("the database is not sound")
    states = connection.execute("SELECT job_key, state, COUNT(*) FROM rounds GROUP BY job_key, state").fetchall()
    whole = set(connection.execute("SELECT job_key, number FROM rounds WHERE state = 'done'").fetchall())
    connection.close()
    done = {key: count for key, state, count in states if state == "done"}
    ended = {"done", "abandoned", "failed"} if failing else {"done", "abandoned"}
    wrong += [f"a round is {state}: {key[:12]}" for key, state, _ in states if state not in ended]
    found = repeats_in(home)
    campaigns = Results(f"sqlite:///{home}/results.sqlite")
    finished = [one for one in campaigns.campaigns() if campaigns.wanted(one.id)]
    for one in finished:
        for cell in campaigns.wanted(one.id):
            if done.get(cell.key) != len(finished):
                wrong.append(f"{cell.label}: {done.get(cell.key)} rounds in {len(finished)} campaigns")
            for round_ in {key[1] for key in found if key[0] == cell.key and key[:2] in whole}:
                numbers = sorted(key[2] for key in found if key[:2] == (cell.key, round_))
                if numbers != list(range(cell.protocol.repeats)):
                    wrong.append(f"{cell.label}, round {round_}: repeats {numbers}")
    wrong += ["a repeat without samples" for one in campaigns.samples() if not one.repeat.samples_ns]
    return wrong
