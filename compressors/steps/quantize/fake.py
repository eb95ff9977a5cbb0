"""Fake quantization: values are rounded as the deployed file will round them, gradients pass straight through.

abs_max schemes (PaddleSlim): with B = 127 and scale s, ``xq = round(clip(x, -s, s) * B / s) * s / B``.
    abs_max                   s = max|x| of the tensor, of each batch anew, also at inference
    channel_wise_abs_max      s = max|w| of each output channel
    moving_average_abs_max    state = r * state + 1, accum = r * accum + max|x|, s = accum / state; r = 0.9, both begin
                              at 1; at inference the learnt s

min_max (PocketFlow): ``Q(x) = a * round((2^k - 1) * (x - b) / a) / (2^k - 1) + b`` with range [b, b + a], which always
holds 0, and for activations is moved by less than half a step so that 0 is one of its values, as integer arithmetic
needs (Jacob et al., 2018, arXiv:1712.05877, section 3).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

LEVELS = 127  # B
RATE = 0.9  # r
SMALLEST = 1e-8  # a tensor of zeros has a scale, too


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """The value of ``rounded`` with the gradient of ``x``."""
    return x + (rounded - x).detach()


def abs_max(x: Tensor, scale: Tensor) -> Tensor:
    """Symmetric 8-bit rounding; ``scale`` is s, broadcastable to ``x``."""
    s = scale.clamp_min(SMALLEST)
    return straight_through(x, torch.clamp(x, -s, s).mul(LEVELS / s).round().mul(s / LEVELS))


def min_max(x: Tensor, low: Tensor, high: Tensor, bits: int, *, nudge: bool) -> Tensor:
    """Uniform rounding to 2^bits values of [low, high]."""
    steps = 2**bits - 1
    b, top = low.clamp_max(0), high.clamp_min(0)
    step = ((top - b) / steps).clamp_min(SMALLEST)
    if nudge:
        b = (b / step).round() * step
    return straight_through(x, ((x - b) / step).round().clamp(0, steps) * step + b)


class FakeActivation(nn.Module):
    """Rounds a layer's input. ``accum_*`` and ``state`` learn its range; they are buffers, so checkpoints have them."""

    accum_low: Tensor
    accum_high: Tensor
    state: Tensor

    def __init__(self, kind: str, bits: int) -> None:
        super().__init__()
        self.kind, self.bits = kind, bits
        # moving_average_abs_max begins with accum = state = 1 (PaddleSlim); min_max with nothing seen.
        begin = 1.0 if kind == "moving_average_abs_max" else 0.0
        self.register_buffer("accum_low", torch.tensor(-begin))
        self.register_buffer("accum_high", torch.tensor(begin))
        self.register_buffer("state", torch.tensor(begin))

    @property
    def range(self) -> tuple[float, float]:
        """The learnt range: (-s, s), or (low, high) with 0 in it."""
        state = max(float(self.state), SMALLEST)
        return min(0.0, float(self.accum_low) / state), max(0.0, float(self.accum_high) / state)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if self.kind == "abs_max":
            return abs_max(x, x.detach().abs().max())
        if self.training:
            self._observe(x.detach())
        state = self.state.clamp_min(SMALLEST)
        if self.kind == "moving_average_abs_max":
            return abs_max(x, self.accum_high / state)
        return min_max(x, self.accum_low / state, self.accum_high / state, self.bits, nudge=True)

    def _observe(self, x: Tensor) -> None:
        if self.kind == "moving_average_abs_max":
            high = x.abs().max()
            low = -high
        else:
            low, high = torch.aminmax(x)
        self.state.mul_(RATE).add_(1)
        self.accum_low.mul_(RATE).add_(low)
        self.accum_high.mul_(RATE).add_(high)


def fake_weight(weight: Tensor, kind: str, bits: int, axis: int) -> Tensor:
    """A rounded weight.

    Args:
        weight: of a convolution or linear layer.
        kind: ``abs_max``, ``channel_wise_abs_max`` or ``min_max``.
        bits: of ``min_max``.
        axis: of the output channels: 0, for transposed convolutions 1.
    """
    fixed = weight.detach()
    if kind == "min_max":
        low, high = torch.aminmax(fixed)
        return min_max(weight, low, high, bits, nudge=False)
    if kind == "abs_max":
        return abs_max(weight, fixed.abs().max())
    others = [dimension for dimension in range(weight.dim()) if dimension != axis]
    return abs_max(weight, fixed.abs().amax(others, keepdim=True))


class FakeQuantized(nn.Module):
    """A layer whose input and weight are rounded. ``layer`` keeps the float weights that are trained; bias stays.

    With the batch norm behind a convolution, what is rounded is the folded weight, as the file will have it:
    ``w * gamma / sqrt(running variance)``; the factor is taken out again before the batch norm, which goes on working
    on its batch (Krishnamoorthi, 2018, arXiv:1806.08342, section 3.2.2, as torch's ConvBn2d does it).
    """

    alive: Tensor | None

    def __init__(self, layer: nn.Module, norm: nn.Module | None, weights: str, activations: str, bits: int) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm
        self.input = FakeActivation(activations, bits)
        self.weights, self.bits = weights, bits
        self.axis = 1 if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)) else 0
        self.register_buffer("alive", self._alive())

    def _alive(self) -> Tensor | None:
        """1 for each output channel that varies, 0 for dead ones; None without batch norm.

        A channel whose variance is below the norm's own epsilon is a constant. Folding would divide its weights by
        nearly nothing, and that one channel would take the range of a whole tensor (337 where the median is 0.24, in a
        depthwise layer of a network trained on Fashion-MNIST); its weights are 0 from here on.
        """
        if self.norm is None:
            return None
        norm: Any = self.norm
        alive: Tensor = (norm.running_var >= norm.eps).to(norm.running_var.dtype)
        with torch.no_grad():
            bias: Any = self.layer.bias
            constant = torch.zeros_like(norm.running_mean) if bias is None else bias
            norm.running_mean.copy_(torch.where(alive > 0, norm.running_mean, constant))
            norm.running_var.copy_(torch.where(alive > 0, norm.running_var, torch.ones_like(alive)))
        return alive

    @property
    def dead(self) -> int:
        """How many output channels are constants."""
        return 0 if self.alive is None else int((self.alive == 0).sum())

    def _weight(self) -> Tensor:
        weight: Tensor = self.layer.get_parameter("weight")
        return weight if self.alive is None else weight * _along(self.alive, weight.dim(), self.axis)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer (and its batch norm) computes, on rounded values."""
        layer: Any = self.layer
        weight = self._weight()
        factor = self._factor()
        if factor is not None:
            weight = weight * _along(factor, weight.dim(), self.axis)
        rounded = fake_weight(weight, self.weights, self.bits, self.axis)
        taken = self.input(x)
        if factor is None or self.norm is None:
            result: Tensor = torch.func.functional_call(self.layer, {"weight": rounded}, (taken,))
            return result
        bias: Tensor | None = layer.bias
        without = {"weight": rounded} if bias is None else {"weight": rounded, "bias": torch.zeros_like(bias)}
        out = torch.func.functional_call(self.layer, without, (taken,)) / _along(factor, x.dim(), 1)
        if bias is not None:
            out = out + _along(bias, x.dim(), 1)
        normed: Tensor = self.norm(out)
        return normed

    def _factor(self) -> Tensor | None:
        if self.norm is None:
            return None
        norm: Any = self.norm
        # A constant of the step: it cancels but for rounding errors, and their gradient through 1/factor explodes where
        # a channel is nearly dead.
        factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
        # A channel that batch norm switched off would be divided by 0.
        return torch.where(factor.abs() < SMALLEST, SMALLEST, factor)

    def deployed(self) -> nn.Module:
        """The plain layer for export, batch norm folded in. Weights lie on the trained grid where the file's own is
        another."""
        layer = self.layer
        if self.norm is not None:
            norm: Any = self.norm.eval()
            with torch.no_grad():
                self.layer.get_parameter("weight").copy_(self._weight())
            convolution: Any = self.layer.eval()
            layer = fuse_conv_bn_eval(convolution, norm, transpose=self.axis == 1)
        if self.weights == "min_max":
            with torch.no_grad():
                weight = layer.get_parameter("weight")
                weight.copy_(fake_weight(weight, self.weights, self.bits, self.axis))
        return layer


def _along(values: Tensor, dimensions: int, axis: int) -> Tensor:
    """(C,) as a tensor of ``dimensions`` that broadcasts along ``axis``."""
    shape = [1] * dimensions
    shape[axis] = -1
    return values.reshape(shape)
