"""Which virtual boards there are: one of each ABI, and one for each inventory device to imitate. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devices.lab.identity import ArmAbi, Identity, identity
from devices.lab.provision import LITERT_PYTHON
from devices.spec import Cluster, DeviceSpec
from pocketzoo.errors import BadInput

PREFIX = "lab:"


@dataclass(frozen=True)
class Member:
    """A virtual board before it runs. ``like`` is the inventory device whose processor it shows."""

    name: str
    abi: ArmAbi
    model: str
    soc: str
    clusters: tuple[Cluster, ...]
    like: str | None = None

    @property
    def slug(self) -> str:
        """The name as files have it."""
        return self.name.replace(":", "-")

    def identity(self) -> Identity:
        """What its programs see of its processor."""
        model = identity(self.clusters, self.abi, soc=self.soc).qemu_cpu
        # Programs learn the SoC from here, and with it which QEMU model computed what they measured.
        return identity(self.clusters, self.abi, soc=f"{self.soc} [qemu {model}]", model=self.model)

    def entry(self, transport: Mapping[str, object]) -> dict[str, object]:
        """Its entry of an inventory file."""
        shown = self.identity()
        way = dict(transport)
        if self.abi == "armv8":
            way["python"] = LITERT_PYTHON
        return {
            "model": self.model,
            "soc": shown.soc,
            "clusters": [cluster.model_dump() for cluster in self.clusters],
            "abis": [self.abi],
            "transport": way,
            "runner": "python",
            "tags": ["emulated", "lab", f"qemu-{shown.qemu_cpu}"],
        }


def _cluster(name: str, core: str, cores: int, max_mhz: float) -> Cluster:
    return Cluster(name=name, core=core, cores=cores, max_mhz=max_mhz)


MEMBERS: tuple[Member, ...] = (
    Member(
        name="lab-board-armv8",
        abi="armv8",
        model="virtual board, 64 bit",
        soc="4 x Cortex-A72",
        clusters=(_cluster("all", "Cortex-A72", 4, 1500),),
    ),
    Member(
        name="lab-board-armv7",
        abi="armv7",
        model="virtual board, 32 bit",
        soc="4 x Cortex-A7",
        clusters=(_cluster("all", "Cortex-A7", 4, 900),),
    ),
)


def imitating(spec: DeviceSpec) -> Member:
    """A virtual board with the processor identity of an inventory device: armv8 where that has it, else armv7.

    Raises:
        BadInput: it has no ARM processor, or one that is not known.
    """
    abi = next((one for one in ("armv8", "armv7") if one in spec.abis), None)
    if abi is None or not spec.clusters:
        lacks = "no ARM ABI" if abi is None else "no clusters"
        raise BadInput(
            f"{spec.name} cannot be imitated: its inventory entry has {lacks}",
            hint="devices lab up --as snapdragon855   (any ARM device whose clusters are written)",
        )
    member = Member(
        name=f"{PREFIX}{spec.name}",
        abi=abi,
        model=f"virtual board as {spec.model or spec.name}",
        soc=spec.soc or spec.name,
        clusters=spec.clusters,
        like=spec.name,
    )
    member.identity()  # what cannot be imitated is said before anything starts
    return member
