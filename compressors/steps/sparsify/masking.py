"""Masks while training: they grow by a schedule (:class:`Growing`), or stay as they are (:class:`Held`).

PocketFlow's rules (learners/weight_sparsification): a dense backup keeps the last value that a weight had while it was
alive; at an update the smallest of the backup are masked, so that a weight that was zero comes back where others have
become smaller than it was; the optimizer's slots are emptied then; between updates masked gradients keep zeros zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compressors.sparsify_section import Schedule
from compressors.steps.sparsify.layers import weight_of
from compressors.steps.sparsify.rules import last_growth, share_done, updates

BACKUP, MASK = "backup.", "mask."


def smallest(values: Tensor, count: int) -> Tensor:
    """A mask of the tensor's shape, False for exactly its ``count`` smallest magnitudes; of equals the first go."""
    mask = torch.ones(values.numel(), dtype=torch.bool, device=values.device)
    mask[values.detach().abs().flatten().argsort(stable=True)[:count]] = False
    return mask.view_as(values)


class Growing:
    """Masks that grow by the schedule to what each layer is to keep.

    Args:
        kept: layer -> weights that stay in the end.
        how: the schedule.
    """

    def __init__(self, kept: Mapping[str, int], how: Schedule) -> None:
        self.kept, self.how = dict(kept), how
        self.steps = 0
        self.backup: dict[str, Tensor] = {}
        self.masks: dict[str, Tensor] = {}

    def begin(self, model: nn.Module, steps: int, state: dict[str, Tensor]) -> None:
        """Take the backup of the dense weights, or go on with that of a checkpoint."""
        self.steps = steps
        for name in self.kept:
            weight = weight_of(model, name).detach()
            saved = state.get(BACKUP + name)
            self.backup[name] = weight.clone() if saved is None else saved.to(weight.device)
            mask = state.get(MASK + name)
            self.masks[name] = (
                torch.ones_like(weight, dtype=torch.bool) if mask is None else mask.to(weight.device).bool()
            )

    def after_backward(self, model: nn.Module) -> None:
        """Mask the gradients."""
        _mask_gradients(model, self.masks)

    def after_step(self, model: nn.Module, optimizer: Optimizer, step: int) -> bool:
        """Choose the masks anew where the schedule says so."""
        how = self.how
        if updates(step, self.steps, how.every, how.end):
            share = share_done(step, self.steps, begin=how.begin, end=how.end, exponent=how.exponent)
            with torch.no_grad():
                for name, kept in self.kept.items():
                    weight = weight_of(model, name)
                    backup = torch.where(self.masks[name], weight, self.backup[name])
                    mask = smallest(backup, round(share * (weight.numel() - kept)))
                    weight.copy_(backup * mask)
                    self.backup[name], self.masks[name] = backup, mask
            optimizer.state.clear()
        return step >= last_growth(self.steps, how.end)

    def state(self) -> dict[str, Tensor]:
        """Backup and masks."""
        return {
            **{BACKUP + name: value for name, value in self.backup.items()},
            **{MASK + name: value.to(torch.uint8) for name, value in self.masks.items()},
        }


class Held:
    """Weights that are 0 stay 0, so that a training after a sparsification does not undo it.

    Args:
        layers: whose zeros are held.
    """

    def __init__(self, layers: list[str]) -> None:
        self.layers = layers
        self.masks: dict[str, Tensor] = {}

    def begin(self, model: nn.Module, steps: int, state: dict[str, Tensor]) -> None:  # noqa: ARG002
        """See which weights are 0."""
        self.masks = {name: weight_of(model, name).detach() != 0 for name in self.layers}
        for name, mask in self.masks.items():
            saved = state.get(MASK + name)
            if saved is not None:  # a weight that trained to 0 by itself is not to be held there
                self.masks[name] = saved.to(mask.device).bool()

    def after_backward(self, model: nn.Module) -> None:
        """Mask the gradients."""
        _mask_gradients(model, self.masks)

    def after_step(self, model: nn.Module, optimizer: Optimizer, step: int) -> bool:  # noqa: ARG002
        """Nothing changes."""
        return True

    def state(self) -> dict[str, Tensor]:
        """The masks."""
        return {MASK + name: value.to(torch.uint8) for name, value in self.masks.items()}


def _mask_gradients(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    for name, mask in masks.items():
        gradient = weight_of(model, name).grad
        if gradient is not None:
            gradient.mul_(mask)
