"""What modules take and give while a network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

See = Callable[[str, nn.Module, tuple[Any, ...], Any], None]


@contextmanager
def observing(modules: Iterable[tuple[str, nn.Module]], see: See) -> Iterator[None]:
    """While the block runs, ``see`` is told of each forward of these modules, when it ends.

    Args:
        modules: by name, as ``named_modules`` gives them.
        see: takes name, module, inputs and output.
    """
    handles = []
    try:
        for name, module in modules:

            def told(module: nn.Module, taken: tuple[Any, ...], given: Any, name: str = name) -> None:
                see(name, module, taken, given)

            handles.append(module.register_forward_hook(told))
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_on_zeros(model: nn.Module, shape: Sequence[int]) -> None:
    """One forward on an input of zeros, where the network's weights are; it is left in evaluation mode."""
    model.eval()
    with torch.no_grad():
        model(torch.zeros(*shape, device=next(model.parameters()).device))
