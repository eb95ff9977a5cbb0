"""The devices that are known by name: the shipped file, the lab's while it is up, and a user's file over both."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pydantic import Field
from ruamel.yaml.comments import CommentedMap

from devices.spec import NAME, DeviceEntry, DeviceSpec
from pocketzoo import yamlfile
from pocketzoo.errors import BadInput
from pocketzoo.names import did_you_mean


class _File(yamlfile.Section):
    devices: dict[str, DeviceEntry] = Field(default_factory=dict)


class Inventory:
    """Devices by name, in the order of the files that describe them."""

    def __init__(self, devices: dict[str, DeviceSpec], sources: tuple[Path, ...]) -> None:
        self._devices = devices
        self.sources = sources

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in order."""
        return tuple(self._devices)

    def __iter__(self) -> Iterator[DeviceSpec]:
        return iter(self._devices.values())

    def __len__(self) -> int:
        return len(self._devices)

    def get(self, name: str) -> DeviceSpec:
        """The device of that name.

        Raises:
            BadInput: there is none; names the nearest.
            DeviceMissing: it is a device of the lab, which is not up.
        """
        if name in self._devices:
            return self._devices[name]
        _say_how_to_start(name)
        close = did_you_mean(name, self._devices)
        raise BadInput(
            f"unknown device {name!r}" + (f"; {close}" if close else ""),
            detail=(f"known: {', '.join(self._devices)}",),
            where=", ".join(str(source) for source in self.sources),
            hint="devices list",
        )


def shipped_file() -> Path:
    """The inventory that comes with pocketzoo: beside this file in a wheel, at the top of a checkout.

    Raises:
        BadInput: the installation lacks it.
    """
    here = Path(__file__).resolve().parent
    for path in (here / "inventory.yaml", here.parent / "inventory.yaml"):
        if path.is_file():
            return path
    raise BadInput("the shipped inventory is missing", where=str(here), hint="install pocketzoo again")


def load_inventory(extra: Path | None = None) -> Inventory:
    """Read the shipped inventory, the devices of the lab that run now, and, over both, a user's file.

    A device in ``extra`` that is known already keeps the keys that ``extra`` does not write; inside ``transport`` the
    same holds as long as its kind does not change.

    Raises:
        BadInput: every mistake of a file at once: file, line, key and what is allowed.
    """
    shipped = shipped_file()
    running = _running()
    if extra is None and running is None:
        return Inventory(dict(_shipped(shipped)), (shipped,))
    tree = yamlfile.read(shipped)
    devices = _devices(tree, str(shipped))
    sources = [shipped]
    if running:
        lab, entries = running
        devices |= _devices(entries, str(lab))
        tree["devices"].update(entries["devices"])
        sources.append(lab)
    if extra is None:
        return Inventory(devices, tuple(sources))
    over = yamlfile.read(extra)
    _merge(over, tree)
    return Inventory(devices | _devices(over, str(extra)), (*sources, extra))


@lru_cache(maxsize=1)
def _shipped(path: Path) -> dict[str, DeviceSpec]:
    """The devices of the shipped file, which does not change while a program runs. Parsing takes as long as probing."""
    return _devices(yamlfile.read(path), str(path))


def _running() -> tuple[Path, CommentedMap] | None:
    """The lab's inventory file, less what has ended since it was written; None where nothing of the lab runs."""
    from devices.lab import state

    path = state.folder() / "inventory.yaml"
    if not path.is_file():
        return None
    alive = {one.name for one in state.load().devices if state.alive(one.process)}
    try:
        tree = yamlfile.read(path)
    except BadInput:  # `down` removed it a moment ago
        return None
    entries = tree.get("devices")
    if not isinstance(entries, CommentedMap):
        return None
    for name in [name for name in entries if name not in alive]:
        del entries[name]
    return (path, tree) if entries else None


def _say_how_to_start(name: str) -> None:
    """A name that only the lab has is no unknown name: the lab is not up."""
    from devices.errors import DeviceMissing
    from devices.lab import members

    like = name.removeprefix(members.PREFIX)
    if name in {member.name for member in members.MEMBERS}:
        raise DeviceMissing(f"{name} is not up: it is a device of the lab", device=name, hint="devices lab up")
    if like != name:
        raise DeviceMissing(
            f"{name} is not up: it is a virtual phone with the identity of {like}",
            device=name,
            hint=f"devices lab up --as {like}",
        )


def _devices(tree: CommentedMap, where: str) -> dict[str, DeviceSpec]:
    _check_names(tree, where)
    entries = yamlfile.validate(tree, _File, where).devices
    return {
        name: DeviceSpec(name=name, **{field: getattr(entry, field) for field in DeviceEntry.model_fields})
        for name, entry in entries.items()
    }


def _check_names(tree: CommentedMap, where: str) -> None:
    section = tree.get("devices")
    if not isinstance(section, CommentedMap):
        return
    wrong = tuple(
        f"{where}:{yamlfile.line_of(tree, ('devices', name))}: devices.{name}: not a device name "
        "(allowed: lower-case letters, digits and . _ - inside, at most 64 characters)"
        for name in section
        if not isinstance(name, str) or not NAME.fullmatch(name)
    )
    if wrong:
        raise BadInput("a name that no device can have", detail=wrong, where=where)


def _merge(over: CommentedMap, under: CommentedMap) -> None:
    """Complete the devices of ``over`` from ``under`` in place; keys that ``over`` has keep their line numbers."""
    mine, shipped = over.get("devices"), under["devices"]
    if not isinstance(mine, CommentedMap):
        return
    for name, entry in mine.items():
        if name not in shipped or not isinstance(entry, CommentedMap):
            continue
        way, old = entry.get("transport"), shipped[name]["transport"]
        if isinstance(way, CommentedMap) and way.get("kind", old["kind"]) == old["kind"]:
            _complete(way, old)
        _complete(entry, shipped[name])


def _complete(entry: CommentedMap, from_: CommentedMap) -> None:
    for key, value in from_.items():
        if key not in entry:
            entry[key] = value
