"""``--pareto``: the front of the local zoo, for ``zoo list``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pocketzoo import command

if TYPE_CHECKING:
    from zoo.candidate import Candidate
    from zoo.constraints import Constraints


def tell_front(
    axes: str, constraints: Constraints, candidates: Sequence[Candidate], *, inventory: Path | None, as_json: bool
) -> None:
    """Print what nothing beats on all axes: a table, or one JSON document.

    Args:
        axes: as typed, ``latency,top1``.
        constraints: the device that ``latency`` is of, and what an entry must satisfy to be looked at.
        candidates: what there is; entries that no tag points at were replaced and are left out.
        inventory: a file with further devices.
        as_json: print JSON.

    Raises:
        BadInput: no axes, ``latency`` without a device, a device nobody knows.
    """
    from zoo.choice_text import front_record, front_text
    from zoo.choose import check_device, on_this_machine
    from zoo.pareto import pareto, parse_axes

    wanted = parse_axes(axes)
    limits = on_this_machine(constraints, inventory)
    check_device(limits, candidates, inventory)
    tagged = {candidate.name for candidate in candidates if candidate.tags}
    current = [candidate for candidate in candidates if candidate.tags or candidate.name not in tagged]
    front = pareto(current, wanted, constraints=limits)
    if as_json:
        command.print_json(front_record(front))
    else:
        command.tell(front_text(front, limits.device))
