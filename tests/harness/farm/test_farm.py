"""A farm as its users see it: placing, sharing, refusing. Real processes, pretended devices."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from devices import elf
from harness.farm.runners import NOWHERE, Brought, RunnerTrust
from harness.results import Results
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.farm.certs import make
from pocketzoo.files import sha256_file
from tests.harness.farm.rig import Rig, farm
from tests.harness.results import postgres
from zoo.sign import PublicKey


def test_cells_go_where_the_device_is_and_files_come_from_the_remote(rig: Rig) -> None:
    rig.scheduler()
    rig.host("one", "sim-a", "sim-dup@same")
    rig.offers("one", 2)
    rig.host("two", "sim-c", "sim-other@same")
    rig.until(lambda: "sim-other is not offered: one/sim-dup offers the same hardware" in rig.said("two"), "the clash")
    rig.offers("two", 1)
    assert not (rig.folder / "home-two" / "zoo").exists()
    nobody = rig.command("harness", *rig.run_options("sim-c", "kirin970", threads=1))
    assert nobody.returncode == 2, nobody.stderr
    assert "nobody offers kirin970" in nobody.stderr
    assert "sim-a on one, sim-c on two, sim-dup on one" in nobody.stderr
    options = rig.run_options("sim-c", threads=2, repeats=2)
    done = rig.command("harness", *options, "--any", "soc=SIMULATED-soc,host=one", "--json")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)
    assert sorted((cell["device"], cell["threads_requested"]) for cell in cells) == [
        ("sim-a", 1), ("sim-a", 2), ("sim-c", 1), ("sim-c", 2),
    ]  # fmt: skip
    assert list((rig.folder / "home-two" / "zoo" / "blobs").rglob("*"))
    again = rig.command("harness", *options)
    assert again.returncode == 0, again.stderr
    assert rig.stored() == 8
    # A repeat that runs when its campaign is cancelled is stored, and none comes after it; who watches is told.
    rig.allow("one", "sim-a", 4)
    rig.client("cancelled", *rig.run_options("sim-a", threads=1, repeats=5))
    rig.held("one", "sim-a", 4)
    ((_, campaign),) = rig.waiting()
    rig.until(lambda: rig.status()["devices"][0]["owner"] == campaign, "the heartbeat that says so")
    wrong = rig.command("harness", "farm", "cancel", campaign[:-1], "--farm", rig.address)
    assert wrong.returncode == 2, wrong.stderr
    assert f"did you mean {campaign}" in wrong.stderr
    cancelled = rig.command("harness", "farm", "cancel", campaign, "--farm", rig.address)
    assert cancelled.returncode == 0, cancelled.stderr
    assert rig.ended("cancelled") == 1, rig.said("cancelled")
    assert f"harness resume {campaign}" in rig.said("cancelled")
    rig.allow("one", "sim-a", None)
    rig.until(lambda: rig.status()["devices"][0]["owner"] is None, "the turn to end")
    assert rig.stored() == 9
    seen = rig.status()
    offered = {d["name"]: (d["host"], d["offered"], d["reason"]) for d in seen["devices"]}
    assert offered["sim-a"] == ("one", True, None)
    assert offered["sim-other"][:2] == ("two", False)
    assert [host["name"] for host in seen["hosts"]] == ["one", "two"]


def test_a_device_that_comes_and_goes_and_two_campaigns_that_share_it(rig: Rig) -> None:
    rig.scheduler()
    ill = rig.folder / "home-one" / "unhealthy"
    ill.mkdir(parents=True)
    (ill / "sim-a").touch()
    rig.allow("one", "sim-a", 0)
    rig.host("one", "sim-a")
    rig.until(lambda: "sim-a is not offered: it was told to fail" in rig.said("one"), "the examination")
    options = rig.run_options("sim-a", threads=8, repeats=2)
    rig.client("first", *options, "--turn", "1", "--wait", "200")
    rig.client("second", *options, "--turn", "1", "--runs", "10", "--wait", "200")  # cells of its own
    for name in ("first", "second"):
        rig.until(lambda name=name: "nobody offers sim-a; waiting" in rig.said(name), f"the {name} client to wait")
    (ill / "sim-a").unlink()
    # Whoever is planned first has its first turn begun; the other's plan comes before its second one, which waits
    # until the other has sent its turns too: from then on both are in the queue and neither depends on its client.
    rig.held("one", "sim-a", 0)
    rig.until(lambda: len({campaign for _, campaign in rig.waiting()}) == 2, "both campaigns in the queue")
    rig.allow("one", "sim-a", 2)
    rig.until(lambda: len([task for task, _ in rig.waiting() if task == "turn"]) == 7 + 8, "the turns of both")
    rig.allow("one", "sim-a", None)
    assert rig.ended("first") == 0, rig.said("first")
    assert rig.ended("second") == 0, rig.said("second")
    assert {one.state for one in Results(rig.database).campaigns()} == {"done"}
    order = owners_of_rounds(rig)
    assert len(order) == 16
    # The first two turns may be of one campaign; then they alternate, and who began first has its last turn first.
    runs = [len(list(turns)) for _, turns in itertools.groupby(order)]
    assert len(runs) >= 14, order
    assert max(runs) <= 2, order


def owners_of_rounds(rig: Rig) -> list[str]:
    """Which campaign each round was of, in the order they were begun."""
    from sqlalchemy import select

    from harness.results.schema import rounds

    results = Results(rig.database)
    with results.database.reading() as connection:
        assert connection is not None
        found = connection.execute(select(rounds.c.cell).order_by(rounds.c.id)).scalars().all()
    results.close()
    return ["second" if json.loads(cell)["protocol"]["runs"] == 10 else "first" for cell in found]


def test_versions_that_differ_are_refused_with_both_named(rig: Rig) -> None:
    rig.scheduler()
    rig.host("old", "sim-a", options=("--runner-digest", "0" * 64))
    rig.offers("old", 1)
    done = rig.command("harness", *rig.run_options("sim-a", threads=1))
    assert done.returncode == 2, done.stderr
    assert "old has pocketzoo" in done.stderr
    assert "runner tflite_agent: sha256:" in done.stderr
    assert "sha256:000000000000 there" in done.stderr
    assert rig.stored() == 0


def test_a_runner_that_a_host_lacks_is_brought_by_its_digest_for_that_job(rig: Rig) -> None:
    def register(home: str, content: bytes) -> str:
        file = rig.folder / f"tool-of-{home}"
        file.write_bytes(elf.program("x86_64") + content)
        done = rig.command("harness", "runner", "add", str(file), "--abi", "x86_64", home=home)
        assert done.returncode == 0, done.stderr
        return sha256_file(file)

    mine, theirs = register("home-client", b"mine"), register("home-one", b"theirs")
    rig.scheduler()
    rig.host("one", "tool-a")
    rig.offers("one", 1)
    argv = rig.run_options("tool-a", threads=1, repeats=1)
    refused = rig.command("harness", *argv)
    assert refused.returncode == 2, refused.stderr
    for part in (f"sha256:{mine[:12]}", f"sha256:{theirs[:12]}", f"harness runner push {mine[:12]}, on the client"):
        assert part in refused.stderr
    assert rig.stored() == 0
    for expected in ("published", "was there"):
        pushed = rig.command("harness", "runner", "push", mine[:12])
        assert pushed.returncode == 0, pushed.stderr
        assert f"sha256:{mine}  {expected}: {rig.folder / 'share'}" in pushed.stdout
    done = rig.command("harness", *argv, "--json")
    assert done.returncode == 0, done.stderr
    (measured,) = Results(rig.database).latest()
    assert measured.runner.binary_sha256 == mine
    # For that job alone: what the host measures with by itself is what its owner registered.
    listed = json.loads(rig.command("harness", "runner", "list", "--json", home="home-one").stdout)
    assert [(one["binary"]["sha256"], one["in_use"]) for one in listed] == [(theirs, True)]
    assert sha256_file(rig.folder / "home-one" / "farm" / "runners" / mine) == mine
    # Without a signature it is for devices beside the host, and never from a remote that the host does not trust.
    brought = Brought(RunnerTrust(str(rig.folder / "share")), rig.folder / "kept")
    with pytest.raises(BadInput, match="on the host itself only where a signature is required"):
        brought.bring("benchmark_model", "x86_64", mine, here=True)
    with pytest.raises(BadInput, match="takes runners from no remote"):
        Brought(RunnerTrust(NOWHERE), rig.folder / "kept").bring("benchmark_model", "x86_64", mine, here=False)
    (rig.folder / "key.pem").touch()
    signed = RunnerTrust(str(rig.folder / "share"), PublicKey(rig.folder / "key.pem"))
    with pytest.raises(WorkFailed, match="is not signed, and a signature is required"):
        Brought(signed, rig.folder / "kept").bring("benchmark_model", "x86_64", mine, here=True)
    (blob,) = [
        path
        for path in (rig.folder / "share").rglob("*")
        if path.is_file() and path.stat().st_size == len(elf.program("x86_64")) + 4
    ]
    blob.chmod(0o644)
    blob.write_bytes(elf.program("x86_64") + b"evil")
    with pytest.raises(WorkFailed):
        brought.bring("benchmark_model", "x86_64", mine, here=False)
    assert not (rig.folder / "kept" / mine).exists()


def test_beyond_loopback_only_tls_and_only_certificates_of_the_farm(
    tmp_path: Path, server: postgres.Server, tiny_tflite: Path
) -> None:
    make(tmp_path / "certs", ("scheduler", "host", "client"))
    make(tmp_path / "others", ("client",))
    with farm(tmp_path, server.new_database(), tiny_tflite, certs=tmp_path / "certs") as rig:
        rig.scheduler()
        rig.host("one", "sim-a")
        rig.offers("one", 1)
        done = rig.command("harness", *rig.run_options("sim-a", threads=1), "--json")
        assert done.returncode == 0, done.stderr
        options = ("harness", "farm", "status", "--farm")
        stranger = rig.command(*options, rig.address, "--certs", str(tmp_path / "others" / "client"))
        assert stranger.returncode == 2, stranger.stderr
        assert "do not accept each other's certificates" in stranger.stderr
        none = rig.command(*options, rig.address)
        assert none.returncode == 2
        assert "no certificate for the farm" in none.stderr
        plain = rig.command(*options, "tcp://farm.example:8786")
        assert plain.returncode == 2
        assert "it wants TLS" in plain.stderr
        rig.kill("scheduler")
        gone = rig.command(*options, rig.address, "--certs", str(tmp_path / "certs" / "client"))
        assert gone.returncode == 3, gone.stderr
        assert "no scheduler of a farm answers there" in gone.stderr
    key = tmp_path / "certs" / "client" / "key.pem"
    assert key.stat().st_mode & 0o077 == 0
