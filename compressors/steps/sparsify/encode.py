"""Weights of 1x1 convolutions as sparse tensors in a .tflite: only what is not zero is stored, with its place.

TFLite's schema (SparsityParameters) after Kjolstad et al. (2017), "The Tensor Algebra Compiler": the dimensions of a
weight (outputs, 1, 1, inputs) are stored dense but for the last, which is compressed by rows (CSR). A DENSIFY operator
in front of the convolution gives the dense tensor; XNNPACK's delegate takes the operator away and, where it knows the
network's other layers too, computes with sparse kernels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressors.sparsify_section import FEWEST_ZEROS
from pocketzoo.errors import WorkFailed

DENSE, CSR = 0, 1
COMPARED = 4  # inputs


def encode(source: Path, target: Path, *, fewest: float = FEWEST_ZEROS) -> tuple[str, ...]:
    """Write a file whose sparse 1x1 convolutions are stored as such.

    Args:
        source: a float .tflite.
        target: where to write; the same answers, a smaller file.
        fewest: the share of zeros from which a convolution is encoded.

    Returns:
        The names of the weights that were encoded.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(source))
    schema = flatbuffer_utils.schema_fb
    encoded = []
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            if model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D:
                weight = graph.tensors[operator.inputs[1]]
                values = _values(model, graph, operator.inputs[1], schema)
                if values is not None and (values == 0).mean() >= fewest:
                    operators.append(_densify(model, graph, operator, values, schema))
                    encoded.append(_text(weight.name))
            operators.append(operator)
        graph.operators = operators
    target.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    return tuple(encoded)


def _values(model: Any, graph: Any, index: int, schema: Any) -> NDArray[np.float32] | None:
    """The weight of a 1x1 convolution in float, (outputs, 1, 1, inputs); None for any other, or one that is shared."""
    weight = graph.tensors[index]
    shape = tuple(int(size) for size in weight.shape)
    raw = model.buffers[weight.buffer].data
    if weight.type != schema.TensorType.FLOAT32 or shape[1:3] != (1, 1) or raw is None or weight.sparsity is not None:
        return None
    readers = sum(int(read) == index for operator in graph.operators for read in operator.inputs)
    owners = sum(tensor.buffer == weight.buffer for part in model.subgraphs for tensor in part.tensors)
    if readers != 1 or owners != 1:
        return None
    return np.frombuffer(bytes(bytearray(raw)), np.float32).reshape(shape)


def compressed(values: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Rows of a matrix as CSR: segments (rows + 1,), the columns of what is not zero, and these values.

    Args:
        values: (rows, columns).
    """
    kept = values != 0
    segments = np.concatenate([[0], np.cumsum(kept.sum(1))]).astype(np.int64)
    return segments, np.nonzero(kept)[1].astype(np.int64), values[kept]


def _densify(model: Any, graph: Any, operator: Any, values: NDArray[np.float32], schema: Any) -> Any:
    """Make an operator's weight sparse, and a DENSIFY operator that gives the dense one."""
    weight = graph.tensors[operator.inputs[1]]
    outputs, inputs = values.shape[0], values.shape[3]
    segments, columns, kept = compressed(values.reshape(outputs, inputs))
    model.buffers[weight.buffer].data = np.frombuffer(kept.astype("<f4").tobytes(), np.uint8)
    weight.sparsity = schema.SparsityParametersT()
    weight.sparsity.traversalOrder = [0, 1, 2, 3]
    weight.sparsity.dimMetadata = [
        *(_dense(size, schema) for size in (outputs, 1, 1)),
        _rows(segments, columns, schema),
    ]
    dense = schema.TensorT()
    dense.name = _text(weight.name) + "/dense"
    dense.shape, dense.type, dense.buffer, dense.hasRank = weight.shape, weight.type, 0, weight.hasRank
    graph.tensors.append(dense)
    made = schema.OperatorT()
    made.opcodeIndex = _code(model, schema)
    made.inputs = np.array([operator.inputs[1]], np.int32)
    made.outputs = np.array([len(graph.tensors) - 1], np.int32)
    made.builtinOptionsType = schema.BuiltinOptions.DensifyOptions
    made.builtinOptions = schema.DensifyOptionsT()
    reads = [int(index) for index in operator.inputs]
    reads[1] = len(graph.tensors) - 1
    operator.inputs = np.array(reads, np.int32)
    return made


def _dense(size: int, schema: Any) -> Any:
    found = schema.DimensionMetadataT()
    found.format, found.denseSize = DENSE, size
    return found


def _rows(segments: NDArray[np.int64], columns: NDArray[np.int64], schema: Any) -> Any:
    found = schema.DimensionMetadataT()
    found.format = CSR
    found.arraySegmentsType, found.arraySegments = _vector(segments, schema)
    found.arrayIndicesType, found.arrayIndices = _vector(columns, schema)
    return found


def _vector(values: NDArray[np.int64], schema: Any) -> tuple[int, Any]:
    """The narrowest vector that holds the values."""
    most = int(values.max()) if values.size else 0
    for kind, limit, dtype in (
        ("Uint8", 1 << 8, np.uint8),
        ("Uint16", 1 << 16, np.uint16),
        ("Int32", 1 << 31, np.int32),
    ):
        if most < limit:
            made = getattr(schema, f"{kind}VectorT")()
            made.values = values.astype(dtype)
            return getattr(schema.SparseIndexVector, f"{kind}Vector"), made
    raise ValueError(f"an index of {most}")


def _code(model: Any, schema: Any) -> int:
    """The place of DENSIFY among the operator codes, which it is added to where it is not there."""
    wanted = schema.BuiltinOperator.DENSIFY
    for place, code in enumerate(model.operatorCodes):
        if code.builtinCode == wanted:
            return place
    made = schema.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = wanted
    made.version = 1
    model.operatorCodes.append(made)
    return len(model.operatorCodes) - 1


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def same_answers(first: Path, second: Path, shape: tuple[int, ...]) -> None:
    """See that two files answer alike on random inputs.

    Args:
        first, second: .tflite files with one input.
        shape: (1, C, H, W) of it.

    Raises:
        WorkFailed: they differ by more than the order of sums explains.
    """
    from compressors.evaluate import FileModel

    one, other = FileModel(first), FileModel(second)
    random = np.random.default_rng(0)
    for _ in range(COMPARED):
        sample = random.standard_normal((1, *shape[2:], shape[1])).astype(np.float32)
        wanted, found = one(sample), other(sample)
        if not np.allclose(wanted, found, rtol=1e-4, atol=1e-4 * float(np.ptp(wanted))):
            raise WorkFailed(
                f"the file with sparse tensors answers otherwise: {np.abs(wanted - found).max():g} apart",
                where=str(second),
                hint="storage: dense, and report the network",
            )
