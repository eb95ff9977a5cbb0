"""What preparing a runner on a device gives, and the settings a runner has. Records and pure checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.runner import Runner
from pocketzoo.errors import BadInput

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Setting:
    """One ``--option`` of a runner.

    Args:
        name: as it is written before ``=``.
        values: what may stand behind it; where ``pattern`` is given, examples of it.
        default: what holds where it is not given; None where that depends on the cell.
        pattern: a regular expression that the whole value must fit.
    """

    name: str
    values: tuple[str, ...]
    default: str | None = None
    pattern: str | None = None

    def takes(self, value: str) -> bool:
        """Whether the value may be given."""
        return re.fullmatch(self.pattern, value) is not None if self.pattern else value in self.values

    @property
    def says(self) -> str:
        """The setting in a line: ``precision=fp32|fp16`` or ``batch=1, batch=8, ...``."""
        if self.pattern:
            return ", ".join(f"{self.name}={value}" for value in self.values) + ", ..."
        return f"{self.name}={'|'.join(self.values)}"


@dataclass(frozen=True)
class Prepared:
    """A device on which a runner can start.

    Args:
        runners: a runner for each ABI it can measure as, the preferred one first.
        placed: SHA-256 of what a runner needs -> its path on the device.
        formats: the artifact formats these runners take.
        settings: the options they have.
        missing: ABI -> why there is no runner for it.
        unpinned: why cells cannot be pinned to CPUs; None where they can.
        default_abis: what is measured where the request names no ABI; empty: all of ``runners``.
    """

    runners: Mapping[str, Runner]
    placed: Mapping[str, str]
    formats: tuple[str, ...] = ("tflite",)
    settings: tuple[Setting, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    unpinned: str | None = None
    default_abis: tuple[str, ...] = ()


def parse_options(pairs: Sequence[str]) -> Options:
    """``name=value`` pairs as written on a command line, sorted by name.

    Raises:
        BadInput: not of that form, or a name twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise BadInput(f"not a setting: {pair!r}", hint="write name=value, e.g. --option precision=fp16")
        if name in found:
            raise BadInput(f"the setting {name} is given twice", hint="give each --option once")
        found[name] = value
    return tuple(sorted(found.items()))


def checked_options(runner: str, settings: Sequence[Setting], options: Options) -> Options:
    """The options a runner will be given: known ones, without those that say what holds anyway.

    Raises:
        BadInput: a setting the runner does not have, or a value it does not take.
    """
    known = {setting.name: setting for setting in settings}
    allowed = tuple(setting.says for setting in settings) or (f"the {runner} runner has no settings",)
    for name, value in options:
        if name not in known:
            raise BadInput(
                f"the {runner} runner has no setting {name!r}", detail=allowed, hint="leave that --option out"
            )
        if not known[name].takes(value):
            raise BadInput(
                f"{name} does not take {value!r}", detail=(known[name].says,), hint=f"--option {known[name].says}"
            )
    return tuple(sorted((name, value) for name, value in options if known[name].default != value))
