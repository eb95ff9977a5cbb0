"""How busy a device was before it was measured: ticks of others, what this process did itself taken off."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

import pytest

from devices.errors import DeviceMissing
from devices.session import Session
from devices.transport import Completed
from harness.during import WATCH_S, Look, busy_before, look, parse_ticks


def stat(busy: int, idle: int) -> bytes:
    return b"cpu  %d 0 0 %d 0 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n" % (busy, idle)


class Device:
    """Answers with what it is given, in order, and nothing else."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)

    def run(self, argv: Sequence[str], *, deadline_s: float) -> Completed:
        assert list(argv) == ["cat", "/proc/stat"]
        answer = self.answers.pop(0)
        if answer is None:
            raise DeviceMissing("gone", device="d")
        return Completed(argv=tuple(argv), exit_code=0, stdout=answer, stderr=b"", seconds=0.0)


def session(*answers: bytes | None) -> Session:
    return cast(Session, Device(*answers))


def never(_: float) -> None:
    raise AssertionError("it was watched long enough")


def test_the_share_of_two_looks() -> None:
    first = Look(busy=100, total=1000, at=time.monotonic() - WATCH_S, own=None)
    found = busy_before(session(stat(150, 950)), first, never)
    assert (found.outcome, found.value) == ("ok", 0.5)


def test_what_it_did_itself_is_no_neighbour() -> None:
    there = look(session(stat(100, 900)), here=True)
    assert there is not None and there.own is not None
    first = Look(busy=100, total=1000, at=time.monotonic() - WATCH_S, own=there.own - 30)
    found = busy_before(session(stat(150, 950)), first, never, here=True)
    assert found.value == pytest.approx(0.2, abs=0.1)  # 50 ticks busy, at least 30 of them its own


def test_a_young_look_is_waited_for() -> None:
    waited: list[float] = []
    first = Look(busy=0, total=1, at=time.monotonic() + 3600, own=None)
    busy_before(session(stat(1, 1)), first, waited.append)
    assert waited and waited[0] > WATCH_S


@pytest.mark.parametrize("answer", [None, b"", b"no such file", stat(0, 1000)])
def test_a_device_that_does_not_say(answer: bytes | None) -> None:
    first = Look(busy=100, total=1000, at=time.monotonic() - WATCH_S, own=None)
    assert busy_before(session(answer), first, never).outcome == "unknown"
    assert busy_before(session(), None, never).outcome == "unknown"


def test_ticks() -> None:
    assert parse_ticks(stat(5, 7)) == (5, 12)
    assert parse_ticks(b"cpu 1 2 x") is None
