"""Where each page of the site lies, and what it is called: plain file names, whatever the records are called. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from reports.cells import CELL_ID, DeviceKey, cell_id
from reports.folder import key_of
from reports.view import View
from zoo.measurement import Measurement

_PLAIN = re.compile(r"[^a-z0-9.]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")
LONGEST = 80  # characters of a name in a file name


def slug(text: str) -> str:
    """A piece of file name: lower case letters, digits, dots and dashes; never empty, never a hidden file."""
    return _PLAIN.sub("-", text.lower()).strip("-.")[:LONGEST].strip("-.") or "unnamed"


@dataclass(frozen=True)
class Places:
    """The address of every page, from the top of the site.

    ``models`` by digest and ``cells`` by (job key, time); ``shown`` leads from a cell's id to the page of the
    measurement that the tables show.
    """

    models: Mapping[str, str]
    devices: Mapping[DeviceKey, str]
    cells: Mapping[tuple[str, str], str]
    shown: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        """A digest of the address of every model."""
        return key_of(self.models)

    @cached_property
    def odd(self) -> str:
        """A digest of the addresses that do not follow from the ids of their cells; there is hardly ever one."""
        return key_of({cell: at for cell, at in self.shown.items() if at != f"measurements/{cell[:2]}/{cell}.html"})

    def cell(self, cell: Measurement) -> str:
        """The page of a measurement."""
        return self.cells[cell.job_key, cell.time]


def places(view: View) -> Places:
    """Give every model, device and measurement its page.

    Two names that look alike in a file name stay apart by the start of a digest; two measurements of one cell by the
    number of the earlier one, oldest first.
    """
    taken: set[str] = set()
    models = {
        digest: _free("models/", slug(held.artifact.name), digest, taken)
        for digest, held in sorted(view.material.by_digest.items(), key=lambda item: (item[1].artifact.name, item[0]))
    }
    devices = {
        device: _free("devices/", slug(device.name), device.fingerprint, taken, always=_shared(device, view.devices))
        for device in view.devices
    }
    chosen = view.chosen
    cells: dict[tuple[str, str], str] = {}
    shown: dict[str, str] = {}
    for key, rounds in _by_key(view.material.measurements).items():
        # Nearly always: one measurement of a key, and a key that is a digest.
        cell_id_ = key[:CELL_ID]
        if len(rounds) == 1 and _DIGEST.fullmatch(key):
            address = f"measurements/{key[:2]}/{cell_id_}.html"
            if address not in taken:
                taken.add(address)
                cells[key, rounds[0].time] = shown[cell_id_] = address
                continue
        # The one that tables show has the plain address, so that a link to a cell stays good when it is measured again.
        first = max(rounds, key=lambda cell: ((cell.job_key, cell.time) in chosen, cell.time))
        others = [cell for cell in rounds if cell is not first]
        folder = f"measurements/{slug(key)[:2]}/"
        cells[key, first.time] = _free(folder, slug(cell_id(first)), key, taken)
        shown[cell_id(first)] = cells[key, first.time]
        for number, cell in enumerate(others, 1):
            cells[key, cell.time] = _free(folder, f"{slug(cell_id(cell))}-earlier-{number}", key, taken)
    return Places(models, devices, cells, shown)


def _by_key(measurements: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for cell in measurements:  # by key, then by time
        found.setdefault(cell.job_key, []).append(cell)
    return found


def _shared(device: DeviceKey, devices: Iterable[DeviceKey]) -> bool:
    return sum(slug(other.name) == slug(device.name) for other in devices) > 1


def _free(folder: str, name: str, digest: str, taken: set[str], *, always: bool = False) -> str:
    """An address nobody has: the name, then with more and more of the digest."""
    for length in (0, 8, 16, 64):
        if always and not length:
            continue
        address = f"{folder}{name}{f'-{slug(digest)[:length]}' if length else ''}.html"
        if address not in taken:
            taken.add(address)
            return address
    raise ValueError(f"two pages for {folder}{name} {digest}")


def relative(address: str, page: str) -> str:
    """An address as a page links to it: both from the top of the site. Empty stays empty."""
    return "../" * page.count("/") + address if address else ""
