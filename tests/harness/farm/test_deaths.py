"""Each part of a farm killed in the middle of a campaign: every cell once, none lost."""

from __future__ import annotations

import json

from tests.harness.farm.rig import Rig
from tests.harness.results import postgres


def test_worker_database_and_scheduler_are_killed_and_every_cell_is_measured_once(
    rig: Rig,
    server: postgres.Server,
) -> None:
    rig.scheduler()
    everywhere = (("one", "sim-a"), ("one", "sim-b"), ("two", "sim-b"), ("two", "sim-c"))
    for host, device in everywhere:
        rig.allow(host, device, 2)  # of the nine repeats of a turn
    rig.host("one", "sim-a", "sim-b@first")
    rig.host("two", "sim-c", "sim-b@second")
    rig.offers("one", 2)
    rig.offers("two", 2)
    cells = 3 * 10
    rig.client("client", *rig.run_options("sim-a", "sim-b", "sim-c", threads=10), "--turn", "3")
    rig.held("one", "sim-a", 2)
    rig.held("two", "sim-c", 2)

    rig.kill("one")
    rig.host("one", "sim-a", "sim-b@first")
    rig.held("one", "sim-a", 2)
    before = rig.stored()
    assert before >= 2 + 2 + 2

    server.kill()
    rig.allow("one", "sim-a", 4)
    rig.held("one", "sim-a", 4)
    spool = rig.folder / "home-one" / "farm" / "spool"
    assert len(list(spool.glob("*.json"))) >= 2
    assert rig.stored() == -1
    server.start()
    rig.until(lambda: not list(spool.glob("*.json")), "what waited to be delivered")
    assert rig.stored() >= before + 2

    rig.kill("scheduler")
    rig.until(lambda: "went away" in rig.said_since("one"), "the hosts to notice")
    for host, device in everywhere:
        rig.allow(host, device, None)
    rig.scheduler()
    assert rig.ended("client") == 0, rig.said("client")
    assert rig.unsound(cells=cells, repeats=3) == []
    assert rig.stored() == cells * 3


def test_the_client_is_killed_and_the_farm_goes_on(rig: Rig) -> None:
    rig.scheduler()
    rig.allow("one", "sim-a", 2)
    rig.host("one", "sim-a")
    rig.offers("one", 1)
    rig.client("client", *rig.run_options("sim-a", threads=8), "--turn", "2")
    rig.held("one", "sim-a", 2)
    rig.until(lambda: [task for task, _ in rig.waiting()] == ["turn"] * 4, "every turn in the queue")
    rig.kill("client")
    rig.allow("one", "sim-a", None)
    rig.until(lambda: rig.stored() == 24, "every repeat, without a client")
    resumed = rig.command("harness", "resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert len(json.loads(resumed.stdout)) == 8
    assert rig.unsound(cells=8, repeats=3) == []


def test_a_host_that_stays_away_costs_its_cells_alone_and_they_can_be_gone_on_with(rig: Rig) -> None:
    rig.scheduler()
    rig.allow("two", "sim-c", 1)
    for host, device in (("one", "sim-a"), ("two", "sim-c")):
        rig.host(host, device)
        rig.offers(host, 1)
    rig.client("client", *rig.run_options("sim-a", "sim-c", threads=4), "--turn", "2", "--away", "1")
    rig.held("two", "sim-c", 1)
    rig.kill("two")
    assert rig.ended("client") == 3, rig.said("client")
    said = rig.said("client")
    assert "nobody offers sim-c any more; what is left waits for up to 1 s" in said
    assert "nobody has offered it for 1 s" in said
    assert rig.waiting() == []
    assert rig.stored() == 4 * 3 + 1
    rig.allow("two", "sim-c", None)
    rig.host("two", "sim-c")
    rig.offers("two", 1)
    resumed = rig.command("harness", "resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert rig.unsound(cells=8, repeats=3) == []
