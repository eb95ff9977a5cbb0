"""The material as tables and plots look at it: which cell stands at each place, and the order of models. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, cast

import msgspec

from reports.cells import DeviceKey, Held, Material, Setup, cell_id, device_of, marks, setup_of, shown, split_name
from reports.values import Latency, Missing
from zoo.artifact import Artifact
from zoo.measurement import Measurement

T = TypeVar("T")
_FAMILIES = {"ARM": frozenset({"armv7", "armv8"}), "x86": frozenset({"x86", "x86_64"})}


@dataclass(frozen=True)
class View:
    """The material as tables look at it: the cell shown at each place, the devices, a letter for each set-up."""

    material: Material
    best: dict[tuple[str, DeviceKey, str, int], Measurement] = field(init=False)
    devices: tuple[DeviceKey, ...] = field(init=False)
    letters: dict[tuple[DeviceKey, Setup], str] = field(init=False)
    _of_device: dict[DeviceKey, list[Measurement]] = field(init=False, repr=False)
    _by_setup: dict[DeviceKey, dict[Setup, list[Measurement]]] = field(init=False, repr=False)
    _why_empty: dict[tuple[DeviceKey, str], str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        best = shown(self.material)
        real = {place[1] for place, cell in best.items() if cell.provenance == "hardware"}
        # Hardware first: what a reader looks for, and no emulated number stands above it.
        devices = tuple(sorted({place[1] for place in best}, key=lambda d: (d not in real, d)))
        object.__setattr__(self, "best", best)
        object.__setattr__(self, "devices", devices)
        of_device: dict[DeviceKey, list[Measurement]] = {device: [] for device in devices}
        for place, cell in best.items():
            of_device[place[1]].append(cell)
        object.__setattr__(self, "_of_device", of_device)
        letters: dict[tuple[DeviceKey, Setup], str] = {}
        by_setup: dict[DeviceKey, dict[Setup, list[Measurement]]] = {}
        for device in devices:
            found: dict[Setup, list[Measurement]] = {}
            for cell in of_device[device]:
                found.setdefault(setup_of(cell), []).append(cell)
            by_setup[device] = {setup: found[setup] for setup in sorted(found)}
            for number, setup in enumerate(by_setup[device]):
                letters[device, setup] = letter(number) if len(found) > 1 else ""
        object.__setattr__(self, "_by_setup", by_setup)
        object.__setattr__(self, "letters", letters)

    @cached_property
    def _remembered(self) -> dict[object, object]:
        return {}

    @cached_property
    def chosen(self) -> Set[tuple[str, str]]:
        """The (job key, time) of every cell that is shown."""
        return {(cell.job_key, cell.time) for cell in self.best.values()}

    @cached_property
    def not_shown(self) -> tuple[Measurement, ...]:
        """The cells of which another one answers the same question better."""
        chosen = self.chosen
        return tuple(cell for cell in self.material.measurements if (cell.job_key, cell.time) not in chosen)

    def remember(self, name: object, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once: several pages show the same plots."""
        if name not in self._remembered:
            self._remembered[name] = make()
        return cast("T", self._remembered[name])

    @cached_property
    def order(self) -> tuple[Held, ...]:
        """Every entry, see :func:`lineage`."""
        return tuple(lineage(self.material.held))

    @cached_property
    def tagged(self) -> tuple[Held, ...]:
        """The entries that a tag points at, in the same order."""
        return tuple(item for item in self.order if item.tags)

    @cached_property
    def _of_both(self) -> dict[tuple[str, DeviceKey], list[Measurement]]:
        found: dict[tuple[str, DeviceKey], list[Measurement]] = {}
        for (digest, device, _, _), cell in self.best.items():
            found.setdefault((digest, device), []).append(cell)
        return found

    def of(self, digest: str, device: DeviceKey) -> list[Measurement]:
        """The cells shown for an artifact on a device."""
        return self._of_both.get((digest, device), [])

    def says(self, artifact: Artifact) -> str:
        """Everything that a row about an artifact beside its parent is made from, besides what :attr:`frame` tells."""
        found = self._said.get(artifact.digest)
        if found is None:
            digests = (artifact.digest, artifact.parent.digest) if artifact.parent else (artifact.digest,)
            found = self._said[artifact.digest] = " ".join(map(self.material.sign_of, digests))
        return found

    @cached_property
    def _said(self) -> dict[str, str]:
        return {}

    @cached_property
    def frame(self) -> str:
        """A digest of what stands in rows besides their own records: titles, set-ups, why cells are empty."""
        told = []
        for device in self.devices:
            cells = self.cells_of(device)
            abis = {abi for cell in cells for abi in (cell.abi, *cell.device.abis)}
            soc = next((cell.device.soc for cell in cells if cell.device.soc), None)
            told.append((device, self.title(device), sorted(abis), sorted({c.threads_requested for c in cells}), soc))
        letters = [(device, setup, name) for (device, setup), name in self.letters.items()]
        return hashlib.sha256(msgspec.json.encode((told, letters))).hexdigest()[:16]

    def cells_of(self, device: DeviceKey) -> list[Measurement]:
        """The cells shown for a device."""
        return self._of_device.get(device, [])

    def ordered(self, device: DeviceKey) -> list[Measurement]:
        """The cells shown for a device by model, strategy, file, ABI and threads.

        What is sorted by a part of that begins with this list: sorting what is nearly in order takes no time.
        """
        return self.remember(("ordered", device), lambda: sorted(self.cells_of(device), key=_by_model))

    def setups(self, device: DeviceKey) -> dict[Setup, list[Measurement]]:
        """The set-ups of a device in their order, each with the cells that were measured so."""
        return self._by_setup.get(device, {})

    def at(self, digest: str, device: DeviceKey, abi: str, threads: int) -> Measurement | None:
        """The cell shown at one place."""
        return self.best.get((digest, device, abi, threads))

    def title(self, device: DeviceKey) -> str:
        """A device's name, with its fingerprint where two devices share the name."""
        return self._titles[device]

    @cached_property
    def _titles(self) -> dict[DeviceKey, str]:
        alike = Counter(device.name for device in self.devices)
        return {
            device: device.name if alike[device.name] == 1 else f"{device.name} (fingerprint {device.fingerprint[:8]})"
            for device in self.devices
        }

    def slugs(self) -> list[tuple[DeviceKey, str]]:
        """Each device with a piece of file name, unique and plain."""
        named = []
        for device in self.devices:
            slug = "".join(char if char.isascii() and char.isalnum() else "-" for char in device.name.lower())[:60]
            alike = sum(d.name == device.name for d in self.devices) > 1 or slug != device.name
            named.append((device, f"{slug}-{device.fingerprint[:8]}" if alike else slug))
        return named

    def latency(self, cell: Measurement) -> Latency | Missing:
        """A cell as a table shows it."""
        if cell.summary is None:
            why = cell.error or cell.verdict.reason or "no samples"
            lines = why.strip().splitlines() or ["no reason recorded"]
            return Missing(f"failed: {lines[0][:80]}")
        low, high = cell.summary.ci95_ms
        setup = self.letters.get((device_of(cell), setup_of(cell)), "")
        half, centre = (high - low) / 2, cell.summary.centre
        return Latency(cell.summary.median_ms, half, marks(cell), cell_id(cell), setup, centre)

    def latency_at(self, digest: str, device: DeviceKey, abi: str, threads: int) -> Latency | Missing:
        """The latency at one place, or why there is none."""
        cell = self.at(digest, device, abi, threads)
        if cell:
            return self.latency(cell)
        if (device, abi) not in self._why_empty:
            self._why_empty[device, abi] = why_empty(self.cells_of(device), abi)
        return Missing(self._why_empty[device, abi])


def _by_model(cell: Measurement) -> tuple[str, str, str, str, int]:
    return (*split_name(cell.model), cell.artifact_sha256, cell.abi, cell.threads_requested)


def letter(number: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def why_empty(cells: Sequence[Measurement], abi: str) -> str:
    """Why a device has no cell for an ABI: its processor is of another family, or nobody measured it."""
    proven = {proof for cell in cells for proof in cell.device.abis} | {cell.abi for cell in cells}
    return why_empty_by_abis(proven, abi, "not measured")


def why_empty_by_abis(proven: Set[str], abi: str, otherwise: str) -> str:
    """The same by the ABIs that are known to run there; ``otherwise`` where nothing rules it out."""
    families = [name for name, members in _FAMILIES.items() if proven & members]
    wanted = next((name for name, members in _FAMILIES.items() if abi in members), None)
    # One known family that is not the wanted one rules it out; an ABI nobody proved on the right family does not.
    if wanted and len(families) == 1 and wanted not in families:
        return f"impossible: {families[0]} CPU"
    return otherwise


def lineage(held: Sequence[Held]) -> list[Held]:
    """Artifacts with each parent before its children, families by the name of their first ancestor."""
    by_digest: dict[str, Artifact] = {}
    for item in held:
        by_digest.setdefault(item.artifact.digest, item.artifact)

    def key(item: Held) -> tuple[str, int, str, str]:
        root, depth = item.artifact, 0
        # A record can claim any parent, so a circle is possible; no chain is longer than the number of artifacts.
        while root.parent and root.parent.digest in by_digest and depth < len(by_digest):
            root, depth = by_digest[root.parent.digest], depth + 1
        return (split_name(root.name)[0], depth, item.artifact.name, item.artifact.digest)

    return sorted(held, key=key)
