"""One operator as a .tflite file of its own, at any number of channels, written without the converter.

Converting takes a second or two for each; a table has a hundred. The operator is the network's own with other sizes;
its weights are seeded noise, as kernels are chosen by shapes and types, never by values. The same part gives the same
bytes, so that what was measured of it once is known again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from compressors.search.parts import ELEMENTWISE, Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 0


def part_file(geometry: Geometry, read: int, made: int, copies: int = 1) -> bytes:
    """The file.

    Args:
        geometry: of the operator.
        read: channels of its input.
        made: channels of its output.
        copies: how many of it stand side by side on one input, each with weights and an output of its own.

    Raises:
        ValueError: channels that the operator cannot have.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    if min(read, made, copies) < 1:
        raise ValueError(f"a part has 1 channel or more, not {read} and {made}")
    if geometry.groups > 1 and (read % geometry.groups or made % geometry.groups):
        raise ValueError(f"{geometry.groups} groups do not divide {read} and {made} channels")
    file = _File(schema)
    inputs = [file.tensor("x", _shape(geometry.rank, geometry.size, read))]
    if geometry.operator in ELEMENTWISE:
        inputs.append(file.tensor("y", _shape(geometry.rank, geometry.size, read)))
    code = getattr(schema.BuiltinOperator, geometry.operator)
    random = np.random.default_rng(SEED)
    outputs, operators = [], []
    for number in range(copies):
        constants = [
            file.constant(f"{number}/{n}", value) for n, value in enumerate(_constants(geometry, read, made, random))
        ]
        outputs.append(file.tensor(f"{number}/out", _shape(geometry.made_rank, geometry.made, made)))
        operators.append(file.operator([*inputs, *constants], outputs[-1], geometry))
    model = file.model(code, geometry.version, inputs, outputs, operators)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def runs_of(geometry: Geometry, read: int, made: int) -> int:
    """How many runs of it are worth a process: about 50 ms of work at 10 billion multiply-accumulates a second."""
    work = max(geometry.macs(read, made), geometry.made[0] * geometry.made[1] * made * 4)
    return max(20, min(200, round(5e8 / work)))


def _shape(rank: int, area: tuple[int, int], channels: int) -> list[int]:
    return [1, *area, channels] if rank == 4 else [1] * (rank - 1) + [channels]


def _constants(geometry: Geometry, read: int, made: int, random: np.random.Generator) -> list[NDArray[np.generic]]:
    """Weight and bias, or what the file's operator reads besides: axes, paddings."""

    def noise(*shape: int) -> NDArray[np.generic]:
        spread = math.sqrt(2 / max(1, math.prod(shape[1:])))
        return (random.standard_normal(shape) * spread).astype(np.float32)

    height, width = geometry.kernel
    match geometry.operator:
        case "CONV_2D":
            return [noise(made, height, width, read // geometry.groups), noise(made)]
        case "DEPTHWISE_CONV_2D":
            return [noise(1, height, width, made), noise(made)]
        case "FULLY_CONNECTED":
            return [noise(made, read), noise(made)]
        case _:
            return [np.array(values, dtype).reshape(shape) for dtype, shape, values in geometry.constants]


class _File:
    """Collects what a model consists of."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._buffers = [self._buffer(None)]
        self._tensors: list[Any] = []

    def _buffer(self, data: NDArray[np.generic] | None) -> Any:
        buffer = self._schema.BufferT()
        if data is not None:
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
        return buffer

    def tensor(self, name: str, shape: list[int], dtype: str = "float32", buffer: int = 0) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, shape, buffer
        tensor.type = getattr(self._schema.TensorType, dtype.upper())
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def constant(self, name: str, value: NDArray[np.generic]) -> int:
        self._buffers.append(self._buffer(value))
        return self.tensor(name, list(value.shape), value.dtype.name, len(self._buffers) - 1)

    def operator(self, inputs: list[int], output: int, geometry: Geometry) -> Any:
        operator = self._schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = 0, inputs, [output]
        kind = geometry.options_kind
        if kind:
            options = getattr(self._schema, f"{kind}T")()
            for name, value in geometry.options:
                setattr(options, name, value)
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind)
        return operator

    def model(self, code: int, version: int, inputs: list[int], outputs: list[int], operators: list[Any]) -> Any:
        schema = self._schema
        opcode = schema.OperatorCodeT()
        opcode.builtinCode, opcode.deprecatedBuiltinCode, opcode.version = code, min(code, 127), version
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = "main", self._tensors, operators
        graph.inputs, graph.outputs = inputs, outputs
        model = schema.ModelT()
        model.version, model.description = 3, "a part of a network"
        model.operatorCodes, model.subgraphs, model.buffers = [opcode], [graph], self._buffers
        return model
