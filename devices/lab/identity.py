"""The identity of a processor as programs see it: /proc/cpuinfo, /sys/devices/system/cpu, and QEMU's CPU model.

Runtimes choose their kernels from these (dot product or not, in-order or out-of-order), so a virtual device that is to
run what a phone runs has to show that phone's. Pure: text from what the inventory says, and where it is mounted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devices.cores import CORES
from devices.spec import Cluster
from pocketzoo.errors import BadInput

ArmAbi = Literal["armv7", "armv8"]

_V7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpd32"
_V7_VIRTUAL = f"{_V7} vfpv4 idiva idivt lpae evtstrm"
_V8_AS_32 = f"{_V7_VIRTUAL} aes pmull sha1 sha2 crc32"
_V8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_V8_2 = f"{_V8_0} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
_V9 = f"{_V8_2} jscvt fcma sha3 sm3 sm4 sha512 sve sve2 flagm ssbs sb dcpodp flagm2 frint i8mm bf16 bti"
_LEVELS = {  # of the architecture, by the ARM design; decides what instructions there are
    7: ("Cortex-A5", "Cortex-A8", "Cortex-A9"),
    7.1: ("Cortex-A7", "Cortex-A12", "Cortex-A15", "Cortex-A17", "Krait"),
    8.0: ("Cortex-A32", "Cortex-A35", "Cortex-A53", "Cortex-A57", "Cortex-A72", "Cortex-A73", "Kryo", "Exynos M1"),
    8.2: (
        "Cortex-A55", "Cortex-A75", "Cortex-A76", "Cortex-A77", "Cortex-A78", "Cortex-X1", "Neoverse-N1", "Carmel",
        "Exynos M4", "Exynos M5",
    ),
    9.0: (
        "Cortex-A510", "Cortex-A520", "Cortex-A710", "Cortex-A715", "Cortex-A720", "Cortex-X2", "Cortex-X3",
        "Cortex-X4", "Neoverse-N2", "Neoverse-V2", "Neoverse-V1",
    ),
}  # fmt: skip
_LEVEL = {design: level for level, designs in _LEVELS.items() for design in designs}
# What QEMU 7.2 has, and what stands in for the rest: the nearest model with the same instructions. 32-bit QEMU has no
# model of an ARMv8 core but `max`, which can do all that any of them can.
_MODELS_64 = {
    "Cortex-A35": "cortex-a35",
    "Cortex-A53": "cortex-a53",
    "Cortex-A57": "cortex-a57",
    "Cortex-A72": "cortex-a72",
    "Cortex-A76": "cortex-a76",
    "Neoverse-N1": "neoverse-n1",
}
_MODELS_32 = {
    "Cortex-A7": "cortex-a7",
    "Cortex-A8": "cortex-a8",
    "Cortex-A9": "cortex-a9",
    "Cortex-A15": "cortex-a15",
}
_NEAREST_64 = {8.0: "cortex-a72", 8.2: "cortex-a76", 9.0: "max"}
_NEAREST_32 = {7: "cortex-a9", 7.1: "cortex-a15", 8.0: "max", 8.2: "max", 9.0: "max"}


@dataclass(frozen=True)
class Identity:
    """What a virtual device shows of its processor.

    Attributes:
        abi: of the user space.
        soc: its name, as /proc/cpuinfo and the SoC bus print it.
        qemu_cpu: QEMU's CPU model, for QEMU_CPU.
        exact: QEMU models the very core; else ``qemu_cpu`` is the nearest with the same instructions.
        cpuinfo: the text of /proc/cpuinfo.
        sys: files of /sys by their path inside it.
    """

    abi: ArmAbi
    soc: str
    qemu_cpu: str
    exact: bool
    cpuinfo: str
    sys: Mapping[str, str]

    @property
    def files(self) -> dict[str, str]:
        """What to write into a folder, by the path inside it: ``cpuinfo`` and ``sys/...``."""
        return {"cpuinfo": self.cpuinfo, **{f"sys/{path}": text for path, text in self.sys.items()}}

    def mounts(self, folder: Path) -> list[tuple[str, str]]:
        """Where the files of ``folder`` belong on the device: pairs of a source here and a place there."""
        return [(str(folder / "cpuinfo"), "/proc/cpuinfo"), (str(folder / "sys"), "/sys")]


def identity(
    clusters: Sequence[Cluster], abi: ArmAbi, *, soc: str, model: str | None = None, governor: str = "performance"
) -> Identity:
    """The identity of a SoC.

    Args:
        clusters: in the order of their CPU numbers, as in the inventory.
        abi: armv8, or armv7: what a 32-bit program sees on it.
        soc: its name.
        model: of the whole device, as firmware tells it; a phone's is a property instead.
        governor: of every core.

    Raises:
        BadInput: no clusters, or a core that has no identity (it is no ARM core, or not a known one).
    """
    if not clusters:
        raise BadInput(
            f"{soc} has no clusters in the inventory, so its processor cannot be imitated",
            hint="write its `clusters` (name, core, cores, max_mhz) in an inventory file",
        )
    levels = [_level(arm_design(cluster.core)) for cluster in clusters]
    if abi == "armv8" and min(levels) < 8:
        raise BadInput(f"{soc} is a 32-bit processor: it has no armv8 user space", hint="use its armv7 ABI")
    qemu_cpu, exact = _qemu_cpu(clusters, levels, abi)
    sys = _cpu_files(clusters, governor)
    if model is not None:
        sys |= {"class/dmi/id/sys_vendor": "pocketzoo\n", "class/dmi/id/product_name": f"{model}\n"}
    sys |= {"devices/soc0/machine": f"{soc}\n", "devices/soc0/family": "emulated\n"}
    text = _cpuinfo(clusters, min(levels), abi, soc)
    return Identity(abi=abi, soc=soc, qemu_cpu=qemu_cpu, exact=exact, cpuinfo=text, sys=sys)


def arm_design(core: str) -> str:
    """The ARM design of a core: the one in brackets, else its own name without what tells variants apart."""
    bracket = re.search(r"\(([^)]+)\)", core)
    name = bracket[1] if bracket else core
    return re.sub(r"^(Kryo|Krait)\b.*", r"\1", name).strip()


def core_id(core: str) -> tuple[int, int]:
    """Implementer and part number of a core as the inventory names it.

    Raises:
        BadInput: the table of cores has no such name.
    """
    numbers = {name: ids for ids, name in reversed(CORES.items())}
    series = re.match(r"Kryo (\d)\d\d (Gold|Silver)", core)
    own = next((name for name in numbers if series and name.startswith(f"Kryo {series[1]}xx {series[2]}")), core)
    for name in (own, arm_design(core)):
        if name in numbers:
            return numbers[name]
    from pocketzoo.names import did_you_mean

    raise BadInput(
        f"the core {core!r} is not known, so its identity cannot be shown",
        hint=did_you_mean(core, numbers) or "write the ARM design it derives from in brackets: Name (Cortex-A76)",
    )


def _level(design: str) -> float:
    if design not in _LEVEL:
        raise BadInput(
            f"the core {design!r} is not known, so its instructions cannot be told",
            hint="write the ARM design it derives from in brackets: Name (Cortex-A76)",
        )
    return _LEVEL[design]


def _qemu_cpu(clusters: Sequence[Cluster], levels: Sequence[float], abi: ArmAbi) -> tuple[str, bool]:
    """One model for all cores. The fastest core's, as benchmarks run there, with what the least able core can do."""
    fastest = arm_design(max(clusters, key=lambda cluster: cluster.max_mhz).core)
    models, nearest = (_MODELS_64, _NEAREST_64) if abi == "armv8" else (_MODELS_32, _NEAREST_32)
    if _level(fastest) == min(levels) and fastest in models:
        return models[fastest], True
    return nearest[min(levels)], False


def _cpuinfo(clusters: Sequence[Cluster], level: float, abi: ArmAbi, soc: str) -> str:
    if abi == "armv8":
        features = _V8_0 if level < 8.2 else _V8_2 if level < 9 else _V9
    else:
        features = _V7 if level < 7.1 else _V7_VIRTUAL if level < 8 else _V8_AS_32
    architecture = 8 if level >= 8 else 7
    lines = []
    cpu = 0
    for cluster in clusters:
        implementer, part = core_id(cluster.core)
        for _ in range(cluster.cores):
            lines.append(f"processor\t: {cpu}")
            if abi == "armv7":
                suffix = "v8l" if architecture == 8 else "v7l"
                lines.append(f"model name\t: ARMv{architecture} Processor rev 4 ({suffix})")
            lines += [
                "BogoMIPS\t: 38.40",
                f"Features\t: {features}",
                f"CPU implementer\t: 0x{implementer:02x}",
                f"CPU architecture: {architecture}",
                "CPU variant\t: 0x1",  # r1: revision 0 of the Cortex-A55 has kernels of its own
                f"CPU part\t: 0x{part:03x}",
                "CPU revision\t: 4",
                "",
            ]
            cpu += 1
    return "\n".join([*lines, f"Hardware\t: {soc}", ""])


def _cpu_files(clusters: Sequence[Cluster], governor: str) -> dict[str, str]:
    total = sum(cluster.cores for cluster in clusters)
    everyone = _span(0, total)
    base = "devices/system/cpu"
    files = {f"{base}/{name}": f"{everyone}\n" for name in ("present", "possible", "online")}
    files[f"{base}/kernel_max"] = f"{total - 1}\n"
    first = 0
    for number, cluster in enumerate(clusters):
        siblings = _span(first, cluster.cores)
        mask = ((1 << cluster.cores) - 1) << first
        khz = round(cluster.max_mhz * 1000)
        for core in range(cluster.cores):
            cpu = first + core
            at = f"{base}/cpu{cpu}"
            files |= {
                f"{at}/online": "1\n",
                # Phones' kernels number clusters as packages, and that is how runtimes tell them apart.
                f"{at}/topology/physical_package_id": f"{number}\n",
                f"{at}/topology/cluster_id": f"{number}\n",
                f"{at}/topology/core_id": f"{core}\n",
                f"{at}/topology/core_siblings_list": f"{siblings}\n",
                f"{at}/topology/core_siblings": f"{mask:x}\n",
                f"{at}/topology/thread_siblings_list": f"{cpu}\n",
                f"{at}/topology/thread_siblings": f"{1 << cpu:x}\n",
                f"{at}/cpufreq/cpuinfo_max_freq": f"{khz}\n",
                f"{at}/cpufreq/cpuinfo_min_freq": f"{min(khz, 300000)}\n",
                f"{at}/cpufreq/scaling_max_freq": f"{khz}\n",
                f"{at}/cpufreq/scaling_min_freq": f"{min(khz, 300000)}\n",
                f"{at}/cpufreq/scaling_cur_freq": f"{khz}\n",
                f"{at}/cpufreq/scaling_governor": f"{governor}\n",
                f"{at}/cpufreq/related_cpus": " ".join(str(one) for one in range(first, first + cluster.cores)) + "\n",
            }
        first += cluster.cores
    return files


def _span(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"
