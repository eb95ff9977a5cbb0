"""What a process of a farm unpickles, and what it refuses: nothing that a sender could make it do."""

from __future__ import annotations

import os
import pickle
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from devices.errors import DeviceOffline
from pocketzoo.errors import BadInput
from pocketzoo.farm.failure import TaskFailed, error_of, failed
from pocketzoo.farm.gate import Refused, loads
from pocketzoo.farm.security import check_address


class _Runs:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    "call",
    [(os.system, "true"), (subprocess.check_output, "true"), (eval, "1"), (getattr, "", "join"), (__import__, "os")],
)
def test_a_pickle_that_calls_something_is_refused(call: tuple[Any, ...]) -> None:
    with pytest.raises(Refused, match="nothing that a farm sends"):
        loads(pickle.dumps(_Runs(*call)))


def test_code_by_value_is_refused() -> None:
    import cloudpickle

    with pytest.raises(Refused):
        loads(cloudpickle.dumps(lambda: 1))


def test_a_call_of_ours_and_plain_values_pass() -> None:
    from dask._task_spec import Task

    from harness.farm.turns import measure

    task = loads(pickle.dumps(Task("turn|a|b|c", measure, "{}")))
    assert task.func is measure
    assert loads(pickle.dumps({"a": [1, 2.5, "x", None, (b"y", {1})]})) == {"a": [1, 2.5, "x", None, (b"y", {1})]}


def test_a_call_of_another_function_of_ours_is_refused() -> None:
    from pocketzoo.files import write_atomically

    with pytest.raises(Refused, match=r"pocketzoo\.files\.write_atomically"):
        loads(pickle.dumps(write_atomically))


def test_an_error_travels_as_text() -> None:
    sent = loads(pickle.dumps(failed(BadInput("no such thing", where="there", hint="do this", detail=("a", "b")))))
    assert isinstance(sent, TaskFailed)
    again = error_of(sent.said(), "host")
    assert isinstance(again, BadInput)
    assert (again.what, again.where, again.hint, again.detail) == (
        "no such thing",
        "there, on host",
        "do this",
        ("a", "b"),
    )
    assert TaskFailed("not a record").said().what == "not a record"


class _Busy:
    """A device that is lost as soon as a turn wants it."""

    @contextmanager
    def turn(self, binaries: Mapping[str, str]) -> Iterator[None]:
        raise DeviceOffline("gone", device="sim-a")
        yield


def test_what_a_turn_raises_carries_no_context_that_the_gate_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed.core import error_message
    from distributed.protocol import pickle as wire

    from harness.farm.records import Job
    from harness.farm.spool import Spool
    from harness.farm.turns import Turns
    from harness.farm.versions import mine
    from harness.request import Request
    from harness.results import Results
    from zoo.store import Store

    results = Results(f"sqlite:///{tmp_path / 'results.sqlite'}")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    lost: list[bool] = []
    turns = Turns(
        "one", _Busy(), Spool(results, tmp_path / "spool"), Store(tmp_path / "zoo"), threading.Event(),  # type: ignore[arg-type]
        lambda: lost.append(True),
    )  # fmt: skip
    job = Job(
        versions=mine(), campaign=results.create_campaign({}), since=now, sent=now, device="sim-a",
        request=Request(groups=()),
    )  # fmt: skip
    monkeypatch.setattr(wire, "loads", loads)
    with pytest.raises(TaskFailed) as raised:
        turns.measure(job)
    # As a worker packs it for the scheduler: what cannot be read again it would replace by its text.
    sent = loads(error_message(raised.value)["exception"].data)
    assert isinstance(sent, TaskFailed)
    assert (sent.said().kind, sent.said().what, lost) == ("DeviceUnavailable", "gone", [True])


@pytest.mark.parametrize("text", ["tls://host", "tls://[::1]:9", "tcp://127.0.0.1:1", "tcp://localhost"])
def test_addresses_that_are_some(text: str) -> None:
    assert check_address(check_address(text)) == check_address(text)


@pytest.mark.parametrize("text", ["", "host:1", "http://host", "tls://", "tls://u:p@host", "tcp://10.0.0.1:1", "tls://h:0",
                                  "tls://h:99999", "tls://h/path"])  # fmt: skip
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(BadInput):
        check_address(text)
