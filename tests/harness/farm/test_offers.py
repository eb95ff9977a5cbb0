"""Choosing, sharing and comparing: the pure half of a farm; and the spool over a database that goes away."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.facts import DeviceFacts
from harness.farm import offers
from harness.farm.records import Offer
from harness.farm.seeing import parse_key
from harness.farm.spool import Spool, Spooled
from harness.farm.versions import check, differences, mine
from harness.results import Results, Unreachable
from pocketzoo.errors import BadInput
from tests.harness.cells import cell_of
from zoo.measurement import Repeat, RunnerRecord


def offer(device: str, **said: Any) -> Offer:
    return Offer(**{"device": device, "host": "one", "fingerprint": "f", **said})


@settings(deadline=None)
@given(turns=st.lists(st.integers(1, 30), min_size=2, max_size=4))
def test_campaigns_that_wait_together_take_turns(turns: list[int]) -> None:
    queue = sorted(
        (-priority, generation, campaign)
        for generation, (campaign, count) in enumerate(enumerate(turns))
        for priority in offers.priorities(count, 0)
    )
    served = [campaign for _, _, campaign in queue]
    for place in range(len(served)):
        had = [served[:place].count(campaign) for campaign in range(len(turns))]
        waiting = [n for campaign, n in enumerate(had) if n < turns[campaign]]
        assert max(waiting) - min(waiting) <= 1


def test_who_comes_later_begins_where_the_queue_stands() -> None:
    assert offers.standing([]) == 0
    assert offers.priorities(3, offers.standing([-40.0, -41.0, -42.0])) == [-40, -41, -42]


@settings(deadline=None)
@given(cells=st.lists(st.text(min_size=1), unique=True), size=st.integers(1, 7))
def test_turns_hold_every_cell_once(cells: list[str], size: int) -> None:
    pieces = offers.in_turns(cells, size)
    assert [cell for piece in pieces for cell in piece] == cells
    assert all(1 <= len(piece) <= size for piece in pieces)


def test_any_deals_to_what_fits_shortest_queue_first() -> None:
    there = [
        offer("a", soc="Kirin970", abis=("armv8", "armv7")),
        offer("b", soc="kirin970", abis=("armv8",)),
        offer("c", soc="kirin970", abis=("armv8",), reason="hot"),
        offer("d", soc="sdm845", abis=("armv8",)),
    ]
    wish = offers.parse_wish("soc=kirin970, abi=armv8")
    assert offers.dealt(wish, there, {"a": 2}, 4) == ["b", "b", "a", "b"]
    assert offers.dealt(offers.parse_wish("abi=armv7"), there, {}, 2) == ["a", "a"]
    with pytest.raises(offers.NobodyOffers, match="--any soc=v100") as raised:
        offers.dealt(offers.parse_wish("soc=v100"), there, {}, 1)
    assert raised.value.detail == ("offered: a on one, b on one, d on one",)


@pytest.mark.parametrize("text", ["soc", "colour=red", "soc=", "soc=a,soc=b", ""])
def test_a_wish_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--any does not take"):
        offers.parse_wish(text)


def test_a_device_that_is_not_offered_is_told_with_the_reason() -> None:
    error = offers.NobodyOffers(["c"], [offer("c", reason="temperature: 61 C"), offer("d")])
    assert error.detail == ("c on one is not offered: temperature: 61 C", "offered: d on one")


@pytest.mark.parametrize(
    ("lock", "own"),
    [("local", True), ("adb-127.0.0.1:5601", True), ("adb-emulator-5554", True), ("adb-ABC123", False),
     ("adb-192.168.1.4:5555", False), ("ssh-pi@board:22", False), ("ssh-root@127.0.0.1:2222", True)],
)  # fmt: skip
def test_hardware_is_named_alike_wherever_it_is_the_same(lock: str, own: bool) -> None:
    assert (offers.hardware_of(lock, "h1") != offers.hardware_of(lock, "h2")) == own


@settings(deadline=None)
@given(st.text(max_size=60))
def test_keys_of_others_are_none_of_ours(text: str) -> None:
    named = parse_key(text)
    assert named is None or text.count("|") == 3


def test_versions_that_matter_are_named_and_others_are_not() -> None:
    here = mine()
    assert differences(here, msgspec.structs.replace(here, pocketzoo="9.9")) == ()
    there = msgspec.structs.replace(here, pocketzoo="9.9", schema=here.schema + 1, runners={})
    with pytest.raises(BadInput, match=r"bench has pocketzoo 9\.9, here is") as raised:
        check(here, there, "bench")
    assert f"schema of the results: {here.schema} here, {here.schema + 1} there" in raised.value.detail
    assert sum(line.startswith("runner ") for line in raised.value.detail) == len(here.runners)


class _Away(Results):
    """A database that can be away, also after it has stored what it then says it has not."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.away = False
        self.forgets = False

    def append(self, *what: Any) -> None:
        if self.forgets:
            super().append(*what)
        if self.away or self.forgets:
            raise Unreachable("away")
        super().append(*what)


def test_what_waited_is_delivered_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = _Away(f"sqlite:///{tmp_path / 'r.sqlite'}")
    spool = Spool(results, tmp_path / "spool")
    spooled = Spooled(spool, threading.Event(), limit_s=30)
    facts = DeviceFacts(name="local", fingerprint="a" * 64)
    runner = RunnerRecord(name="python", version="1", binary_sha256="a" * 64, runtime="r")
    (round_,) = spooled.begin_each([(cell_of(), runner)], facts)
    repeats = [Repeat(samples_ns=(1000 + n,)) for n in range(4)]
    spooled.append(round_, 0, repeats[0])
    results.forgets = True
    spooled.append(round_, 1, repeats[1])
    results.forgets, results.away = False, True
    spooled.append(round_, 2, repeats[2])
    results.away = False
    spooled.append(round_, 3, repeats[3])  # not before those that wait
    assert spool.waiting() == 3
    (tmp_path / "spool" / "00-0-0.json").write_text("{")
    assert Spool(results, tmp_path / "spool").deliver() == 3  # another process of this host
    assert spool.waiting() == 0
    assert (tmp_path / "spool" / "00-0-0.damaged").exists()
    assert results.begin(cell_of(), facts, runner).done == dict(enumerate(repeats))
