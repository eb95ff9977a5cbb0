"""A network's candidates: the layers a search walks through, and the accuracy of given counts without fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from compressors.search.budget import Budget, Cost, choices
from compressors.search.course import Course, Layer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compressors.steps.prune.reconstruct import How
    from compressors.steps.prune.structure import Structure


def budget_of(structure: Structure, cost: Cost, target: float, *, lowest: float, round_to: int) -> Budget:
    """What may be kept of each prunable group.

    Args:
        structure: of the network.
        cost: of counts: MACs, parameters, milliseconds.
        target: what may stay of it, in its unit.
        lowest: the smallest share of a group, in 0..1.
        round_to: what counts are multiples of; grouped convolutions may ask for more.
    """
    options = {}
    for group in structure.prunable:
        unit = math.lcm(round_to, group.multiple)
        options[group.name] = choices(group.channels, lowest, unit if unit <= group.channels else group.multiple)
    return Budget(cost, target, options)


def course_of(
    structure: Structure,
    budget: Budget,
    layer_costs: Mapping[str, float],
    *,
    lowest: float,
    round_up: bool,
    last_whole: bool,
) -> Course:
    """The layers in the order of execution.

    A layer that reads several groups (behind a concatenation) is one step for each of them. Depthwise layers count to
    the layer that follows them.

    Args:
        structure: of the network.
        budget: of :func:`budget_of`.
        layer_costs: what each convolution and linear layer costs in the unpruned network, in the budget's unit.
        lowest: the smallest action.
        round_up: actions are rounded up, not to the nearest.
        last_whole: the last layer reads all of its input whatever the budget allows.
    """
    layers: list[Layer] = []
    before = 0.0
    for name, shape in structure.layer_shapes.items():
        cost = before + layer_costs.get(name, 0.0)
        if shape.kind == "depthwise":
            before = cost
            continue
        before = 0.0
        groups = [group.name for group in structure.groups if group.prunable and name in group.inputs]
        size = (*shape.input, 1, 1)
        for number, group in enumerate(groups or [None]):
            layers.append(
                Layer(
                    name=name,
                    kind="linear" if shape.kind == "linear" else "conv",
                    group=group,
                    inputs=shape.inputs,
                    outputs=shape.outputs,
                    height=size[0],
                    width=size[1],
                    stride=shape.stride[0] if shape.stride else 0,
                    kernel=shape.kernel[0] if shape.kernel else 1,
                    weights=shape.outputs * (shape.inputs // shape.groups) * math.prod(shape.kernel),
                    cost=cost if number == 0 else 0.0,
                )
            )
    last = layers[-1].name if layers else None
    whole = frozenset(layer.group for layer in layers if last_whole and layer.name == last and layer.group is not None)
    return Course(tuple(layers), budget, round_up, lowest, whole)


class Candidates:
    """Candidates of one network whose readers are rebuilt from its own inputs, gathered once.

    Args:
        model: the unpruned network; not changed.
        structure: of it.
        how: PocketFlow's LASSO or AMC's magnitudes; see :mod:`compressors.steps.prune.reconstruct`.
        batches: (n, C, H, W) inputs of the network.
        seed: of the places that are looked at.
    """

    def __init__(self, model: nn.Module, structure: Structure, how: How, batches: Iterable[Tensor], seed: int) -> None:
        from compressors.steps.prune.reconstruct import Chooser, Solved, gather, layers_of

        self.model, self.structure = model, structure
        layers = layers_of(model, structure, pointwise_only=how == "magnitude")
        self.moments = gather(model, layers, batches, seed=seed) if layers else {}
        self.chooser = Chooser(model, structure, how, self.moments)
        self._solve = Solved()

    def network(self, removed: Mapping[str, Sequence[int]]) -> nn.Module:
        """The network without some channels, what reads the others rebuilt."""
        from compressors.steps.prune.reconstruct import rebuilt
        from compressors.steps.prune.removal import without

        made = rebuilt(self.model, self.structure, removed, self.moments, self._solve)
        return without(made, self.structure, removed).eval()

    def of(self, counts: Mapping[str, int]) -> nn.Module:
        """The network with these counts."""
        return self.network(self.chooser.removed(counts))


def prune_in_turn(
    model: nn.Module,
    structure: Structure,
    counts: Mapping[str, int],
    batches: Callable[[], Iterable[Tensor]],
    seed: int,
) -> tuple[nn.Module, dict[str, list[int]]]:
    """Prune group after group by LASSO, each time with the inputs that the groups before have left.

    What reads a group is rebuilt towards the unpruned network's outputs, so that a layer makes up for the error of
    those before it, too (He et al., 2017, section 3.2).

    Args:
        model: the unpruned network; not changed.
        structure: of it.
        counts: group -> channels that stay.
        batches: inputs of the network, the same ones each time.
        seed: of the places that are looked at.

    Returns:
        The pruned network, and the channels that went.
    """
    from compressors.steps.prune.reconstruct import Chooser, gather, layers_of, rebuilt
    from compressors.steps.prune.removal import silence
    from compressors.steps.prune.structure import remove

    network, removed = model, dict[str, list[int]]()
    able = layers_of(model, structure, pointwise_only=False)
    for group in structure.groups:
        kept = counts.get(group.name, group.channels)
        if kept >= group.channels:
            continue
        readers = [name for name in group.inputs if name in able]
        seen = silence(network, structure, removed) if removed else network
        moments = gather(seen, readers, batches(), seed=seed, target=model)
        removed |= Chooser(network, structure, "lasso", moments, only=group.name).removed({group.name: kept})
        network = rebuilt(network, structure, removed, moments)
    return remove(network, structure.shape, removed, structure), removed
