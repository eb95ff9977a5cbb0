"""The phones of the lab over the real adb server: the transport contract, the probe, an identity, a measurement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from devices.inventory import load_inventory
from devices.lab.cli import KINDS
from devices.lab.lab import phone_log
from devices.lab.members import QEMU_PROPERTY
from devices.lab.phone_faults import Kind
from devices.probe import contradictions
from devices.session import open_session
from devices.spec import AdbTransport as Written
from devices.transport import Transport
from devices.transports.adb import AdbTransport
from tests.contracts.adb_contract import AdbContract
from tests.lab.conftest import at_home
from tests.lab.test_lab import command


class OnPhone(AdbContract):
    name: str
    emulated = True

    @pytest.fixture(scope="class")
    @classmethod
    def transport(cls, lab_home: Path) -> Iterator[Transport]:
        with at_home(lab_home):
            way = load_inventory().get(cls.name).transport
        assert isinstance(way, Written)
        assert way.serial is not None
        transport = AdbTransport(way.serial, way.server)
        yield transport
        transport.close()

    @pytest.fixture(scope="class")
    @classmethod
    def there(cls, transport: Transport) -> str:
        done = transport.run(["mktemp", "-d", "-p", "/data/local/tmp"], deadline_s=60, env={}, stdin=b"")
        return done.stdout.decode().strip()


class TestPhoneArmv8(OnPhone):
    name = "lab-phone-armv8"


class TestPhoneArmv7(OnPhone):
    name = "lab-phone-armv7"


@pytest.mark.parametrize(
    ("name", "abi", "model"),
    [
        ("lab-phone-armv8", "armv8", "cortex-a76"),
        ("lab-phone-armv7", "armv7", "cortex-a7"),
        ("lab:snapdragon855", "armv8", "cortex-a76"),
    ],
)
def test_probe(lab: Path, name: str, abi: str, model: str) -> None:
    spec = load_inventory().get(name)
    with open_session(spec) as session:
        facts, conditions = session.facts(), session.conditions()
    assert contradictions(spec, facts) == ()
    assert facts.abis == (abi,)
    assert facts.properties[QEMU_PROPERTY] == model
    assert [len(cluster.cpus) for cluster in facts.clusters] == [cluster.cores for cluster in spec.clusters]
    assert [cluster.max_mhz for cluster in facts.clusters] == [cluster.max_mhz for cluster in spec.clusters]
    assert conditions.battery_percent is not None
    assert conditions.temperatures_c


def test_a_snapdragon_855_is_measured_with_its_identity(lab: Path, tiny_tflite: Path) -> None:
    assert command("zoo", "add", str(tiny_tflite), "--name", "tiny855", home=lab).returncode == 0
    argv = ["--model", "tiny855", "--runs", "3", "--warmup", "1", "--threads", "1", "--repeats", "1", "--json"]
    done = command("harness", "run", "--device", "lab:snapdragon855", *argv, home=lab)
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)
    assert (cell["abi"], cell["verdict"]) == ("armv8", "emulated")
    assert "asimddp" in cell["device_facts"]["cpu_features"]
    assert cell["device_facts"]["clusters"][2]["core"] == "Kryo 4xx Gold (Cortex-A76)"
    assert cell["runner"]["runtime"].startswith("ai-edge-litert")


def test_a_fault_is_asked_for_happens_and_is_cleared(lab: Path) -> None:
    name = "lab-phone-armv8"
    done = command("devices", "lab", "fault", name, "drop", "--match", "of-this-test", "--json", home=lab)
    assert done.returncode == 0, done.stderr
    with open_session(load_inventory().get(name)) as session:
        assert session.run(["echo", "of-this-test"], deadline_s=60).stdout == b"of-this-test\n"
    logged = [json.loads(line) for line in phone_log(name).read_text().splitlines()]
    assert [one["kind"] for one in logged if one["event"] == "fault"][-1] == "drop"
    assert command("devices", "lab", "fault", name, "heat", "--celsius", "50", home=lab).returncode == 0
    cleared = command("devices", "lab", "fault", name, "clear", home=lab)
    assert "faults to come: none;" in cleared.stdout


def test_a_fault_of_what_is_no_phone_is_refused(lab: Path) -> None:
    refused = command("devices", "lab", "fault", "lab-board-armv8", "drop", home=lab)
    assert refused.returncode == 2
    assert "lab-phone-armv8" in refused.stderr


def test_the_command_knows_every_kind_of_fault() -> None:
    assert get_args(Kind) == KINDS


@pytest.mark.parametrize("name", ["lab-phone-armv8", "lab-phone-armv7"])
def test_the_native_tools_way_on_a_phone(lab: Path, tiny_tflite: Path, tmp_path: Path, name: str) -> None:
    # The phone carries a stand-in that takes the tool's flags and prints its output, from real inferences.
    (tmp_path / "native.yaml").write_text(f"devices:\n  {name}:\n    runner: benchmark_model\n")
    assert command("zoo", "add", str(tiny_tflite), "--name", "tiny-native", home=lab).returncode == 0
    argv = ["--model", "tiny-native", "--runs", "3", "--warmup", "1", "--threads", "1", "--repeats", "2", "--json"]
    done = command("harness", "run", "--device", name, "--inventory", str(tmp_path / "native.yaml"), *argv, home=lab)
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)
    assert (cell["runner"]["name"], cell["verdict"]) == ("benchmark_model", "emulated")
    assert len(cell["runner"]["binary_sha256"]) == 64
