"""The identity of a processor: what programs read, and that it decides which kernels run."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.cores import CORES, core_name
from devices.inventory import load_inventory
from devices.lab.identity import arm_design, core_id, identity
from devices.lab.members import MEMBERS, QEMU_PROPERTY, described, imitating
from devices.parse import cpu_list, parse_cpuinfo
from devices.session import open_session
from devices.spec import Cluster, DeviceSpec
from harness.runners import python
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file


def cluster(core: str, cores: int = 4, max_mhz: float = 2000) -> Cluster:
    return Cluster(name="c", core=core, cores=cores, max_mhz=max_mhz)


@pytest.mark.parametrize(
    ("core", "ids"),
    [
        ("Cortex-A53", (0x41, 0xD03)),
        ("Kryo 485 Gold Prime (Cortex-A76)", (0x51, 0x804)),
        ("Kryo 485 Silver (Cortex-A55)", (0x51, 0x805)),
        ("Kryo 280 Gold (Cortex-A73)", (0x51, 0x800)),
        ("Kryo 360 Gold (Cortex-A75)", (0x51, 0x802)),
        ("Kryo 570 Gold (Cortex-A77)", (0x41, 0xD0D)),  # a series the table lacks: the design in brackets
        ("Kryo Silver", (0x51, 0x201)),
    ],
)
def test_core_numbers(core: str, ids: tuple[int, int]) -> None:
    assert core_id(core) == ids


@pytest.mark.parametrize(
    ("clusters", "abi", "model", "exact"),
    [
        ([("Cortex-A53", 4, 1900), ("Cortex-A73", 4, 2400)], "armv8", "cortex-a72", False),
        ([("Cortex-A55", 4, 1700), ("Cortex-A76", 4, 2400)], "armv8", "cortex-a76", True),
        ([("Cortex-A55", 6, 1700), ("Cortex-A75", 2, 2200)], "armv8", "cortex-a76", False),
        ([("Cortex-A53", 4, 1900)], "armv8", "cortex-a53", True),
        ([("Cortex-A53", 4, 1900), ("Cortex-A76", 4, 2400)], "armv8", "cortex-a72", False),  # what both can do
        ([("Cortex-A510", 4, 1900), ("Cortex-X2", 1, 3000)], "armv8", "max", False),
        ([("Cortex-A7", 4, 900)], "armv7", "cortex-a7", True),
        ([("Cortex-A17", 4, 900)], "armv7", "cortex-a15", False),
        ([("Cortex-A53", 4, 900)], "armv7", "max", False),  # 32-bit QEMU has no ARMv8 core
    ],
)
def test_nearest_qemu_model(clusters: list[tuple[str, int, float]], abi: str, model: str, exact: bool) -> None:
    shown = identity([cluster(*one) for one in clusters], abi, soc="x")  # type: ignore[arg-type]
    assert (shown.qemu_cpu, shown.exact) == (model, exact)


def test_every_inventory_phone_can_be_imitated() -> None:
    for spec in load_inventory():
        if "armv8" not in spec.abis:
            continue
        shown = imitating(spec).identity()
        processors, outside = parse_cpuinfo(shown.cpuinfo.splitlines())
        assert len(processors) == spec.cores
        assert outside["Hardware"] == spec.soc
        cpu = "devices/system/cpu"
        assert len(cpu_list(shown.sys[f"{cpu}/present"])) == spec.cores
        first = 0
        for one in spec.clusters:
            found = processors[first]
            name = core_name(int(found["CPU implementer"], 16), int(found["CPU part"], 16))
            assert arm_design(name) == arm_design(one.core)
            assert int(shown.sys[f"{cpu}/cpu{first}/cpufreq/cpuinfo_max_freq"]) == round(one.max_mhz * 1000)
            first += one.cores


def test_dot_product_where_the_soc_has_it() -> None:
    known = load_inventory()
    for name, dot in (("snapdragon835", False), ("kirin970", False), ("snapdragon845", True), ("snapdragon855", True)):
        assert ("asimddp" in imitating(known.get(name)).identity().cpuinfo) is dot, name


def test_a_32_bit_user_space_sees_an_armv8_core_as_such() -> None:
    text = identity([cluster("Cortex-A53")], "armv7", soc="x").cpuinfo
    assert "CPU architecture: 8" in text
    assert "neon" in text
    assert "asimd" not in text


def test_what_cannot_be_imitated_says_why() -> None:
    with pytest.raises(BadInput, match="no clusters"):
        identity([], "armv8", soc="x")
    with pytest.raises(BadInput, match="32-bit"):
        identity([cluster("Cortex-A7")], "armv8", soc="x")
    with pytest.raises(BadInput, match="not known") as caught:
        identity([cluster("Cortex-Z80")], "armv8", soc="x")
    assert caught.value.hint
    with pytest.raises(BadInput, match="no ARM ABI"):
        imitating(load_inventory().get("v100"))


def test_every_core_of_the_table_that_is_arm_has_an_identity() -> None:
    others = ("Apple", "Denver", "Exynos M3")
    for name in CORES.values():
        if not name.startswith(others):
            abi = "armv7" if name[-2:] in ("A5", "A7", "A8", "A9", "12", "15", "17") or name == "Krait" else "armv8"
            assert identity([cluster(name)], abi, soc="x").qemu_cpu


def test_entries_are_inventory_entries() -> None:
    for member in (*MEMBERS, imitating(load_inventory().get("kirin970"))):
        entry = member.entry({"kind": "ssh", "host": "127.0.0.1"})
        spec = DeviceSpec.model_validate({"name": member.name, **entry})
        assert "emulated" in spec.tags
        if member.kind == "phone":
            assert spec.expect[QEMU_PROPERTY] == (member.identity().qemu_cpu,)
            said = member.properties("rootfs")
            assert all(said[key] == value for key, (value,) in spec.expect.items())


SDOT = r": +4f[89ab][0-9a-f]e[0-9a-f]{3} "  # SDOT by element, as QEMU's log prints its code


@pytest.fixture(scope="module")
def tiny_int8(tiny_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from compressors.recipe import Quantize
    from compressors.steps.quantize import quantize

    target = tmp_path_factory.mktemp("tiny-int8") / "tiny.tflite"
    quantize(tiny_tflite, target, Quantize(kind="quantize", scheme="dynamic-int8", max_ratio=1.0), [])
    return target


@pytest.mark.parametrize(("model", "dot"), [("cortex-a72", False), ("cortex-a76", True)])
def test_identity_changes_kernels(lab: Path, tiny_int8: Path, model: str, dot: bool) -> None:
    """ai-edge-litert runs under both, and the dot-product instructions are run under the one that has them."""
    files = {sha256_file(path): path for path in (tiny_int8, python.AGENT)}
    with open_session(load_inventory().get("lab-board-armv8")) as session:
        there = session.push(files)
        argv = [session.python, there[sha256_file(python.AGENT)], "--model", there[sha256_file(tiny_int8)]]
        log = f"/tmp/{model}.log"
        env = {"QEMU_CPU": model, "QEMU_LOG": "in_asm", "QEMU_LOG_FILENAME": log}
        done = session.run([*argv, "--warmup", "0", "--runs", "1"], deadline_s=120, env=env)
        assert done.ok, done.stderr
        assert b"ai-edge-litert" in done.stdout
        found = int(session.run(["grep", "-cE", SDOT, log], deadline_s=60).stdout)
        session.run(["rm", log], deadline_s=60)
    assert (found > 0) is dot


def test_a_32_bit_twin_is_asked_for_by_name() -> None:
    known = load_inventory()
    twin = imitating(described("snapdragon855-armv7", known))
    assert (twin.name, twin.abi, twin.identity().qemu_cpu) == ("lab:snapdragon855-armv7", "armv7", "max")
    assert twin.clusters == known.get("snapdragon855").clusters
    assert described("snapdragon855", known) == known.get("snapdragon855")
    with pytest.raises(BadInput, match="no armv7"):
        described("v100-armv7", known)
