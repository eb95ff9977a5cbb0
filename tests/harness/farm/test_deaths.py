"""Each part of a farm killed in the middle of a campaign: every cell once, none lost."""

from __future__ import annotations

from tests.harness.farm.rig import Rig
from tests.harness.results import postgres


def test_worker_scheduler_database_and_client_are_killed_and_every_cell_is_measured_once(
    rig: Rig,
    server: postgres.Server,
) -> None:
    rig.scheduler()
    rig.host("one", "sim-a", "sim-b@first", seconds=0.15)
    rig.host("two", "sim-c", "sim-b@second", seconds=0.15)
    rig.until(lambda: rig.said("two").count("is offered") == 2 and rig.said("one").count("is offered") == 2, "offers")
    cells = 3 * 8
    rig.client("client", *rig.run_options("sim-a", "sim-b", "sim-c", threads=8), "--turn", "3")
    rig.until(lambda: rig.stored() >= 8, "a few repeats")

    rig.kill("one")
    rig.host("one", "sim-a", "sim-b@first", seconds=0.15)
    before = rig.stored()
    rig.until(lambda: rig.stored() >= before + 8, "more repeats without a worker")

    server.kill()
    rig.until(lambda: any((rig.folder / f"home-{name}" / "farm" / "spool").glob("*.json") for name in ("one", "two")),
              "results that wait on a host's disk")  # fmt: skip
    server.start()
    rig.until(lambda: rig.stored() >= before + 12, "more repeats after the database")

    rig.kill("client")
    rig.kill("scheduler")
    rig.scheduler()
    rig.until(lambda: "went away" in rig.said("one"), "the hosts to notice")
    resumed = rig.command("harness", "resume")
    assert resumed.returncode == 0, resumed.stderr + rig.said("client")
    assert rig.unsound(cells=cells, repeats=3) == []
    assert rig.stored() == cells * 3
