"""A device that is only pretended: it refuses every command it does not expect, and takes the time it is told to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from devices.facts import Conditions, DeviceFacts
from devices.spec import AdbTransport, DeviceSpec
from devices.transport import Completed
from harness.execute import Bench
from harness.job import Cell, Protocol
from harness.measuring import Device, Outcome, Settings
from harness.progress import Progress, Silent
from harness.reference import Kept
from harness.results import Results
from harness.runner import RunnerFailed
from harness.runners.prepared import Prepared
from harness.schedule import Task
from pocketzoo.files import sha256_bytes
from tests.harness.cells import cell_of
from zoo.measurement import Repeat, RunnerRecord

STAT = b"cpu  100 0 100 9000 0 0 0 0 0 0\n"
Answer = Callable[[list[str], int], dict[str, Any]]


class SimulatedRunner:
    """Implements :class:`harness.runner.Runner`: ``measure MODEL KEY``, answered with samples as JSON."""

    record = RunnerRecord(name="python", version="1", binary_sha256="a" * 64, runtime="simulated 1")

    def files(self) -> Mapping[str, Path]:
        return {}

    def argv(self, cell: Cell, model: str, placed: Mapping[str, str]) -> list[str]:
        return ["measure", model, cell.key, str(cell.threads)]

    def parse(self, cell: Cell, done: Completed) -> Repeat:
        document = json.loads(done.stdout)
        if "error" in document:
            raise RunnerFailed(document["error"])
        return msgspec.convert(document, Repeat)


class SimulatedSession:
    """What measuring uses of a session.

    Args:
        name: of the device.
        answer: called with a ``measure`` command and how many came before; gives the fields of a Repeat, or raises.
        seconds: that each ``measure`` takes.
        temperatures: degrees of each look in turn; the last one stays.
        cool_below_c: as the inventory would say it.
    """

    def __init__(
        self,
        name: str = "simulated",
        *,
        answer: Answer,
        seconds: float = 0.0,
        temperatures: Sequence[float] = (),
        cool_below_c: float | None = None,
    ) -> None:
        transport = AdbTransport(kind="adb")  # not this machine: nothing else here has to wait for it
        self.spec = DeviceSpec(name=name, transport=transport, runner="python", cool_below_c=cool_below_c)
        self.looks = 0
        self.commands: list[list[str]] = []
        self._answer = answer
        self._seconds = seconds
        self._temperatures = list(temperatures)

    def conditions(self) -> Conditions:
        celsius = self._temperatures[min(self.looks, len(self._temperatures) - 1)] if self._temperatures else None
        self.looks += 1
        return Conditions(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            temperatures_c={} if celsius is None else {"cpu": celsius},
        )

    def push(self, files: Mapping[str, Path]) -> dict[str, str]:
        for path in files.values():
            assert path.is_file()
        return {digest: f"/device/{digest}" for digest in files}

    def run(self, argv: Sequence[str], *, deadline_s: float, **_: object) -> Completed:
        if list(argv) == ["cat", "/proc/stat"]:
            return _completed(STAT)
        if argv[0] != "measure" or len(argv) != 4 or not argv[1].startswith("/device/"):
            raise AssertionError(f"an unexpected command: {argv}")
        before = len(self.commands)
        self.commands.append(list(argv))
        time.sleep(self._seconds)
        return _completed(json.dumps(self._answer(list(argv), before)).encode())


def _completed(stdout: bytes) -> Completed:
    return Completed(argv=("simulated",), exit_code=0, stdout=stdout, stderr=b"", seconds=0.0)


def steady(_argv: list[str], number: int) -> dict[str, Any]:
    """A repeat of a quiet device."""
    samples = [1_000_000 + 500 * ((number + n) % 3) for n in range(9)]
    return {"samples_ns": samples, "threads_actual": 1, "pool_threads": 1, "foreign_cpu_share": 0.0}


class Simulation:
    """A device, its results and its models, to be measured again and again as after a restart.

    Args:
        folder: for the results and the model file.
        session: the device.
    """

    def __init__(self, folder: Path, session: SimulatedSession) -> None:
        self.session = session
        self.results = Results(f"sqlite:///{folder / 'results.sqlite'}")
        self.model = folder / "model.tflite"
        self.model.write_bytes(b"model")
        self.kept = Kept(folder / "outputs")
        name = session.spec.name
        self.facts = DeviceFacts(name=name, fingerprint=sha256_bytes(name.encode()), cores=2)  # type: ignore[arg-type]
        prepared = Prepared(runners={"x86_64": SimulatedRunner()}, placed={})
        self.bench = Bench(session=session, facts=self.facts, prepared=prepared)  # type: ignore[arg-type]

    def task(self, *, threads: int = 1, repeats: int = 3, **how: Any) -> Task:
        cell = cell_of(
            device=self.facts.name,
            device_fingerprint=self.facts.fingerprint,
            runner_sha256=SimulatedRunner.record.binary_sha256,
            threads=threads,
            protocol=Protocol(warmup=1, runs=9, repeats=repeats),
        )
        return Task(cell, **how)

    def measure(self, *tasks: Task, progress: Progress | None = None, stop: Any = None, **settings: Any) -> Outcome:
        """As a campaign of its own does; what it gave, also where it broke off (``settings`` may hold ``since``)."""
        import threading

        known = {"since": datetime.now(UTC).isoformat(timespec="milliseconds"), **settings}
        outcome = known.pop("outcome", None) or Outcome()
        models = {task.cell.artifact_sha256: self.model for task in tasks}
        Device(
            self.bench, models, self.results, self.kept, Settings(**known),
            progress=progress or Silent(), stop=stop or threading.Event(), outcome=outcome,
        ).measure(tasks)  # fmt: skip
        return outcome
