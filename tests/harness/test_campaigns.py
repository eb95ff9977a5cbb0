"""Campaigns: files that people write, the store, devices side by side."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devices.errors import DeviceOffline
from harness.campaignfile import read
from harness.commands.carrying import chosen
from harness.commands.options import build_request
from harness.request import Request
from harness.results import Results
from harness.side_by_side import side_by_side, unexpected
from pocketzoo.errors import BadInput
from tests.harness.cells import cell_of

FLAGS: dict[str, Any] = {
    "devices": (), "models": (), "abi": None, "threads": None, "affinity": None, "cpus": None, "warmup": None,
    "runs": None, "repeats": None, "until": None, "max_repeats": None, "cool_below": None, "cool_limit": None,
    "file": None, "inventory": None,
}  # fmt: skip

FILE = """\
devices: [local]
models: [mobilenetv2, mobilenetv2-quant]
threads: [1, 2]
until: 1%
cool: {below: 35, limit: 60}
seed: 7
publish: true
deadline: 600
groups:
  - {}
  - models: mobilenetv2
    threads: 4
    affinity: f0
    repeats: 5
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    path = tmp_path / "campaign.yaml"
    path.write_text(FILE)
    return path


def request(**flags: Any) -> Request:
    whole = {name: flags.pop(name) for name in ("seed", "publish", "deadline", "retry", "fresh") if name in flags}
    return build_request({**FLAGS, **flags}, **whole)


def test_a_file_says_what_the_flags_say(campaign: Path) -> None:
    asked = request(file=str(campaign))
    assert (asked.seed, asked.publish, asked.deadline_s, asked.retry) == (7, True, 600, 1)
    first, second = asked.groups
    assert (first.devices, first.models, first.threads) == (("local",), ("mobilenetv2", "mobilenetv2-quant"), (1, 2))
    assert (first.until, first.cool_below_c, first.cool_limit_s) == (0.01, 35, 60)
    assert (second.models, second.threads, second.affinity) == (("mobilenetv2",), (4,), "f0")
    assert (second.protocol.repeats, second.protocol.runs) == (5, 200)


def test_flags_override_the_file_in_every_group(campaign: Path) -> None:
    asked = request(file=str(campaign), threads="8", cpus="0-1", runs=10, seed=1, devices=("pixel1",))
    assert {(g.threads, g.affinity, g.protocol.runs, g.devices) for g in asked.groups} == {
        ((8,), "0,1", 10, ("pixel1",))
    }
    assert asked.seed == 1


def test_a_request_survives_being_stored(campaign: Path) -> None:
    asked = request(file=str(campaign))
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(asked))), Request) == asked


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("devices: [local]\nthrads: [1]\n", r"campaign.yaml:2: thrads: unknown key; did you mean threads"),
        ("groups:\n  - models: [a]\n    runs: 0\n", r"campaign.yaml:3: groups\[0\].runs"),
        ("until: 2\n", r"campaign.yaml:1: until: expected text"),
        ("until: wide\n", r"campaign.yaml:1: until: until takes a percentage"),
        ("affinity: large\n", r"campaign.yaml:1: affinity: not an affinity"),
        ("threads: [0]\n", r"campaign.yaml:1: threads: not thread counts"),
        ("cool: {belw: 3}\n", r"cool.belw: unknown key; did you mean below"),
        ("groups:\n  - seed: 3\n", r"groups\[0\].seed: unknown key"),
        ("groups: []\n", r"campaign.yaml:1: groups"),
    ],
)
def test_a_mistake_is_answered_with_file_line_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read(path)
    import re

    assert re.search(says, "\n".join(caught.value.detail)), caught.value.detail


@pytest.mark.parametrize(
    "flags",
    [
        {"until": "1"}, {"until": "0%"}, {"until": "100%"}, {"affinity": "large"}, {"affinity": "big", "cpus": "0"},
        {"cool_below": 0.0}, {"cool_limit": -1.0}, {"max_repeats": 0}, {"retry": 11}, {"deadline": 0.0},
    ],
)  # fmt: skip
def test_wrong_values_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        request(**flags)


def test_a_campaign_is_found_by_its_name_or_as_the_last(tmp_path: Path) -> None:
    store = Results(f"sqlite:///{tmp_path}/results.sqlite")
    with pytest.raises(BadInput, match="no campaign yet"):
        chosen(store, None)
    first = store.create_campaign({"groups": []})
    store.create_campaign({"groups": [1]}, id="mine")
    assert chosen(store, None).id == "mine"
    assert chosen(store, first).request == {"groups": []}
    store.want(first, [cell_of(), cell_of(threads=2)])
    store.want(first, [cell_of(threads=2), cell_of(threads=4)])
    assert [cell.threads for cell in store.wanted(first)] == [1, 2, 4]
    store.end_campaign(first, "incomplete")
    assert chosen(store, first).state == "incomplete"
    with pytest.raises(BadInput, match="no campaign 'mien'"):
        chosen(store, "mien")


def test_a_lost_device_stops_no_other() -> None:
    done = []

    def work(name: str) -> None:
        if name == "b":
            raise DeviceOffline("gone", device="b")
        done.append(name)

    ran = side_by_side(["a", "b", "c"], work, threading.Event())
    assert sorted(done) == ["a", "c"]
    assert [type(one.error) for one in ran] == [type(None), DeviceOffline, type(None)]
    assert unexpected(ran) is None


def test_devices_run_at_the_same_time() -> None:
    together = threading.Barrier(4)
    ran = side_by_side(list("abcd"), lambda _: _wait(together), threading.Event())
    assert not any(one.error for one in ran)


def _wait(barrier: threading.Barrier) -> None:
    barrier.wait(60)


def test_a_fault_of_the_program_is_no_lost_device() -> None:
    def work(name: str) -> None:
        raise KeyError(name)

    assert isinstance(unexpected(side_by_side(["a"], work, threading.Event())), KeyError)


def test_ctrl_c_reaches_every_device_and_each_cleans_up() -> None:
    stop, ready, cleaned = threading.Event(), threading.Barrier(3), []
    # A shell starts what runs in its background with SIGINT ignored, and then nothing would interrupt anything.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def work(name: str) -> None:
        try:
            ready.wait(60)
            if name == "a":
                _thread.interrupt_main()
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            cleaned.append(name)
            raise

    try:
        ran = side_by_side(list("abc"), work, stop)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(cleaned) == ["a", "b", "c"]
    assert stop.is_set()
    assert all(one.stopped and one.error is None for one in ran)
