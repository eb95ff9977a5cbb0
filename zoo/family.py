"""Which entries a name may stand for when a need is told with it: the name, its variants, and what was made from them.

    variant  = name { "-" step }
    step     = "quant" | "ema" | "channelwise" | "distil" | "prune" N | "sparse" N
             | N "x" | N "flops" | N "time"                         N: digits, with a fraction in widths and shares
    searched = "amc-" variant                                       as its authors call what their search made

``mobilenetv1`` may stand for mobilenetv1-0.75x-quant and amc-mobilenetv1-0.5flops, not for mobilenetv1-yolov3, which
is a name of its own. An entry whose lineage leads to one of these belongs to the family under whatever name, unless
both tasks are known and differ. Pure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.candidate import Candidate
from zoo.reference import Reference

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_STEP = re.compile(rf"quant|ema|channelwise|distil|(?:prune|sparse)[0-9]{{1,3}}|{_NUMBER}(?:x|flops|time)")
_SEARCHED = "amc-"


@dataclass(frozen=True)
class Family:
    """Entries a name may stand for, and those that it could but for their task or because no tag names them."""

    members: tuple[Candidate, ...]
    other_task: tuple[Candidate, ...] = ()
    untagged: tuple[Candidate, ...] = ()


def is_variant(name: str, base: str) -> bool:
    """Whether a name is the base's own or that of one of its variants."""
    for text in (name, name.removeprefix(_SEARCHED)):
        if text == base:
            return True
        if text.startswith(f"{base}-") and all(_STEP.fullmatch(step) for step in text[len(base) + 1 :].split("-")):
            return True
    return False


def family(wanted: Reference, candidates: Sequence[Candidate]) -> Family:
    """The candidates a reference may stand for.

    With a tag or digest it stands for that entry alone. Without, every entry counts that a tag points at; an entry
    that no tag points at was replaced, unless nothing under its name has a tag.
    """
    if wanted.digest is not None or wanted.tag is not None:
        return Family(
            tuple(
                c
                for c in candidates
                if c.name == wanted.name
                and (c.digest == wanted.digest or (wanted.tag is not None and wanted.tag in c.tags))
            )
        )
    tagged = {c.name for c in candidates if c.tags}
    current = [c for c in candidates if c.tags or c.name not in tagged]
    named = [c for c in candidates if is_variant(c.name, wanted.name)]
    found = _with_descendants(named, candidates, wanted.name)
    tasks = {c.task for c in named if c.name == wanted.name and c.task} or {c.task for c in named if c.task}
    kept: list[Candidate] = []
    other: list[Candidate] = []
    live = {id(c) for c in current}
    for candidate in found:
        if id(candidate) in live:
            fits = candidate.task is None or not tasks or candidate.task in tasks
            (kept if fits else other).append(candidate)
    replaced = [c for c in found if id(c) not in live]
    return Family(tuple(kept), tuple(other), tuple(replaced))


def _with_descendants(named: Sequence[Candidate], candidates: Sequence[Candidate], base: str) -> list[Candidate]:
    """The named ones and all whose chain of parents reaches one of them; a cycle in what manifests say ends it."""
    children: dict[str, list[Candidate]] = defaultdict(list)
    orphans = []
    for candidate in candidates:
        if candidate.parent is not None:
            children[candidate.parent].append(candidate)
            if candidate.parent_name is not None and is_variant(candidate.parent_name, base):
                orphans.append(candidate)
    found: list[Candidate] = []
    seen: set[int] = set()
    stack = [*named, *orphans]
    while stack:
        one = stack.pop()
        if id(one) not in seen:
            seen.add(id(one))
            found.append(one)
            stack += children.get(one.digest, ())
    return found
