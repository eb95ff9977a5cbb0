"""What an .onnx file says of itself, read from the protobuf wire format: without the onnx package, and nothing is run.

Files are untrusted and may have 2 GB: the file is mapped and weights are skipped, nesting, fields and text are bounded.
Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pocketzoo.errors import BadInput
from zoo.artifact import TensorSpec

LARGEST = 2 << 30  # bytes; protobuf cannot hold more
MOST_FIELDS = 2_000_000
DEEPEST = 12  # graphs inside nodes of graphs; real models have two or three
MOST_DIMS = 64

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2", 27: "float6e2m3", 28: "float6e3m2",
}  # fmt: skip
STANDARD = ("", "ai.onnx", "ai.onnx.ml")

Span = tuple[int, int]


@dataclass(frozen=True)
class OnnxFacts:
    """An .onnx file: inputs and outputs of the main graph, operators of all graphs, its weights' elements by dtype."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: dict[str, int]
    opsets: dict[str, int]
    weights: dict[str, int]
    producer: str

    @property
    def parameters(self) -> int:
        """Elements of all weights."""
        return sum(self.weights.values())

    @property
    def custom_operators(self) -> tuple[str, ...]:
        """Operators of other domains than ONNX's own, as ``domain::Name``, sorted."""
        return tuple(sorted(name for name in self.operators if "::" in name))


def inspect_onnx(path: Path) -> OnnxFacts:
    """Read an .onnx file.

    Raises:
        BadInput: not an ONNX model, truncated or damaged, or its weights are in other files.
    """
    size = path.stat().st_size
    if not 0 < size <= LARGEST:
        raise BadInput(f"{size:,} bytes; an .onnx file has 1 to {LARGEST:,}", where=str(path))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Reader(data).model()
        except _External as error:
            raise BadInput(
                f"its weights are in other files ({str(error)[:200]!r}); an entry's file must be whole",
                where=str(path),
                hint="onnx.save_model(onnx.load(FILE), OUT, save_as_external_data=False)",
            ) from error
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise BadInput(
                "this is no ONNX model, or a damaged one",
                where=str(path),
                detail=(f"{type(error).__name__}: {error}"[:300],),
                hint="get the file again; it may be truncated",
            ) from error


class _External(Exception):
    """A tensor's data is outside the file."""


@dataclass
class _Reader:
    data: mmap.mmap
    fields: int = 0
    operators: Counter[str] = field(default_factory=Counter)
    weights: Counter[str] = field(default_factory=Counter)

    def model(self) -> OnnxFacts:
        opsets: dict[str, int] = {}
        producer = ["", ""]
        inputs: tuple[TensorSpec, ...] = ()
        outputs: tuple[TensorSpec, ...] = ()
        graphs = ir_version = 0
        for number, value in self._message((0, len(self.data))):
            if number == 1:
                ir_version = _number(value)
            elif number in (2, 3):
                producer[number - 2] = self._text(value)
            elif number == 7:
                graphs += 1
                inputs, outputs = self._graph(value, 0)
            elif number == 8:
                domain, version = self._opset(value)
                opsets[domain or "ai.onnx"] = version
            elif number == 20:  # training: an initialization and an algorithm graph
                for part, graph in self._message(_span(value)):
                    if part in (1, 2):
                        self._graph(graph, 1)
            elif number == 25:  # functions: bodies of operators
                for part, node in self._message(_span(value)):
                    if part == 7:
                        self._node(node, 1)
        if graphs != 1 or not 1 <= ir_version <= 1000:
            raise ValueError(f"{graphs} main graphs, IR version {ir_version}")
        return OnnxFacts(
            inputs=inputs,
            outputs=outputs,
            operators=dict(sorted(self.operators.items())),
            opsets=dict(sorted(opsets.items())),
            weights=dict(sorted(self.weights.items())),
            producer=" ".join(part for part in producer if part),
        )

    def _graph(self, value: int | Span, depth: int) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        if depth > DEEPEST:
            raise ValueError(f"graphs nested deeper than {DEEPEST}")
        inputs, outputs, initializers = [], [], set()
        for number, part in self._message(_span(value)):
            if number == 1:
                self._node(part, depth)
            elif number == 5:
                initializers.add(self._tensor(part))
            elif number == 15:  # sparse: 1 values, 2 indices
                for which, tensor in self._message(_span(part)):
                    if which in (1, 2):
                        self._tensor(tensor, counted=which == 1)
            elif number == 11:
                inputs.append(self._value_info(part))
            elif number == 12:
                outputs.append(self._value_info(part))
        # Before IR version 4 every weight was listed as an input too.
        return tuple(i for i in inputs if i.name not in initializers), tuple(outputs)

    def _node(self, value: int | Span, depth: int) -> None:
        kind = domain = ""
        for number, part in self._message(_span(value)):
            if number == 4:
                kind = self._text(part)
            elif number == 7:
                domain = self._text(part)
            elif number == 5:
                self._attribute(part, depth)
        if not kind:
            raise ValueError("a node without an operator")
        self.operators[kind if domain in STANDARD else f"{domain}::{kind}"] += 1

    def _attribute(self, value: int | Span, depth: int) -> None:
        for number, part in self._message(_span(value)):
            if number in (5, 10):
                self._tensor(part)
            elif number in (6, 11):
                self._graph(part, depth + 1)
            elif number in (22, 23):
                for which, tensor in self._message(_span(part)):
                    if which in (1, 2):
                        self._tensor(tensor, counted=which == 1)

    def _tensor(self, value: int | Span, *, counted: bool = True) -> str:
        dims: list[int] = []
        kind, name = 0, ""
        for number, part in self._message(_span(value)):
            if number == 1:
                dims += [part] if isinstance(part, int) else self._packed(part)
                if len(dims) > MOST_DIMS:
                    raise ValueError(f"a tensor of more than {MOST_DIMS} dimensions")
            elif number == 2:
                kind = _number(part)
            elif number == 8:
                name = self._text(part)
            elif number == 13 or (number == 14 and _number(part) == 1):
                raise _External(self._location(part) if number == 13 else name)
        if any(n >= 1 << 48 for n in dims):
            raise ValueError("a tensor of impossible size")
        if counted:
            self.weights[DTYPES[kind]] += math.prod(dims)
        return name

    def _location(self, value: int | Span) -> str:
        texts = {number: self._text(part) for number, part in self._message(_span(value)) if number in (1, 2)}
        return texts.get(2, "") if texts.get(1) == "location" else ""

    def _opset(self, value: int | Span) -> tuple[str, int]:
        domain, version = "", 0
        for number, part in self._message(_span(value)):
            if number == 1:
                domain = self._text(part)
            elif number == 2:
                version = _number(part)
        return domain, version

    def _value_info(self, value: int | Span) -> TensorSpec:
        name, dtype = "", "unknown"
        shape: list[int] = []
        for number, part in self._message(_span(value)):
            if number == 1:
                name = self._text(part)
            elif number == 2:
                for which, kind in self._message(_span(part)):
                    if which != 1:  # sequences, maps, optionals
                        continue
                    dtype, shape = self._tensor_type(kind)
        return TensorSpec(name=name, shape=tuple(shape), dtype=dtype)

    def _tensor_type(self, value: int | Span) -> tuple[str, list[int]]:
        dtype = "unknown"
        shape: list[int] = []
        for number, part in self._message(_span(value)):
            if number == 1:
                dtype = DTYPES[_number(part)]
            elif number == 2:
                for which, dim in self._message(_span(part)):
                    if which == 1:
                        sizes = [_number(size) for kind, size in self._message(_span(dim)) if kind == 1]
                        shape.append(sizes[-1] if sizes and sizes[-1] < 1 << 48 else -1)
                        if len(shape) > MOST_DIMS:
                            raise ValueError(f"a shape of more than {MOST_DIMS} dimensions")
        return dtype, shape

    # the wire: https://protobuf.dev/programming-guides/encoding

    def _message(self, span: Span) -> Iterator[tuple[int, int | Span]]:
        at, end = span
        while at < end:
            self.fields += 1
            if self.fields > MOST_FIELDS:
                raise ValueError(f"more than {MOST_FIELDS:,} fields")
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise ValueError(f"no field number at byte {at:,}")
            value: int | Span
            if wire == 0:
                value, at = self._varint(at, end)
            elif wire == 2:
                length, at = self._varint(at, end)
                value = (at, at + length)
                at += length
            elif wire in (1, 5):
                value = 0  # single floats and fixed integers: nothing here reads them
                at += 8 if wire == 1 else 4
            else:
                raise ValueError(f"wire type {wire} at byte {at:,}")
            if at > end:
                raise ValueError(f"field {number} ends at byte {at:,} of {end:,}")
            yield number, value

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            if at >= end or shift > 63:
                raise ValueError(f"a number runs over byte {at:,}")
            byte = self.data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value & (1 << 64) - 1, at

    def _packed(self, span: Span) -> list[int]:
        at, end = span
        found: list[int] = []
        while at < end and len(found) <= MOST_DIMS:
            value, at = self._varint(at, end)
            found.append(value)
        return found

    def _text(self, value: int | Span) -> str:
        start, end = _span(value)
        return self.data[start : min(end, start + 500)].decode("utf-8", "replace")


def _span(value: int | Span) -> Span:
    if isinstance(value, int):
        raise TypeError("a number where a message belongs")
    return value


def _number(value: int | Span) -> int:
    if not isinstance(value, int):
        raise TypeError("a message where a number belongs")
    return value
