"""Operators as files of their own, against the network they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compressors import architectures
from compressors.counting import file_macs
from compressors.export import export_tflite
from compressors.search.part_files import part_file
from compressors.search.parts import Channels, Geometry, read_parts
from compressors.search.table import OVERHEAD, OVERHEAD_AT
from compressors.steps.prune.structure import trace
from compressors.steps.quantize.layers import nodes_of
from zoo import tflite

SHAPE = (1, 3, 32, 32)


def run(path: Path) -> list[tuple[int, ...]]:
    """The output shapes of a file, run once on noise."""
    from ai_edge_litert.interpreter import Interpreter

    runs = Interpreter(model_path=str(path))
    runs.allocate_tensors()
    for taken in runs.get_input_details():
        runs.set_tensor(taken["index"], np.random.default_rng(0).random(taken["shape"], dtype=np.float32))
    runs.invoke()
    found = [runs.get_tensor(given["index"]) for given in runs.get_output_details()]
    assert all(np.isfinite(each).all() for each in found)
    return [each.shape for each in found]


def test_every_operator_runs_alone_as_it_stands_in_the_network(
    network: torch.nn.Module, float_file: Path, tmp_path: Path
) -> None:
    structure = trace(network, SHAPE)
    nodes = nodes_of(network, SHAPE, float_file)
    found = read_parts(
        float_file,
        {node.outputs[0]: layer for layer, node in nodes.items()},
        {layer: group.name for group in structure.groups for layer in group.outputs},
        {group.name: group.channels for group in structure.groups},
    )
    assert {part.layer for part in found.parts if part.layer} == set(structure.layer_shapes)
    full = {group.name: group.channels for group in structure.groups}
    operators = [op for op in tflite.inspect(float_file).operators if op.name != "RESHAPE"]
    assert [part.geometry.operator for part in found.parts] == [op.name for op in operators]
    total = 0
    for number, (part, operator) in enumerate(zip(found.parts, operators, strict=True)):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(part_file(part.geometry, *part.at(full)))
        (alone,) = tflite.inspect(path).operators
        assert (alone.name, alone.input_shapes[0]) == (operator.name, operator.input_shapes[0])
        assert alone.output_shapes == operator.output_shapes
        assert run(path) == list(operator.output_shapes)
        macs = file_macs(tflite.inspect(path))
        assert macs == part.geometry.macs(*part.at(full))
        total += macs or 0
    assert total == file_macs(tflite.inspect(float_file))


def test_channels_follow_the_groups_that_decide_them(network: torch.nn.Module, float_file: Path) -> None:
    structure = trace(network, SHAPE)
    nodes = nodes_of(network, SHAPE, float_file)
    full = {group.name: group.channels for group in structure.groups}
    found = read_parts(
        float_file,
        {node.outputs[0]: layer for layer, node in nodes.items()},
        {layer: group.name for group in structure.groups for layer in group.outputs},
        full,
    )
    kept = {**full, **{group.name: 8 for group in structure.prunable}}
    expected = structure.layer_channels({group.name: 8 for group in structure.prunable})
    for part in found.parts:
        if part.layer is not None:
            assert part.at(kept) == expected[part.layer], part.layer
    assert sum(part.geometry.macs(*part.at(kept)) for part in found.parts) == structure.macs(kept)


def test_channels_of_a_residual_network_are_those_of_its_pruned_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = architectures.build("resnet20-cifar", width=8, in_channels=1)
    shape, file = (1, 1, 12, 12), tmp_path / "residual.tflite"
    export_tflite(model, 12, file, 1)
    structure = trace(model, shape)
    full = {group.name: group.channels for group in structure.groups}
    found = read_parts(
        file,
        {node.outputs[0]: layer for layer, node in nodes_of(model, shape, file).items()},
        {layer: group.name for group in structure.groups for layer in group.outputs},
        full,
    )
    assert sum(part.geometry.operator == "ADD" for part in found.parts) == 9
    fewer = {group.name: max(1, group.channels // 2) for group in structure.prunable}
    kept = {**full, **fewer}
    assert sum(part.geometry.macs(*part.at(kept)) for part in found.parts) == structure.macs(fewer)
    for number, part in enumerate(found.parts):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(part_file(part.geometry, *part.at(kept)))
        run(path)


def test_a_part_has_the_same_bytes_every_time() -> None:
    assert part_file(OVERHEAD, *OVERHEAD_AT) == part_file(OVERHEAD, *OVERHEAD_AT)


def test_impossible_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="1 channel or more"):
        part_file(OVERHEAD, 0, 8)
    grouped = Geometry(operator="CONV_2D", size=(4, 4), made=(4, 4), kernel=(3, 3), groups=3)
    with pytest.raises(ValueError, match="3 groups do not divide"):
        part_file(grouped, 8, 9)


def test_concatenated_channels_add_up() -> None:
    one, other = Channels(0, (("a", 1),)), Channels(4, (("a", 2), ("b", 1)))
    assert one.plus(other).count({"a": 10, "b": 3}) == 10 + 4 + 20 + 3
    assert other.times(49).count({"a": 1, "b": 1}) == 49 * 7
