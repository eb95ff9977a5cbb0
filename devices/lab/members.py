"""Which virtual devices there are: two boards, two phones, and a phone for each inventory device to imitate. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from devices.lab.identity import ArmAbi, Identity, identity
from devices.lab.phone_profile import Heating, Profile, Zone
from devices.lab.provision import LITERT_PYTHON
from devices.spec import Cluster, DeviceSpec, is_pattern
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    from devices.inventory import Inventory

PREFIX = "lab:"
TWIN = "-armv7"  # behind a device's name: its 32-bit user space
RESTING_C = 28.0
QEMU_PROPERTY = "ro.boot.qemu.cpu"  # so that the model is stored with every measurement of a phone


@dataclass(frozen=True)
class Member:
    """A virtual device before it runs.

    Attributes:
        expect: what a phone says of itself (getprop), held against it as with any phone.
        like: the inventory device it imitates.
    """

    name: str
    kind: Literal["board", "phone"]
    abi: ArmAbi
    model: str
    soc: str
    clusters: tuple[Cluster, ...]
    cool_below_c: float | None = None
    expect: Mapping[str, str] = field(default_factory=dict)
    like: str | None = None

    @property
    def slug(self) -> str:
        """The name as files have it."""
        return self.name.replace(":", "-")

    def identity(self) -> Identity:
        """What its programs see of its processor."""
        model = identity(self.clusters, self.abi, soc=self.soc).qemu_cpu
        # A board's programs learn the SoC from here, and with it which QEMU model computed what they measured.
        if self.kind == "phone":
            return identity(self.clusters, self.abi, soc=self.soc)
        return identity(self.clusters, self.abi, soc=f"{self.soc} [qemu {model}]", model=self.model)

    def entry(self, transport: Mapping[str, object], tags: Sequence[str] = ()) -> dict[str, object]:
        """Its entry of an inventory file, with further tags."""
        shown = self.identity()
        way = dict(transport)
        if self.abi == "armv8":
            way["python"] = LITERT_PYTHON
        entry: dict[str, Any] = {
            "model": self.model,
            "soc": shown.soc,
            "clusters": [cluster.model_dump() for cluster in self.clusters],
            "abis": [self.abi],
            "transport": way,
            "runner": "python",
            "tags": ["emulated", "lab", self.kind, f"qemu-{shown.qemu_cpu}", *tags],
        }
        if self.cool_below_c is not None:
            entry["cool_below_c"] = self.cool_below_c
        if self.kind == "phone":
            entry["expect"] = {**self.expect, QEMU_PROPERTY: shown.qemu_cpu}
        return entry

    def profile(self, build: str) -> Profile:
        """What a phone pretends to be: it rests at 28 °C, and gets warm without reaching its limit by itself."""
        zones = (Zone("cpu-thermal", RESTING_C), Zone("battery", RESTING_C, heats=False))
        return Profile(properties=self.properties(build), zones=zones, heating=Heating(hot_c=33.0, fall_s=10.0))

    def properties(self, build: str) -> dict[str, str]:
        """What getprop prints on a phone. ``build`` names the root file system."""
        abilist = "arm64-v8a" if self.abi == "armv8" else "armeabi-v7a,armeabi"
        return {
            "ro.board.platform": self.slug,
            "ro.hardware": self.slug,
            "ro.product.brand": "pocketzoo",
            "ro.product.manufacturer": "pocketzoo",
            "ro.product.model": self.model,
            "ro.product.name": self.slug,
            "ro.product.device": self.slug,
            "ro.product.cpu.abi": abilist.split(",", maxsplit=1)[0],
            "ro.product.cpu.abilist": abilist,
            "ro.build.version.release": "13",
            "ro.build.version.sdk": "33",
            "ro.build.type": "userdebug",
            "ro.build.fingerprint": f"pocketzoo/{self.slug}/{self.slug}:13/{build}/1:userdebug/test-keys",
            **self.expect,
            QEMU_PROPERTY: self.identity().qemu_cpu,
        }


def _cluster(name: str, core: str, cores: int, max_mhz: float) -> Cluster:
    return Cluster(name=name, core=core, cores=cores, max_mhz=max_mhz)


MEMBERS: tuple[Member, ...] = (
    Member(
        name="lab-board-armv8",
        kind="board",
        abi="armv8",
        model="virtual board, 64 bit",
        soc="4 x Cortex-A72",
        clusters=(_cluster("all", "Cortex-A72", 4, 1500),),
    ),
    Member(
        name="lab-board-armv7",
        kind="board",
        abi="armv7",
        model="virtual board, 32 bit",
        soc="4 x Cortex-A7",
        clusters=(_cluster("all", "Cortex-A7", 4, 900),),
    ),
    Member(
        name="lab-phone-armv8",
        kind="phone",
        abi="armv8",
        model="virtual phone, 64 bit",
        soc="4 x Cortex-A55 + 4 x Cortex-A76",
        clusters=(_cluster("little", "Cortex-A55", 4, 1800), _cluster("big", "Cortex-A76", 4, 2400)),
        cool_below_c=35,
        expect={"ro.board.platform": "lab-phone-armv8"},
    ),
    Member(
        name="lab-phone-armv7",
        kind="phone",
        abi="armv7",
        model="virtual phone, 32 bit",
        soc="4 x Cortex-A7, phone",
        clusters=(_cluster("all", "Cortex-A7", 4, 1300),),
        cool_below_c=35,
        expect={"ro.board.platform": "lab-phone-armv7"},
    ),
)


def described(name: str, inventory: Inventory) -> DeviceSpec:
    """The inventory device to imitate. ``NAME-armv7`` is what a 32-bit program sees of NAME, unless a device has
    that name itself.

    Raises:
        BadInput: there is none, or it runs no 32-bit programs.
    """
    base = name.removesuffix(TWIN)
    if base == name or name in inventory.names:
        return inventory.get(name)
    spec = inventory.get(base)
    if "armv7" not in spec.abis:
        raise BadInput(f"{base} runs no armv7 programs: {', '.join(spec.abis) or 'no ABI is written'}")
    return spec.model_copy(update={"name": name, "abis": ("armv7",)})


def imitating(spec: DeviceSpec) -> Member:
    """A virtual phone with the identity of an inventory device: armv8 where that has it, else armv7.

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
    asked = {key: values[0] for key, values in spec.expect.items() if "." in key and not is_pattern(values[0])}
    member = Member(
        name=f"{PREFIX}{spec.name}",
        kind="phone",
        abi=abi,
        model=f"virtual {spec.model or spec.name}",
        soc=spec.soc or spec.name,
        clusters=spec.clusters,
        cool_below_c=spec.cool_below_c,
        expect=asked,
        like=spec.name,
    )
    member.identity()  # what cannot be imitated is said before anything starts
    return member
