"""What a .tflite file says of itself, read from the flatbuffer without running it.

Model files are untrusted. Nothing is executed here; counts are bounded before they are used, and whatever cannot be
read is one clear error. Loading it in the runtime is :mod:`zoo.loadcheck`, in a process of its own.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketzoo.errors import BadInput
from zoo.artifact import Quantization, TensorSpec
from zoo.quantization import Layer

LARGEST = 2 << 30  # bytes; a flatbuffer cannot be larger
MOST_TENSORS = 100_000
MOST_ELEMENTS = 300_000  # of all tables of a file together; a network of a thousand layers has thirty thousand
LONGEST_TEXT = 500

# The operators that hold nearly all of a network's weights; all take them as their second input.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "BATCH_MATMUL")

Bytes = bytes | mmap.mmap
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
    """A .tflite file: inputs and outputs of its first subgraph, and every operator of all subgraphs in order.

    ``layers`` are the operators with constant weights; ``metadata`` has the size of each metadata buffer by its name,
    ``description`` and ``needs`` (the oldest runtime it runs on) what the converter wrote.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[Operator, ...]
    layers: tuple[Layer, ...] = ()
    metadata: tuple[tuple[str, int], ...] = ()
    description: str = ""
    needs: str = ""

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
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise BadInput(
                "not a .tflite model (the TFL3 mark is missing)", where=str(path), hint="check what was downloaded"
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read_or_refuse(data, path)


def _read_or_refuse(data: Bytes, path: Path) -> TfliteFacts:
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


def _read(data: Bytes) -> TfliteFacts:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    builtin_names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    dtypes = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    up_to = _UpTo(len(data))
    codes = [_code_name(model.OperatorCodes(i), builtin_names) for i in up_to(model.OperatorCodesLength())]
    graphs = [model.Subgraphs(i) for i in up_to(model.SubgraphsLength())]
    if not graphs:
        raise ValueError("it has no graph")
    _check_buffers(model, data, up_to)

    operators = []
    layers: list[Layer] = []
    for graph in graphs:
        tensors = [graph.Tensors(i) for i in up_to(graph.TensorsLength())]
        tensor_dtypes = [dtypes[tensor.Type()] for tensor in tensors]
        kinds = list(zip(tensor_dtypes, (_shape(tensor, up_to) for tensor in tensors), strict=True))
        for i in up_to(graph.OperatorsLength()):
            operator = graph.Operators(i)
            name, custom = codes[operator.OpcodeIndex()]
            taken = _kinds_of(operator.Inputs, operator.InputsLength(), kinds, up_to)
            given = _kinds_of(operator.Outputs, operator.OutputsLength(), kinds, up_to)
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
        layers += _layers(model, graph, codes, tensor_dtypes, up_to)
    main = graphs[0]
    metadata = dict(_metadata(model, data, up_to))
    return TfliteFacts(
        inputs=tuple(_tensor(main.Tensors(main.Inputs(i)), dtypes, up_to) for i in up_to(main.InputsLength())),
        outputs=tuple(_tensor(main.Tensors(main.Outputs(i)), dtypes, up_to) for i in up_to(main.OutputsLength())),
        operators=tuple(operators),
        layers=tuple(layers),
        metadata=tuple(sorted((name, len(content)) for name, content in metadata.items())),
        description=_text(model.Description()),
        needs=_text(metadata.get("min_runtime_version", b"").rstrip(b"\0")),
    )


def _layers(model: Any, graph: Any, codes: list[tuple[str, bool]], dtypes: list[str], up_to: _UpTo) -> Iterator[Layer]:
    """The operators whose weights are constants; weights that a DEQUANTIZE unpacks count as they are stored."""

    def constant(index: int) -> bool:
        buffer = model.Buffers(graph.Tensors(index).Buffer())
        return bool(buffer.DataLength() or buffer.Offset() > 1)

    unpacked: dict[int, int] = {}
    for i in up_to(graph.OperatorsLength()):
        operator = graph.Operators(i)
        name = codes[operator.OpcodeIndex()][0]
        if name == "DEQUANTIZE" and operator.InputsLength() == operator.OutputsLength() == 1:
            unpacked[operator.Outputs(0)] = operator.Inputs(0)
        if name not in WEIGHTED or operator.InputsLength() < 2 or operator.OutputsLength() < 1:
            continue
        weights = unpacked.get(operator.Inputs(1), operator.Inputs(1))
        if weights < 0 or not constant(weights):
            continue
        quantization = graph.Tensors(weights).Quantization()
        scales = quantization.ScaleLength() if quantization is not None else 0
        yield Layer(name, dtypes[weights], dtypes[operator.Outputs(0)], scales)


def _metadata(model: Any, data: Bytes, up_to: _UpTo) -> Iterator[tuple[str, bytes]]:
    """Name and content of the metadata buffers, the content bounded."""
    for i in up_to(model.MetadataLength()):
        entry = model.Metadata(i)
        buffer = model.Buffers(entry.Buffer())
        count = buffer.DataLength()
        start = buffer._tab.Vector(buffer._tab.Offset(4)) if count else 0
        yield _text(entry.Name()), bytes(data[start : start + min(count, 1 << 20)])


def _text(raw: bytes | None) -> str:
    return raw[: 4 * LONGEST_TEXT].decode("utf-8", "replace")[:LONGEST_TEXT] if raw else ""


class _UpTo:
    """``range(count)``, where the count can be true: each element of a vector takes bytes of the file.

    Tables may share their bytes, so that a small file can claim a great many; all of them together are bounded too.
    """

    def __init__(self, size: int) -> None:
        self._size, self._left = size, MOST_ELEMENTS

    def __call__(self, count: int) -> range:
        self._left -= count
        if count > min(self._size // 4, MOST_TENSORS) or self._left < 0:
            raise ValueError(f"a table of {count:,} elements in a file of {self._size:,} bytes")
        return range(count)


def _check_buffers(model: Any, data: Bytes, up_to: _UpTo) -> None:
    """Every weight lies inside the file: what a truncated download gets wrong."""
    for i in up_to(model.BuffersLength()):
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
        return _text(code.CustomCode())[:200] or "(unnamed)", True
    return name, False


def _kinds_of(
    at: Callable[[int], int], count: int, kinds: list[tuple[str, Shape]], up_to: _UpTo
) -> list[tuple[str, Shape]]:
    # -1 stands for an optional input that is not there
    return [kinds[index] for i in up_to(count) if (index := at(i)) >= 0]


def _shape(tensor: Any, up_to: _UpTo) -> Shape:
    length = tensor.ShapeSignatureLength()
    axis = tensor.ShapeSignature if length else tensor.Shape
    return tuple(int(axis(i)) for i in up_to(length or tensor.ShapeLength()))


def _tensor(tensor: Any, dtypes: dict[int, str], up_to: _UpTo) -> TensorSpec:
    return TensorSpec(
        name=_text(tensor.Name()),
        shape=_shape(tensor, up_to),
        dtype=dtypes[tensor.Type()],
        quantization=_quantization(tensor.Quantization(), up_to),
    )


def _quantization(found: Any, up_to: _UpTo) -> Quantization | None:
    if found is None or not found.ScaleLength():
        return None
    scales = tuple(float(found.Scale(i)) for i in up_to(found.ScaleLength()))
    return Quantization(
        scales=scales,
        zero_points=tuple(int(found.ZeroPoint(i)) for i in up_to(found.ZeroPointLength())),
        axis=int(found.QuantizedDimension()) if len(scales) > 1 else None,
    )
