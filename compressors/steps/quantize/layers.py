"""Quantization that has to know layers by their names in the network: gates, and layers a recipe keeps in float."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.sections import Quantize
from compressors.steps.quantize import graph
from compressors.steps.quantize.check import check
from compressors.steps.quantize.gate import gated, told
from compressors.steps.quantize.post_training import calibrate, make
from pocketzoo.errors import BadInput
from pocketzoo.names import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from compressors.cache import Finished
    from compressors.stages import Stages

PROBES = 32  # inputs that sensitivity is measured on


def nodes_of(model: torch.nn.Module, shape: tuple[int, ...], file: Path) -> dict[str, graph.Node]:
    """Layer name -> its operator in the network's float file."""
    import torch

    from compressors.steps.quantize.aware import fold, layers

    copied = copy.deepcopy(model)
    found = layers(copied, torch.zeros(shape))
    fold(copied, found)  # as the converter does, so that the weights are those of the file
    weights = {layer.name: copied.get_submodule(layer.name).get_parameter("weight").detach().numpy() for layer in found}
    return graph.match(graph.read(file), weights, file)


def nodes_of_file(file: Path) -> dict[str, graph.Node]:
    """Layer name -> its operator, where there is no network to tell the names: those of the outputs in the file."""
    return {node.outputs[0]: node for node in graph.read(file).weighted}


def quantize_gated(stages: Stages, built: Finished | None, source: Path, target: Path, step: Quantize) -> str:
    """Quantize with some layers in float: those the recipe names, or as many as the gate needs.

    Returns:
        What to note.

    Raises:
        BadInput: a layer that the network does not have.
        WorkFailed: the gate cannot hold.
    """
    nodes = nodes_of_file(source) if built is None else nodes_of(stages.model(built), stages.shape, source)
    for name in step.keep_float:
        if name not in nodes:
            close = did_you_mean(name, nodes)
            raise BadInput(
                f"steps.keep_float names a layer that {stages.recipe.model.architecture} does not have: {name!r}",
                detail=(close or f"layers: {', '.join(nodes)}"[:300],),
            )
    ranges = None
    if step.scheme.startswith("static"):
        ranges = calibrate(source, step, stages.calibration.images(), stages.progress.advance)
    if step.max_drop is None:
        make(source, target, step, ranges, keep_float=[nodes[name].outputs[0] for name in step.keep_float])
        check(source, target, step, kept=len(step.keep_float))
        return f"in float, as the recipe says: {', '.join(step.keep_float)}"
    found = gated(
        source,
        target,
        step,
        ranges,
        nodes,
        lambda file: held_out_metric(stages, file),
        probes(stages),
        stages.progress.say,
        metric=stages.task.metric,
    )
    return told(found, len(nodes))


def held_out_metric(stages: Stages, file: Path) -> float:
    """A file's metric in percent (top-1, mIoU, mAP) on the held-out part of the training split."""
    held_out = stages.inputs.held_out
    if held_out is None:
        raise BadInput("no held-out images to judge a gate on", hint="give the recipe a data.training section")
    return stages.task.judge(file, held_out, stages.recipe.preprocessing.record(), lambda: None)


def probes(stages: Stages) -> list[NDArray[np.float32]]:
    """Held-out images that sensitivity is measured on."""
    return list(islice(_held_out(stages), PROBES))


def _held_out(stages: Stages) -> Iterator[NDArray[np.float32]]:
    from compressors.data.preprocessing import centre

    held_out, how = stages.inputs.held_out, stages.recipe.preprocessing.record()
    if held_out is not None:
        for index in range(len(held_out.labels)):
            yield centre(held_out.get(index), how)
