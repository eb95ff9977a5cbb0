"""What somebody asked to be measured, as a record that is stored with its campaign and can be taken up again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from harness.cooling import LIMIT_S
from harness.job import Protocol
from harness.plan import THREADS
from harness.schedule import MOST_REPEATS
from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput
from zoo.measurement import Metric

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%")


class Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cells that are measured alike: every model on every device under every ABI with every number of threads.

    ``until`` is a share (0.01 is 1%), temperatures are in degrees Celsius, ``cool_limit_s`` in seconds. ``models`` are
    references of the zoo; empty means every model it holds.
    """

    devices: tuple[str, ...]
    models: tuple[str, ...] = ()
    abis: tuple[str, ...] = ()
    threads: tuple[int, ...] = THREADS
    affinity: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    protocol: Protocol = Protocol()
    until: Annotated[float, Meta(gt=0, lt=1)] | None = None
    max_repeats: Annotated[int, Meta(ge=1, le=1000)] = MOST_REPEATS
    cool_below_c: float | None = None
    cool_limit_s: float = LIMIT_S


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Groups of cells, and what holds for all of them.

    ``seed`` is of the order in which repeats run; ``retry`` counts further rounds for a cell that is not valid;
    ``deadline_s`` ends one repeat; ``inventory`` is a file. ``farm`` is the scheduler of the farm that measures it.
    """

    groups: tuple[Group, ...]
    seed: int = 0
    retry: Annotated[int, Meta(ge=0, le=10)] = 1
    fresh: bool = False
    publish: bool = False
    deadline_s: float | None = None
    inventory: str | None = None
    metric: Metric = "latency"
    farm: str | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that is named, once, in order."""
        return tuple(dict.fromkeys(name for group in self.groups for name in group.devices))


decodable(Group, Request)


def parse_share(text: str, option: str) -> float:
    """``1%`` as 0.01.

    Raises:
        BadInput: not a percentage greater than 0 and below 100.
    """
    match = _PERCENT.fullmatch(text.strip())
    value = float(match[1]) / 100 if match else 0.0
    if not 0 < value < 1:
        raise BadInput(f"{option} takes a percentage, not {text!r}", hint=f"for example {option} 1%")
    return value


def check_counts(protocol_of: Sequence[tuple[str, int, int, int]]) -> None:
    """Refuse a number outside of its range, by the option's name.

    Args:
        protocol_of: (name, value, least, most).

    Raises:
        BadInput: the first that is out of range.
    """
    for name, value, least, most in protocol_of:
        if not least <= value <= most:
            raise BadInput(f"--{name} takes {least} to {most}, not {value}")
