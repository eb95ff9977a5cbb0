"""Which module of a network an exporter failed on: looked up in the error's own frames, not guessed from its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
INSTALLED = ("site-packages", "dist-packages")
LONGEST = 200  # characters of an operation's arguments and names


def culprit(error: BaseException, model: torch.nn.Module, sample: torch.Tensor) -> tuple[str, ...]:
    """Where an export failed, for the detail of an error.

    Args:
        error: what the exporter raised.
        model: the network that was exported.
        sample: (1, C, H, W) input of it.

    Returns:
        Module (by its name in the network, with its class), operation and source line, as far as they can be told;
        empty where nothing can.
    """
    frames = list(_frames(error))
    node = next((found for frame, _ in reversed(frames) if (found := _node(frame)) is not None), None)
    if node is not None:
        return _of_node(node, model)
    inner = _module(frames, model)
    if inner is not None:
        return inner
    without = _without_lowering(model, sample)
    return _of_node(without, model) if without is not None else ()


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames of an error and of those it came from, the first cause last, outermost first in each."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        trace = at.__traceback__
        while trace is not None:
            yield trace.tb_frame, trace.tb_lineno
            trace = trace.tb_next
        at = at.__cause__ or at.__context__


def _node(frame: FrameType) -> Any | None:
    """The node of an exported graph that a frame works on, where it belongs to a module."""
    from torch.fx import Node

    found = frame.f_locals.get("node")
    return found if isinstance(found, Node) and found.op == "call_function" and _stack(found) else None


def _stack(node: Any) -> list[tuple[str, str]]:
    """(name, class) of the modules a node lies in, outermost first."""
    stack = node.meta.get("nn_module_stack") or {}
    return [
        (str(name), kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}")
        for name, kind in stack.values()
    ]


def _of_node(node: Any, model: torch.nn.Module) -> tuple[str, ...]:
    name, kind = _stack(node)[-1]
    known = dict(model.named_modules())
    while name not in known and "." in name:  # exporters put wrappers of their own around the network
        name = name.partition(".")[2]
    if name not in known:
        name = ""
    kind = type(known[name]).__name__ if name else kind.rpartition(".")[2]
    places = [
        (match["file"], match["line"])
        for match in LINE.finditer(str(node.meta.get("stack_trace") or ""))
        if not any(part in match["file"] for part in INSTALLED)
    ]
    told = [f"in module {_called(name, type(model).__name__)} ({kind}): {str(node.target)[:LONGEST]}"]
    return (*told, *(f"{file}:{line}" for file, line in places[-1:]))


def _module(frames: list[tuple[FrameType, int]], model: torch.nn.Module) -> tuple[str, ...] | None:
    """The innermost module whose forward was running."""
    names = {id(module): name for name, module in model.named_modules()}
    for frame, line in reversed(frames):
        owner = frame.f_locals.get("self")
        if frame.f_code.co_name == "forward" and id(owner) in names:
            name = _called(names[id(owner)], type(model).__name__)
            return (f"in module {name} ({type(owner).__name__})", f"{frame.f_code.co_filename}:{line}")
    return None


def _called(name: str, whole: str) -> str:
    return repr(name) if name else f"{whole}, the network itself"


def _without_lowering(model: torch.nn.Module, sample: torch.Tensor) -> Any | None:
    """The first operation that the .tflite converter neither knows nor can take apart."""
    import torch
    from litert_torch import fx_infra
    from litert_torch.backend import lowerings

    from compressors.quiet import quiet

    with quiet():
        try:
            program = torch.export.export(model.eval(), (sample,))
            apart = program.run_decompositions(fx_infra.decomp.pre_convert_decomp())
        except Exception:  # a help for a message; the export's own error is the one that counts
            return None
        for node in apart.graph.nodes:
            if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload) or not _stack(node):
                continue
            later = node.target in torch.export.default_decompositions() or node.target._can_decompose()
            if not later and lowerings.lookup(node.target) is None:
                return node
    return None
