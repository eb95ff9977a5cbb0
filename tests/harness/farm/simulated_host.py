"""A host of a farm as a process, with pretended devices: everything but the devices is the real thing.

    python -m tests.harness.farm.simulated_host ADDRESS NAME SECONDS DEVICE ... [--check S] [--certs DIR] [--cpu JOBS]

A device ``NAME@UNIT`` is another unit of ``NAME``; ``tool-NAME`` measures with a registered binary. Each repeat takes
SECONDS. A device whose file is in the folder ``unhealthy`` of the state folder fails its examination. A file
``allowed/NAME`` there holds how many repeats may end on the device; the one after them has begun, and does not end
until the file allows it or is gone. While it waits, ``held/NAME`` holds how many have ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from devices.errors import DeviceOffline
from devices.facts import DeviceFacts
from devices.spec import AdbTransport, DeviceSpec
from harness.execute import Bench
from harness.farm.host import Config, FarmHost
from harness.farm.records import Offer
from harness.registry import Registry
from harness.results import Results
from harness.runners.prepared import Prepared
from pocketzoo.files import sha256_bytes, write_atomically
from pocketzoo.home import home
from tests.harness.simulated import SimulatedRunner, SimulatedSession, steady
from zoo.store import Store


class PretendedHands:
    """Implements :class:`harness.farm.benches.Hands`."""

    def __init__(self, devices: list[str], seconds: float) -> None:
        self._units = dict((name, unit or name) for name, _, unit in (d.partition("@") for d in devices))
        self._seconds = seconds
        self._ended: Counter[str] = Counter()

    def specs(self) -> list[DeviceSpec]:
        return [DeviceSpec(name=name, transport=AdbTransport(kind="adb"), runner=_runner(name)) for name in self._units]

    def examine(self, spec: DeviceSpec, host: str) -> Offer:
        unit = self._units[spec.name]
        reason = "it was told to fail" if (home() / "unhealthy" / spec.name).exists() else None
        return Offer(
            device=spec.name, host=host, hardware=f"adb-{unit}", fingerprint=_fingerprint(spec.name),
            soc="simulated-soc", abis=("x86_64",), runner="python", reason=reason,
        )  # fmt: skip

    @contextmanager
    def open(self, spec: DeviceSpec, registry: Registry | None) -> Iterator[Bench]:
        if (home() / "unhealthy" / spec.name).exists():
            raise DeviceOffline("it was told to fail", device=spec.name)

        def allowed(argv: list[str], number: int) -> dict[str, Any]:
            _hold(spec.name, self._ended[spec.name])
            self._ended[spec.name] += 1
            return steady(argv, number)

        session = SimulatedSession(spec.name, answer=allowed, seconds=self._seconds)
        facts = DeviceFacts(name=spec.name, fingerprint=_fingerprint(spec.name), abis=("x86_64",), cores=64)
        runner = SimulatedRunner()
        if spec.runner == "benchmark_model":
            assert registry is not None
            binary = registry.newest(spec.runner, "x86_64")
            assert binary is not None and registry.path(binary).stat().st_mode & 0o111
            runner.record = msgspec.structs.replace(runner.record, binary_sha256=binary.sha256)
        yield Bench(session=session, facts=facts, prepared=Prepared(runners={"x86_64": runner}, placed={}))  # type: ignore[arg-type]


def _runner(device: str) -> str:
    return "benchmark_model" if device.startswith("tool-") else "python"


def _hold(device: str, ended: int) -> None:
    held = home() / "held" / device
    with contextlib.suppress(FileNotFoundError):
        while ended >= int((home() / "allowed" / device).read_text()):
            if not held.exists():
                held.parent.mkdir(exist_ok=True)
                write_atomically(held, str(ended).encode())
            time.sleep(0.01)
    held.unlink(missing_ok=True)


def _fingerprint(name: str) -> str:
    return sha256_bytes(name.encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("name")
    parser.add_argument("seconds", type=float)
    parser.add_argument("devices", nargs="*")
    parser.add_argument("--check", type=float, default=0.5)
    parser.add_argument("--certs")
    parser.add_argument("--cpu", type=int, default=0)
    parser.add_argument("--runner-digest", help="Say another digest of the python agent.")
    given = parser.parse_args()
    if given.runner_digest:
        from harness.farm import versions

        versions.mine().runners["tflite_agent"] = given.runner_digest
    config = Config(
        address=given.address, name=given.name, certs=given.certs, check_s=given.check, database_s=120, cpu=given.cpu
    )
    told = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    hands = PretendedHands(given.devices, given.seconds)
    Path(os.environ["POCKETZOO_HOME"]).mkdir(parents=True, exist_ok=True)
    asyncio.run(FarmHost(config, hands, Results(), store=Store(), told=told).serve())


if __name__ == "__main__":
    main()
