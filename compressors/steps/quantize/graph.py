"""What quantization has to know of a .tflite file: operators in order, tensors by name, constants, scales.

For files this program converted itself; foreign files are looked at with :mod:`zoo.tflite`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketzoo.errors import WorkFailed
from zoo.artifact import Quantization

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
# Their output holds the same values as their input, so both have one scale.
SAME_VALUES = ("RESHAPE", "MAX_POOL_2D", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "PAD", "PADV2", "QUANTIZE", "SLICE")
# Their output need not hold the same values, but the quantizer gives it its input's scale all the same.
ONE_SCALE = (*SAME_VALUES, "AVERAGE_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")


@dataclass(frozen=True)
class Tensor:
    """A tensor: name, shape, dtype, its constant value (None where it is computed), its scales."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: NDArray[np.generic] | None
    quantization: Quantization | None


@dataclass(frozen=True)
class Node:
    """An operator and the names of what it reads and writes; weighted ones read (input, weight, bias)."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A file's first graph, operators in order of execution."""

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]

    @cached_property
    def weighted(self) -> tuple[Node, ...]:
        """The operators that hold weights."""
        return tuple(node for node in self.nodes if node.operator in WEIGHTED)

    @cached_property
    def producers(self) -> dict[str, Node]:
        """Tensor name -> the operator that computes it."""
        return {output: node for node in self.nodes for output in node.outputs}


def parts(node: Node) -> tuple[str, str]:
    """The names of a weighted operator's input and weight."""
    # TRANSPOSE_CONV reads (output shape, weight, input).
    return (node.inputs[2], node.inputs[1]) if node.operator == "TRANSPOSE_CONV" else (node.inputs[0], node.inputs[1])


def read(path: Path) -> Graph:
    """Read a file this program made.

    Raises:
        WorkFailed: two tensors of one name; ranges are given by name, so they could not be told apart.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = path.read_bytes()
    model: Any = schema.Model.GetRootAs(data, 0)
    operators = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    dtypes = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    graph = model.Subgraphs(0)
    tensors: dict[str, Tensor] = {}
    names: list[str] = []
    for index in range(graph.TensorsLength()):
        tensor = _tensor(model, graph.Tensors(index), dtypes)
        if tensor.name in tensors:
            raise WorkFailed(f"two tensors of the converted file are called {tensor.name[:120]!r}", where=str(path))
        tensors[tensor.name] = tensor
        names.append(tensor.name)
    nodes = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        nodes.append(
            Node(
                operators[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())],
                tuple(names[operator.Inputs(i)] for i in range(operator.InputsLength()) if operator.Inputs(i) >= 0),
                tuple(names[operator.Outputs(i)] for i in range(operator.OutputsLength())),
            )
        )
    return Graph(tuple(nodes), tensors)


def _tensor(model: Any, found: Any, dtypes: dict[int, str]) -> Tensor:
    shape = tuple(int(found.Shape(i)) for i in range(found.ShapeLength()))
    dtype = dtypes[found.Type()]
    raw = model.Buffers(found.Buffer()).DataAsNumpy()
    constant = None
    if isinstance(raw, np.ndarray) and raw.size and dtype in ("float32", "int8", "int16", "int32", "int64"):
        constant = raw.view(dtype).reshape(shape)
    q = found.Quantization()
    quantization = None
    if q is not None and q.ScaleLength():
        scales = tuple(float(q.Scale(i)) for i in range(q.ScaleLength()))
        zeros = tuple(int(q.ZeroPoint(i)) for i in range(q.ZeroPointLength()))
        quantization = Quantization(
            scales=scales, zero_points=zeros, axis=int(q.QuantizedDimension()) if len(scales) > 1 else None
        )
    return Tensor(found.Name().decode("utf-8", "replace"), shape, dtype, constant, quantization)


def match(graph: Graph, weights: Mapping[str, NDArray[np.float32]], where: Path) -> dict[str, Node]:
    """Which operator of a float file computes which layer, told by the weights themselves.

    The converter neither keeps the modules' names for every tensor nor promises an order; it does keep the numbers.

    Args:
        graph: of the float file.
        weights: layer -> its weight as torch has it: (out, in/groups, H, W), or (out, in) of a linear layer.
        where: the file, for errors.

    Raises:
        WorkFailed: a layer whose weights are in the file never or several times.
    """
    found: dict[str, Node] = {}
    for name, weight in weights.items():
        forms = _forms(weight)
        same = []
        for node in graph.weighted:
            constant = graph.tensors[parts(node)[1]].constant
            if constant is not None and any(_same(constant, form) for form in forms):
                same.append(node)
        if len(same) != 1:
            raise WorkFailed(
                f"cannot tell which operator of the file computes layer {name!r}: {len(same)} have its weights",
                where=str(where),
                hint="a layer that is not used, or two with the same weights; remove it, or train a little longer",
            )
        found[name] = same[0]
    return found


def _same(constant: NDArray[np.generic], weight: NDArray[np.float32]) -> bool:
    # The converter folds batch norm in an order of its own, so the last digits may differ.
    return constant.shape == weight.shape and np.allclose(
        constant.astype(np.float32), weight, rtol=1e-4, atol=1e-5 * float(np.abs(weight).max())
    )


def _forms(weight: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The layouts a weight may have in TFLite."""
    if weight.ndim == 2:
        return [weight, weight[:, np.newaxis, np.newaxis, :]]
    if weight.ndim == 4:
        return [weight.transpose(0, 2, 3, 1), weight.transpose(1, 2, 3, 0), weight[:, :, 0, 0]]
    return [weight]


def upstream(graph: Graph, name: str) -> list[str]:
    """The tensors that have the scale of this one, back to the operator that computed them; itself first."""
    chain = [name]
    while (node := graph.producers.get(chain[-1])) is not None and node.operator in ONE_SCALE:
        chain.append(node.inputs[0])
    return chain


def same_values(graph: Graph, chain: list[str]) -> bool:
    """Whether the tensors of :func:`upstream` hold the same values, too."""
    return all(graph.producers[name].operator in SAME_VALUES for name in chain[:-1])
