"""Which channels go: by shares or numbers of each group, or by one ranking over all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from compressors.steps.prune.structure import Structure
from pocketzoo.errors import BadInput, WorkFailed

GLOBAL_STEPS = 400  # torch-pruning's iterative_steps in its benchmarks


def choose(
    scores: Mapping[str, Tensor],
    amounts: Mapping[str, float] | Mapping[str, int],
    round_to: int = 1,
    structure: Structure | None = None,
) -> dict[str, list[int]]:
    """The least important channels of each group.

    Args:
        scores: of :func:`importance`.
        amounts: group name -> the share to remove (float, at least 0 and below 1) or the number to keep (int).
        round_to: shares are rounded so that a multiple of this stays, to the nearest, at least one multiple (or all
            channels, where there are fewer); numbers to keep are taken as they are.
        structure: needed where convolutions are grouped.

    Returns:
        Group name -> channels to remove, ascending; equals go by index, the higher first.

    Raises:
        BadInput: a share or number that is not possible.
        WorkFailed: all channels of a group have the same importance, so the criterion chooses nothing.
    """
    chosen: dict[str, list[int]] = {}
    for name, amount in amounts.items():
        if name not in scores:
            raise BadInput(f"no importances for {name!r}", detail=(f"groups: {', '.join(scores)}",))
        score = scores[name]
        multiple = structure[name].multiple if structure is not None else 1
        keep = amount if isinstance(amount, int) else kept_of(len(score), amount, round_to, multiple)
        if not 1 <= keep <= len(score):
            raise BadInput(f"{name} cannot keep {keep} of its {len(score)} channels")
        if keep < len(score):
            chosen[name] = least(name, score, len(score) - keep, multiple)
    return chosen


def kept_of(channels: int, ratio: float, round_to: int = 1, multiple: int = 1) -> int:
    """How many channels stay when a share is removed: the nearest multiple of ``round_to``, at least one of them.

    Raises:
        BadInput: a share below 0, or of 1 and above.
    """
    if not 0 <= ratio < 1:
        raise BadInput(f"a share of {ratio:g} of the channels cannot be removed", hint="from 0 to below 1")
    unit = _unit(channels, round_to, multiple)
    # Half away from zero, so that a ratio means the same for even and odd numbers.
    return min(channels, max(unit, int(channels * (1 - ratio) / unit + 0.5) * unit))


def _unit(channels: int, round_to: int, multiple: int) -> int:
    unit = math.lcm(round_to, multiple)
    return unit if unit <= channels else multiple


def least(name: str, score: Tensor, number: int, multiple: int = 1) -> list[int]:
    """The indices of the ``number`` smallest scores, ascending.

    Raises:
        WorkFailed: all scores are the same.
    """
    lanes = score.view(multiple, -1)[0]
    _refuse_ties(lanes, name)
    # Stable on the reversed order: of equals the one with the higher index goes first.
    places = torch.arange(len(lanes) - 1, -1, -1)
    order = places[torch.argsort(lanes[places], stable=True)][: number // multiple]
    return sorted(int(index) + lane * len(lanes) for index in order for lane in range(multiple))


Scores = Mapping[str, Tensor] | Callable[[Mapping[str, Sequence[int]]], Mapping[str, Tensor]]


def choose_global(
    scores: Scores, structure: Structure, target_macs: int, round_to: int = 1, steps: int = GLOBAL_STEPS
) -> dict[str, list[int]]:
    """One ranking over all groups, stepwise: torch-pruning's ``global_pruning`` with ``iterative_steps``.

    Each step removes the least important of all channels so that ``step / steps`` of them are gone, until the MACs
    are at most the target. No group loses its last channel (its last multiple of ``round_to``).

    Args:
        scores: fixed ones of :func:`importance`, or :meth:`Scorer.scores`, which is asked again after each step.
        structure: of the network.
        target_macs: MACs that may stay.
        round_to: what the numbers of channels that stay are multiples of.
        steps: in how many steps all channels would go; the fewer, the coarser.

    Raises:
        WorkFailed: the target is not reached even with one channel in every group; or all importances are the same.
    """
    return choose_until(scores, structure, lambda kept: structure.macs(kept) <= target_macs, round_to, steps)


def choose_until(
    scores: Scores,
    structure: Structure,
    reached: Callable[[Mapping[str, int]], bool],
    round_to: int = 1,
    steps: int = GLOBAL_STEPS,
    beyond: Callable[[Mapping[str, int]], bool] | None = None,
) -> dict[str, list[int]]:
    """:func:`choose_global` for any target: ``reached`` judges the kept counts.

    ``beyond`` says that too much is gone. Where a whole step would end there, its channels go one by one, and those
    that cost too much at once are passed over for the next in the ranking.
    """
    ranking = _Ranking(structure, round_to)
    if not reached(ranking.smallest):
        raise WorkFailed(
            "the target cannot be reached by removing channels",
            detail=(
                f"with the fewest channels in every group {structure.macs(ranking.smallest) / 1e6:.3g} M of "
                f"{structure.macs({}) / 1e6:.3g} M MACs stay",
            ),
            hint="a smaller target, a smaller round_to, or fewer layers in `keep`",
        )
    ask = scores if callable(scores) else lambda _removed: scores
    first = ask({})
    _refuse_ties(torch.cat([first[name].flatten() for name in ranking.groups]), "the network")
    for step in range(1, steps + 1):
        if reached(ranking.kept()):
            break
        number = ranking.left() - int(ranking.total * (1 - step / steps))
        ranked = ranking.ranked(ask(ranking.removed))
        taken = ranked[: max(0, number)]
        for place in taken:
            ranking.take(place)
        if beyond is None or not beyond(ranking.kept()):
            continue
        for place in reversed(taken):
            ranking.give_back(place)
        for place in ranked:
            ranking.take(place)
            if beyond(ranking.kept()):
                ranking.give_back(place)
            elif reached(ranking.kept()):
                break
        break
    return ranking.chosen()


Place = tuple[float, int, int, str]  # score, the group's number, minus the channel's, the group's name


class _Ranking:
    """The channels of all groups, and which of them are gone. Channels of convolution groups count once."""

    def __init__(self, structure: Structure, round_to: int) -> None:
        self.groups = {group.name: group for group in structure.prunable}
        self.smallest = {n: _unit(group.channels, round_to, group.multiple) for n, group in self.groups.items()}
        self.removed: dict[str, list[int]] = {name: [] for name in self.groups}
        self.total = sum(group.channels // group.multiple for group in self.groups.values())

    def left(self) -> int:
        return self.total - sum(len(gone) // self.groups[name].multiple for name, gone in self.removed.items())

    def kept(self) -> dict[str, int]:
        found = {}
        for name, group in self.groups.items():
            stays, unit = group.channels - len(self.removed[name]), self.smallest[name]
            # What a multiple cannot hold stays, so that no step goes further than its ranking.
            found[name] = min(group.channels, -(-stays // unit) * unit)
        return found

    def ranked(self, scores: Mapping[str, Tensor]) -> list[Place]:
        """What may go, the least important first."""
        places: list[Place] = []
        for order, (name, group) in enumerate(self.groups.items()):
            lanes = scores[name].view(group.multiple, -1)[0].tolist()
            have = set(self.removed[name])
            # A group's last channels are not for the taking: its best ones stay out of the ranking.
            free = sorted((score, -index) for index, score in enumerate(lanes) if index not in have)
            most = max(0, len(free) - self.smallest[name] // group.multiple)
            places += [(score, order, negative, name) for score, negative in free[:most]]
        return sorted(places)

    def take(self, place: Place) -> None:
        self.removed[place[3]] += self._channels(place)

    def give_back(self, place: Place) -> None:
        del self.removed[place[3]][-self.groups[place[3]].multiple :]

    def chosen(self) -> dict[str, list[int]]:
        """Without the channels that rounding gives back: those that were removed last."""
        stays = self.kept()
        found = {name: sorted(gone[: self.groups[name].channels - stays[name]]) for name, gone in self.removed.items()}
        return {name: gone for name, gone in found.items() if gone}

    def _channels(self, place: Place) -> list[int]:
        group = self.groups[place[3]]
        lane = group.channels // group.multiple
        return [-place[2] + lane * number for number in range(group.multiple)]


def _refuse_ties(scores: Tensor, of: str) -> None:
    finite = scores[scores.isfinite()]
    if len(finite) > 1 and bool((finite == finite[0]).all()):
        raise WorkFailed(
            f"all {len(finite)} channels of {of} have the same importance, so the criterion chooses none of them",
            detail=(f"each has {float(finite[0]):.6g}",),
            hint="train the network first, or use criterion: l1 or random",
        )
