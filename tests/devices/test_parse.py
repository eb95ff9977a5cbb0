"""Probe parsers on captured texts, and the ELF proofs."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from devices import elf, scripts
from devices.cores import core_name
from devices.errors import WrongDevice
from devices.facts import Conditions, DeviceFacts
from devices.inventory import load_inventory
from devices.parse import Sections, cpu_list, parse_conditions, parse_cpuinfo, parse_facts, temperature
from devices.probe import check_expectations, contradictions, proofs_from
from devices.spec import DeviceSpec, LocalTransport

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CPU = "/sys/devices/system/cpu"

PHONE_FACTS = (
    "@@ files\n"
    f"{CPU}/present=0-7\n"
    + "".join(
        f"{CPU}/cpu{n}/cpufreq/cpuinfo_max_freq={1785600 if n < 4 else 2419200 if n < 7 else 2841600}\n"
        for n in range(8)
    )
    + "@@ uname\nLinux\n4.14.117-perf\naarch64\n@@ cpuinfo\nProcessor\t: AArch64 Processor rev 14 (aarch64)\n"
    + "".join(
        f"processor\t: {n}\nBogoMIPS\t: 38.40\nFeatures\t: fp asimd aes atomics fphp asimdhp asimddp\n"
        f"CPU implementer\t: 0x51\nCPU variant\t: 0xd\nCPU part\t: {'0x805' if n < 4 else '0x804'}\n\n"
        for n in range(8)
    )
    + "Hardware\t: Qualcomm Technologies, Inc SM8150\n"
    "@@ meminfo\nMemTotal:        5731544 kB\n"
    "@@ getprop\n[ro.board.platform]: [msmnile]\n[ro.product.model]: [MI 9]\n[ro.product.manufacturer]: [Xiaomi]\n"
    "[ro.build.fingerprint]: [Xiaomi/cepheus/cepheus:10/QKQ1.190825.002/1:user/release-keys]\n[ro.serialno]: [secret]\n"
    "[persist.empty]: []\n"
    "@@ elf\n/data/local/tmp/a 42\n/data/local/tmp/b 42\n/data/local/tmp/c 126\n"
)
PROGRAMS = {"/data/local/tmp/a": "armv8", "/data/local/tmp/b": "armv7", "/data/local/tmp/c": "x86_64"}


def phone_facts(text: str = PHONE_FACTS, name: str = "snapdragon855") -> DeviceFacts:
    proofs, reason = proofs_from(text, PROGRAMS)
    return parse_facts(text, name=name, proofs=proofs, unproven=reason, asked=("ro.hardware.chipname",))


def test_a_phone() -> None:
    facts = phone_facts()
    assert (facts.soc, facts.model, facts.cores) == ("msmnile", "Xiaomi MI 9", 8)
    assert facts.kernel == "Linux 4.14.117-perf"
    assert facts.abis == ("armv8", "armv7")
    assert facts.abi_proofs["armv7"] == "a static armv7 ELF ran under kernel machine aarch64"
    assert [(c.cpus, c.core, c.max_mhz) for c in facts.clusters] == [
        ((0, 1, 2, 3), "Kryo 4xx Silver (Cortex-A55)", 1785.6),
        ((4, 5, 6), "Kryo 4xx Gold (Cortex-A76)", 2419.2),
        ((7,), "Kryo 4xx Gold (Cortex-A76)", 2841.6),
    ]
    assert facts.ram_bytes == 5731544 * 1024
    assert "asimddp" in facts.cpu_features
    assert facts.unknown == {}
    assert "secret" not in str(facts)
    check_expectations(load_inventory().get("snapdragon855"), facts)


def test_the_fingerprint_is_of_the_hardware_not_of_the_name_or_the_boot() -> None:
    first = phone_facts()
    assert phone_facts(name="other").fingerprint == first.fingerprint
    assert phone_facts(PHONE_FACTS.replace("5731544", "5731540")).fingerprint == first.fingerprint
    assert phone_facts(PHONE_FACTS.replace("QKQ1", "QKQ2")).fingerprint != first.fingerprint
    assert phone_facts(PHONE_FACTS.replace("2841600", "2956800")).fingerprint != first.fingerprint


def test_a_phone_that_hides_its_frequencies_and_runs_no_program() -> None:
    text = PHONE_FACTS.replace("cpuinfo_max_freq=", "cpuinfo_max_freq!no permission ").replace(" 42\n", " 126\n")
    facts = phone_facts(text)
    assert facts.abis == ()
    assert "armv8 exit 126" in facts.unknown["abis"]
    assert facts.unknown["clusters.max_mhz"].startswith("no permission")
    assert [cluster.max_mhz for cluster in facts.clusters] == [None, None]
    assert any("abis: armv8 is written, proven: none" in line for line in contradictions(spec("snapdragon855"), facts))


def test_an_emulator_proves_nothing() -> None:
    # On an x86_64 kernel with QEMU registered, an ARM program runs too. It is not this machine's ABI.
    text = PHONE_FACTS.replace("aarch64\n@@", "x86_64\n@@").replace("/c 126", "/c 42")
    assert list(proofs_from(text, PROGRAMS)[0]) == ["x86_64"]


def test_nothing_at_all_is_unknown_with_reasons() -> None:
    facts = parse_facts("@@ files\n", name="x", proofs={})
    assert facts.soc is facts.model is facts.os_build is facts.kernel is facts.cores is facts.ram_bytes is None
    assert set(facts.unknown) == {"abis", "cores", "soc", "model", "os_build", "kernel", "ram_bytes", "cpu_features"}
    assert all(facts.unknown.values())


def test_a_board_and_a_server() -> None:
    board = parse_facts(
        "@@ files\n@@ uname\nLinux\n6.1\naarch64\n@@ cpuinfo\nprocessor : 0\nCPU implementer : 0x41\nCPU part : 0xd08\n"
        "@@ model\nRaspberry Pi 4 Model B Rev 1.4\n@@ compatible\nraspberrypi,4-model-b\nbrcm,bcm2711\n",
        name="pi",
        proofs={"armv8": "ran"},
    )
    assert (board.model, board.soc, board.clusters[0].core) == (
        "Raspberry Pi 4 Model B Rev 1.4",
        "brcm,bcm2711",
        "Cortex-A72",
    )
    server = parse_facts(
        '@@ files\n/etc/os-release=PRETTY_NAME="Ubuntu 22.04"\n/sys/class/dmi/id/sys_vendor=Dell Inc.\n'
        "/sys/class/dmi/id/product_name=C4140\n@@ uname\nLinux\n5.15\nx86_64\n@@ cpuinfo\nprocessor\t: 0\n"
        "model name\t: Intel(R) Xeon(R) Gold 6148\nflags\t\t: avx2 avx512f\n@@ gpu\nTesla V100-SXM2-16GB\n",
        name="v100",
        proofs={"x86_64": "ran"},
    )
    assert (server.soc, server.model, server.os_build) == (
        "Intel(R) Xeon(R) Gold 6148",
        "Dell Inc. C4140",
        "Ubuntu 22.04",
    )
    assert server.abis == ("x86_64", "cuda")
    check_expectations(load_inventory().get("v100"), server)


def test_conditions_of_a_phone() -> None:
    text = (
        "@@ files\n/proc/loadavg=1.25 0.9 0.8 2/900 1234\n"
        "/sys/class/thermal/thermal_zone0/type=cpu-0-0\n/sys/class/thermal/thermal_zone0/temp=38400\n"
        "/sys/class/thermal/thermal_zone1/type=cpu-0-0\n/sys/class/thermal/thermal_zone1/temp=391\n"
        "/sys/class/thermal/thermal_zone2/type=unused\n/sys/class/thermal/thermal_zone2/temp=0\n"
        "/sys/class/thermal/thermal_zone3/type=off\n/sys/class/thermal/thermal_zone3/temp=-273000\n"
        f"{CPU}/cpu0/cpufreq/scaling_cur_freq=1785600\n{CPU}/cpu0/cpufreq/scaling_max_freq=1555200\n"
        f"{CPU}/cpu0/cpufreq/scaling_governor=schedutil\n"
        "@@ df\nFilesystem     1024-blocks  Used Available Capacity Mounted on\n/dev/x 100 1 2048 1% /data\n"
        "@@ battery\nCurrent Battery Service state:\n  AC powered: false\n  USB powered: true\n  level: 87\n"
        "  temperature: 312\n  technology: Li-ion\n@@ power\n  mWakefulness=Asleep\n"
    )
    now = parse_conditions(text, time=NOW)
    assert now.temperatures_c == {"cpu-0-0": 38.4, "cpu-0-0#thermal_zone1": 39.1}
    assert now.frequencies_mhz == {"0": 1785.6}
    assert now.max_frequencies_mhz == {"0": 1555.2}
    assert now.governors == {"0": "schedutil"}
    assert (now.load1, now.battery_percent, now.battery_c, now.charging) == (1.25, 87.0, 31.2, True)
    assert (now.free_bytes, now.screen_on) == (2048 * 1024, False)
    assert now.unknown == {}
    assert now.time == "2026-01-02T03:04:05.000+00:00"


def test_conditions_that_cannot_be_read() -> None:
    text = (
        "@@ files\n/sys/class/thermal/thermal_zone0/temp!no permission\n"
        f"{CPU}/cpu0/cpufreq/scaling_cur_freq!there, but it cannot be read\n@@ df\n"
    )
    now = parse_conditions(text, time=NOW)
    assert now.unknown["temperatures_c"] == "no permission"
    assert now.unknown["frequencies_mhz"] == "there, but it cannot be read"
    assert set(now.unknown) == {
        "temperatures_c", "frequencies_mhz", "max_frequencies_mhz", "governors", "load1", "battery_percent",
        "battery_c", "charging", "free_bytes", "screen_on",
    }  # fmt: skip
    assert msgspec.structs.replace(now, unknown={}) == Conditions(time=now.time)


def test_conditions_of_a_gpu_server_and_thermal_service() -> None:
    text = (
        "@@ files\n/sys/class/hwmon/hwmon1/name=coretemp\n/sys/class/hwmon/hwmon1/temp1_input=45000\n"
        "@@ mhz\ncpu MHz\t\t: 2400.123\ncpu MHz\t\t: 0.000\n@@ gpu\n0, 41, 1290, 1530\n1, [N/A], 1, 1\n"
        "@@ thermal\nTemperature{mValue=33.5, mType=0, mName=CPU0, mStatus=0}\n"
    )
    now = parse_conditions(text, time=NOW)
    assert now.temperatures_c == {"coretemp": 45.0, "gpu0": 41.0, "CPU0": 33.5}
    assert now.frequencies_mhz["gpu0"] == 1290
    assert now.max_frequencies_mhz == {"gpu0": 1530.0}
    assert now.frequencies_mhz["0"] == 2400.123
    assert "1" not in now.frequencies_mhz


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("38400", 38.4),
        ("384", 38.4),
        ("38", 38.0),
        ("0", None),
        ("-273000", None),
        ("x", None),
        ("", None),
        ("-5000", -5.0),
    ],
)
def test_temperature(text: str, degrees: float | None) -> None:
    assert temperature(text) == degrees


def test_cpu_list() -> None:
    assert cpu_list("0-3,6,8-9\n") == (0, 1, 2, 3, 6, 8, 9)
    with pytest.raises(ValueError, match="invalid literal"):
        cpu_list("")


def test_cpuinfo_of_an_old_kernel() -> None:
    text = "Processor : ARMv7\nprocessor : 0\nprocessor : 1\nFeatures : neon\nCPU part : 0xc0f\nHardware : ODROID"
    processors, outside = parse_cpuinfo(text.splitlines())
    assert outside["Hardware"] == "ODROID"
    assert processors[1]["Features"] == "neon"


def test_noise_is_not_taken_for_facts() -> None:
    seen = Sections("warning: something\n@@ files\ngarbage\n/a=1\n/a=2\n/b!no\n/c=x=y!z\n")
    assert seen.files == {"/a": ["1", "2"], "/c": ["x=y!z"]}
    assert seen.refused == {"/b": "no"}


def test_core_names() -> None:
    assert core_name(0x41, 0xD03) == "Cortex-A53"
    assert core_name(0x99, 0x1) == "implementer 0x99 part 0x001"


def spec(name: str) -> DeviceSpec:
    return load_inventory().get(name)


def test_the_wrong_phone_is_an_error_that_says_each_contradiction() -> None:
    with pytest.raises(WrongDevice) as caught:
        check_expectations(spec("pixel1"), phone_facts())
    assert caught.value.exit_code == 3
    assert caught.value.output == (
        "ro.board.platform: expected msm8996, found msmnile",
        "clusters: 4 cores are written, found 8",
    )


def test_a_written_soc_must_be_the_one_found() -> None:
    mine = DeviceSpec(name="m", runner="python", transport=LocalTransport(kind="local"), soc="EPYC 7R13")
    facts = DeviceFacts(name="m", fingerprint="0" * 64, soc="AMD EPYC 7R13 48-Core Processor")
    assert contradictions(mine, facts) == ()
    other = msgspec.structs.replace(facts, soc="Intel Xeon")
    assert contradictions(mine, other) == ("soc: EPYC 7R13 is written, found Intel Xeon",)


def test_expected_facts() -> None:
    facts = phone_facts()
    way = LocalTransport(kind="local")

    def wrong(**expect: tuple[str, ...]) -> tuple[str, ...]:
        return contradictions(DeviceSpec(name="m", runner="python", transport=way, expect=expect), facts)

    assert wrong(model=("/xiaomi/",), cores=("8",), abis=("/armv7/",), soc=("x", "MSMNILE")) == ()
    assert wrong(model=("MI 9",)) == ("model: expected MI 9, found Xiaomi MI 9",)
    assert wrong(colour=("red",)) == ("colour: expected red, unknown (the device does not say)",)


@pytest.mark.parametrize("abi", ["armv7", "armv8", "x86", "x86_64"])
def test_tiny_programs_are_elf_files_of_their_abi(abi: str) -> None:
    assert elf.abi_of_header(elf.program(abi)) == abi


def test_headers_that_are_no_elf() -> None:
    assert elf.abi_of_header(b"#!/bin/sh\n" + bytes(20)) is None
    assert elf.abi_of_header(b"\x7fELF") is None
    assert elf.abi_of_header(b"\x7fELF\x02\x01" + bytes(12) + b"\xff\xff") is None


def test_the_programs_of_this_machine_run(tmp_path: Path) -> None:
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    programs = {}
    for abi in ("armv7", "armv8", "x86", "x86_64"):
        path = tmp_path / abi
        path.write_bytes(elf.program(abi))
        path.chmod(0o755)
        programs[str(path)] = abi
    argv = ["sh", "-c", scripts.FACTS, "sh", *programs]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    proofs, reason = proofs_from(text, programs)
    assert next(iter(proofs)) == {"x86_64": "x86_64", "aarch64": "armv8", "armv7l": "armv7"}[machine]
    assert reason is None
