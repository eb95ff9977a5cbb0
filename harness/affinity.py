"""Which CPUs ``big``, ``f0`` or ``4-7`` mean on a device. Pure."""

from __future__ import annotations

import re

from devices.facts import DeviceFacts
from harness.plan import MOST_THREADS, parse_cpus
from pocketzoo.errors import BadInput

WORDS = ("big", "little", "all")
_MASK = re.compile(r"0x[0-9a-f]+|[0-9a-f]*[a-f][0-9a-f]*", re.IGNORECASE)
_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")


def check_affinity(text: str) -> str:
    """An affinity as a person wrote it, once it is known to mean something.

    ``big``, ``little``, ``all``; a hexadecimal mask, which begins with 0x or holds a letter (``f0``, ``0x30``); or a
    list of CPUs (``4-7``, ``0,2``).

    Raises:
        BadInput: none of these.
    """
    text = text.strip()
    if text in WORDS:
        return text
    if _MASK.fullmatch(text):
        if 0 < int(text, 16) < 1 << MOST_THREADS:
            return text
    elif _LIST.fullmatch(text):
        parse_cpus(text)
        return text
    raise BadInput(
        f"not an affinity: {text!r}",
        hint="write big, little, all, a mask such as f0 or 0x30, or a list of CPUs such as 4-7 or 0,2",
    )


def resolve(text: str | None, facts: DeviceFacts) -> tuple[int, ...] | str | None:
    """The CPUs an affinity means on a device.

    ``little`` are the cores of the clusters with the lowest top frequency, ``big`` are all others: on a SoC with three
    kinds of cores that is the mask the field calls big (f0 on 4+3+1).

    Args:
        text: from :func:`check_affinity`; None leaves the placing to the kernel.
        facts: the device as probed.

    Returns:
        CPU numbers in order; None where the kernel places; text where it cannot be told, with the reason.
    """
    if text is None:
        return None
    if text == "all":
        if facts.cores is None:
            return f"how many cores {facts.name} has is not known"
        return tuple(range(facts.cores))
    if text in WORDS:
        return _of_kind(text, facts)
    if _MASK.fullmatch(text):
        mask = int(text, 16)
        cpus = tuple(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)
    else:
        cpus = parse_cpus(text)
    if facts.cores is not None and cpus[-1] >= facts.cores:
        return f"{facts.name} has CPUs 0 to {facts.cores - 1}"
    return cpus


def _of_kind(word: str, facts: DeviceFacts) -> tuple[int, ...] | str:
    speeds = {cluster.max_mhz for cluster in facts.clusters}
    if not facts.clusters or None in speeds:
        why = facts.unknown.get("clusters", "the top frequencies of its cores are not known")
        return f"{facts.name} does not say which of its cores are {word} ({why}); name them, e.g. --affinity 0,1"
    lowest = min(speed for speed in speeds if speed is not None)
    if len(speeds) == 1:
        return f"the cores of {facts.name} are all alike ({lowest:g} MHz); use --affinity all"
    wanted = [c for c in facts.clusters if (c.max_mhz == lowest) == (word == "little")]
    return tuple(sorted(cpu for cluster in wanted for cpu in cluster.cpus))
