"""Each part of a farm killed in the middle of a campaign: every cell once, none lost."""

from __future__ import annotations

import json

from tests.harness.farm.rig import Rig
from tests.harness.results import postgres


def test_worker_database_and_scheduler_are_killed_and_every_cell_is_measured_once(
    rig: Rig,
    server: postgres.Server,
) -> None:
    def offered(name: str, times: int) -> None:
        rig.until(lambda: rig.said(name).count("is offered") == times, f"{name} to offer its devices")

    rig.scheduler()
    rig.host("one", "sim-a", "sim-b@first", seconds=0.3)
    rig.host("two", "sim-c", "sim-b@second", seconds=0.3)
    offered("one", 2)
    offered("two", 2)
    cells = 3 * 10
    rig.client("client", *rig.run_options("sim-a", "sim-b", "sim-c", threads=10), "--turn", "3")
    rig.until(lambda: rig.stored() >= 6, "a few repeats")

    rig.kill("one")
    rig.host("one", "sim-a", "sim-b@first", seconds=0.3)
    offered("one", 4)
    before = rig.stored()
    rig.until(lambda: rig.stored() >= before + 2, "more repeats after the worker")

    server.kill()
    spools = [rig.folder / f"home-{name}" / "farm" / "spool" for name in ("one", "two")]
    rig.until(lambda: [path for spool in spools for path in spool.glob("*.json")], "results that wait on a disk")
    server.start()
    rig.until(lambda: rig.stored() >= before + 4, "more repeats after the database")

    rig.kill("scheduler")
    rig.until(lambda: "went away" in rig.said("one"), "the hosts to notice")
    rig.scheduler()
    assert rig.ended("client") == 0, rig.said("client")
    assert rig.unsound(cells=cells, repeats=3) == []
    assert rig.stored() == cells * 3


def test_the_client_is_killed_and_the_farm_goes_on(rig: Rig) -> None:
    rig.scheduler()
    rig.host("one", "sim-a", seconds=0.1)
    rig.until(lambda: "is offered" in rig.said("one"), "the offer")
    rig.client("client", *rig.run_options("sim-a", threads=8), "--turn", "2")
    rig.until(lambda: rig.stored() >= 2, "a few repeats")
    rig.kill("client")
    rig.until(lambda: rig.stored() == 24, "every repeat, without a client")
    resumed = rig.command("harness", "resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert len(json.loads(resumed.stdout)) == 8
    assert rig.unsound(cells=8, repeats=3) == []
