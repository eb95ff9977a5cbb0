"""What a .tflite file says of itself, read from the flatbuffer without running it.

Model files are untrusted. Nothing is executed here; counts are bounded before they are used, and whatever cannot be
read is one clear error. Loading it in the runtime is :mod:`zoo.loadcheck`, in a process of its own.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketzoo.errors import BadInput
from zoo.artifact import Quantization, TensorSpec

LARGEST = 2 << 30  # bytes; a flatbuffer cannot be larger
MOST_TENSORS = 200_000
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operator:
    """One operator: its name, and dtypes and shapes of its inputs (those that are tensors) and outputs.

    A dimension that is only known when the model runs is -1.
    """

    name: str
    custom: bool
    input_dtypes: tuple[str, ...]
    output_dtypes: tuple[str, ...]
    input_shapes: tuple[Shape, ...] = ()
    output_shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class TfliteFacts:
    """A .tflite file: inputs and outputs of its first subgraph, and every operator of all subgraphs in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[Operator, ...]

    @property
    def operator_counts(self) -> dict[str, int]:
        """Operator name -> how often, by name."""
        return dict(sorted(Counter(op.name for op in self.operators).items()))

    @property
    def custom_operators(self) -> tuple[str, ...]:
        """Names of operators no standard runtime has, sorted, each once."""
        return tuple(sorted({op.name for op in self.operators if op.custom}))


def inspect(path: Path) -> TfliteFacts:
    """Read a .tflite file.

    Raises:
        BadInput: not a TFLite flatbuffer, or one that is truncated or damaged.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise BadInput(f"{size:,} bytes; a .tflite file has at most {LARGEST:,}", where=str(path))
    data = path.read_bytes()
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise BadInput(
            "not a .tflite model (the TFL3 mark is missing)", where=str(path), hint="check what was downloaded"
        )
    try:
        return _read(data)
    except (
        struct.error,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        UnicodeDecodeError,
    ) as error:
        raise BadInput(
            "a damaged .tflite model: its tables point outside the file",
            where=str(path),
            detail=(f"{type(error).__name__}: {error}",),
            hint="get the file again; it may be truncated",
        ) from error


def _read(data: bytes) -> TfliteFacts:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    builtin_names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    dtypes = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    codes = [_code_name(model.OperatorCodes(i), builtin_names) for i in _up_to(model.OperatorCodesLength(), data)]
    graphs = [model.Subgraphs(i) for i in _up_to(model.SubgraphsLength(), data)]
    if not graphs:
        raise ValueError("it has no graph")
    _check_buffers(model, data)

    operators = []
    for graph in graphs:
        tensors = [graph.Tensors(i) for i in _up_to(graph.TensorsLength(), data)]
        kinds = [(dtypes[tensor.Type()], _shape(tensor, data)) for tensor in tensors]
        for i in _up_to(graph.OperatorsLength(), data):
            operator = graph.Operators(i)
            name, custom = codes[operator.OpcodeIndex()]
            taken = _kinds_of(operator.Inputs, operator.InputsLength(), kinds, data)
            given = _kinds_of(operator.Outputs, operator.OutputsLength(), kinds, data)
            operators.append(
                Operator(
                    name=name,
                    custom=custom,
                    input_dtypes=tuple(dtype for dtype, _ in taken),
                    output_dtypes=tuple(dtype for dtype, _ in given),
                    input_shapes=tuple(shape for _, shape in taken),
                    output_shapes=tuple(shape for _, shape in given),
                )
            )
    main = graphs[0]
    return TfliteFacts(
        inputs=tuple(_tensor(main.Tensors(main.Inputs(i)), dtypes, data) for i in _up_to(main.InputsLength(), data)),
        outputs=tuple(_tensor(main.Tensors(main.Outputs(i)), dtypes, data) for i in _up_to(main.OutputsLength(), data)),
        operators=tuple(operators),
    )


def _up_to(count: int, data: bytes) -> range:
    """``range(count)``, where the count can be true: each element of a vector takes bytes of the file."""
    if count > min(len(data) // 4, MOST_TENSORS):
        raise ValueError(f"a table of {count:,} elements in a file of {len(data):,} bytes")
    return range(count)


def _check_buffers(model: Any, data: bytes) -> None:
    """Every weight lies inside the file: what a truncated download gets wrong."""
    for i in _up_to(model.BuffersLength(), data):
        buffer = model.Buffers(i)
        offset, size = buffer.Offset(), buffer.Size()
        if offset > 1 and offset + size > len(data):
            raise ValueError(f"buffer {i} ends at byte {offset + size:,} of {len(data):,}")
        count = buffer.DataLength()
        if count:
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            if not 0 <= start <= start + count <= len(data):
                raise ValueError(f"buffer {i} ends at byte {start + count:,} of {len(data):,}")


def _code_name(code: Any, names: dict[int, str]) -> tuple[str, bool]:
    # Old writers fill only the 8-bit field, new ones both; the larger one is the operator (schema.fbs says so).
    number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    name = names[number]
    if name == "CUSTOM":
        raw = code.CustomCode()
        return (raw.decode("utf-8", "replace")[:200] if raw else "(unnamed)"), True
    return name, False


def _kinds_of(
    at: Callable[[int], int], count: int, kinds: list[tuple[str, Shape]], data: bytes
) -> list[tuple[str, Shape]]:
    # -1 stands for an optional input that is not there
    return [kinds[index] for i in _up_to(count, data) if (index := at(i)) >= 0]


def _shape(tensor: Any, data: bytes) -> Shape:
    length = tensor.ShapeSignatureLength()
    axis = tensor.ShapeSignature if length else tensor.Shape
    return tuple(int(axis(i)) for i in _up_to(length or tensor.ShapeLength(), data))


def _tensor(tensor: Any, dtypes: dict[int, str], data: bytes) -> TensorSpec:
    name = tensor.Name()
    return TensorSpec(
        name=name.decode("utf-8", "replace")[:500] if name else "",
        shape=_shape(tensor, data),
        dtype=dtypes[tensor.Type()],
        quantization=_quantization(tensor.Quantization(), data),
    )


def _quantization(found: Any, data: bytes) -> Quantization | None:
    if found is None or not found.ScaleLength():
        return None
    scales = tuple(float(found.Scale(i)) for i in _up_to(found.ScaleLength(), data))
    return Quantization(
        scales=scales,
        zero_points=tuple(int(found.ZeroPoint(i)) for i in _up_to(found.ZeroPointLength(), data)),
        axis=int(found.QuantizedDimension()) if len(scales) > 1 else None,
    )
