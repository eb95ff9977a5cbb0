"""A network as the operators of its own .tflite file, each with the channels that decide its cost.

The file is what a device runs, so its operators are what is measured: activations that the runtime fuses, paddings and
strides are those of the file. Which channels a pruning changes, and how an operator's channels follow, is carried along
the file's graph from the layers that make them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketzoo.errors import WorkFailed

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
ELEMENTWISE = ("ADD", "MUL", "SUB", "DIV", "MAXIMUM", "MINIMUM")
# One activation in, as many channels out.
KEEPING = (
    "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "PAD", "RELU", "RELU6", "RELU_N1_TO_1", "HARD_SWISH", "LOGISTIC",
    "TANH", "SOFTMAX", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "ELU", "GELU",
)  # fmt: skip
# They move no numbers, or are joined to what is beside them; with everything else, the whole network tells their cost.
FREE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


@dataclass(frozen=True)
class Channels:
    """A count of channels as groups of the network decide it: ``fixed`` plus factor times each group's count."""

    fixed: int = 0
    groups: tuple[tuple[str, int], ...] = ()

    def count(self, kept: Mapping[str, int]) -> int:
        """The number where every group has the count that ``kept`` says."""
        return self.fixed + sum(kept[name] * factor for name, factor in self.groups)

    def times(self, factor: int) -> Channels:
        """As many times."""
        return Channels(self.fixed * factor, tuple((name, each * factor) for name, each in self.groups))

    def plus(self, other: Channels) -> Channels:
        """One behind the other."""
        sums: dict[str, int] = {}
        for name, factor in (*self.groups, *other.groups):
            sums[name] = sums.get(name, 0) + factor
        return Channels(self.fixed + other.fixed, tuple(sorted(sums.items())))


@dataclass(frozen=True)
class Geometry:
    """What decides an operator's cost besides its channels.

    Args:
        operator: its name.
        size: height and width of what it reads; (1, 1) for a vector.
        made: height and width of what it makes.
        kernel: height and width of its weights; (0, 0) where it has none.
        groups: of a convolution; 0: one for each channel.
        options: of the file's operator, as (name, value), the fused activation among them.
        options_kind: the schema's name of their table; empty where it has none.
        version: of the operator.
        rank: number of axes of what it reads.
        made_rank: number of axes of what it makes.
        constants: what else it reads, such as axes and paddings: (dtype, shape, values).
    """

    operator: str
    size: tuple[int, int]
    made: tuple[int, int]
    kernel: tuple[int, int] = (0, 0)
    groups: int = 1
    options: tuple[tuple[str, int | float | bool], ...] = ()
    options_kind: str = ""
    version: int = 1
    rank: int = 4
    made_rank: int = 4
    constants: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    @property
    def label(self) -> str:
        """In the grammar of names: ``conv-3x3s2-112x112``."""
        short = {"CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise", "FULLY_CONNECTED": "linear"}
        kind = short.get(self.operator, self.operator.lower().replace("_", "-"))
        stride = dict(self.options).get("strideH", 1)
        kernel = f"-{self.kernel[0]}x{self.kernel[1]}s{stride}" if self.operator in WEIGHTED[:2] else ""
        return f"{kind}{kernel}-{self.size[0]}x{self.size[1]}"

    def macs(self, read: int, made: int) -> int:
        """Multiply-accumulates with so many channels, by the rules of :mod:`compressors.counting`."""
        if self.operator not in WEIGHTED:
            return 0
        each = 1 if self.operator == "DEPTHWISE_CONV_2D" else read // self.groups
        area = max(1, self.kernel[0] * self.kernel[1])
        return self.made[0] * self.made[1] * made * area * each


@dataclass(frozen=True)
class Part:
    """One operator of a network: what decides its cost, and the channels that it reads and makes."""

    geometry: Geometry
    read: Channels
    made: Channels
    layer: str | None = None

    def at(self, kept: Mapping[str, int]) -> tuple[int, int]:
        """Channels read and made."""
        return self.read.count(kept), self.made.count(kept)


@dataclass(frozen=True)
class Parts:
    """The operators that are looked up, and how often each other one occurs: the whole tells what those cost."""

    parts: tuple[Part, ...]
    others: Mapping[str, int]


def read_parts(file: Path, layers: Mapping[str, str], outputs: Mapping[str, str], channels: Mapping[str, int]) -> Parts:
    """The parts of an exported network.

    Args:
        file: its float32 .tflite, which this program exported.
        layers: output tensor of an operator with weights -> the network's layer.
        outputs: layer -> the group that its output channels are; those of other layers never change.
        channels: group -> its channels in this file.

    Raises:
        WorkFailed: channels of an operator do not follow from the groups as they are.
    """
    graph = _Graph(file)
    known: dict[int, Channels] = {}
    parts: list[Part] = []
    others: dict[str, int] = {}
    for operator in graph.operators:
        taken = [index for index in operator.inputs if index >= 0 and not graph.constant(index)]
        out = operator.outputs[0]
        shape = graph.shape(out)
        has = shape[-1] if shape else 1
        forms = [known.get(index, Channels(graph.shape(index)[-1] if graph.shape(index) else 1)) for index in taken]
        layer = layers.get(graph.name(out))
        group = outputs.get(layer) if layer is not None else None
        made = Channels(0, ((group, 1),)) if group is not None else _following(operator.name, forms, graph, taken, has)
        if made.count(channels) != has:
            if made.count(channels) and has % made.count(channels) == 0 and group is not None:
                made = made.times(has // made.count(channels))
            else:
                raise WorkFailed(
                    f"{operator.name} makes {has} channels, and its groups come to {made.count(channels)}",
                    where=str(file),
                    hint="report the network: how its channels depend on each other is not understood",
                )
        for index in operator.outputs:
            known[index] = made
        if operator.name in FREE:
            continue
        looked_up = operator.name in (*WEIGHTED, *ELEMENTWISE, *KEEPING) and bool(taken) and graph.is_float(out)
        if operator.name in KEEPING and forms[:1] != [made]:  # channels of zeros, beside a shortcut
            looked_up = False
        if looked_up:
            read = made if operator.name in ELEMENTWISE else forms[0]
            parts.append(Part(graph.geometry(operator, taken), read, made, layer))
        else:
            others[operator.name] = others.get(operator.name, 0) + 1
    return Parts(tuple(parts), others)


def _following(name: str, forms: list[Channels], graph: _Graph, taken: list[int], has: int) -> Channels:
    """The channels that an operator without a layer of its own makes."""
    if not forms:
        return Channels(has)
    if name == "CONCATENATION":
        whole = Channels()
        for form in forms:
            whole = whole.plus(form)
        return whole
    if name in ("CONV_2D", "FULLY_CONNECTED"):
        return Channels(has)
    shape = graph.shape(taken[0])
    before = shape[-1] if shape else 1
    form = max(forms, key=lambda each: len(each.groups)) if name in ELEMENTWISE else forms[0]
    if before == has or name in ELEMENTWISE:
        return form
    if name == "PAD" and has > before:
        return form.plus(Channels(has - before))
    if before and has % before == 0 and name in (*FREE, "DEPTHWISE_CONV_2D"):
        return form.times(has // before)
    return Channels(has) if not form.groups else form


@dataclass(frozen=True)
class _Operator:
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    version: int


class _Graph:
    """A file's first graph through the schema's own classes."""

    def __init__(self, file: Path) -> None:
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf(bytearray(file.read_bytes()), 0)
        names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        dtypes = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
        codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
        graph = model.subgraphs[0]
        self._tensors = graph.tensors
        self._buffers = model.buffers
        self._dtypes = dtypes
        self.operators = tuple(
            _Operator(
                codes[op.opcodeIndex],
                tuple(map(int, op.inputs)),
                tuple(map(int, op.outputs)),
                op.builtinOptions,
                int(model.operatorCodes[op.opcodeIndex].version),
            )
            for op in graph.operators
        )

    def name(self, index: int) -> str:
        return bytes(self._tensors[index].name).decode("utf-8", "replace")

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self._tensors[index].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def is_float(self, index: int) -> bool:
        return bool(self._dtypes[self._tensors[index].type] == "float32")

    def constant(self, index: int) -> bool:
        data = self._buffers[self._tensors[index].buffer].data
        return data is not None and len(data) > 0

    def geometry(self, operator: _Operator, taken: list[int]) -> Geometry:
        """What decides its cost besides channels."""
        before, after = self.shape(taken[0]), self.shape(operator.outputs[0])
        if operator.name in ELEMENTWISE:  # one side may be spread over the other
            before = after
        kernel, groups = (0, 0), 1
        if operator.name in WEIGHTED:
            weights = self.shape(operator.inputs[1])
            if len(weights) == 4:
                kernel = (weights[1], weights[2])
            if operator.name == "DEPTHWISE_CONV_2D":
                groups = 0
            elif operator.name == "CONV_2D":
                groups = max(1, before[-1] // weights[3])
        constants: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
        if operator.name in KEEPING:
            constants = tuple(self._values(index) for index in operator.inputs[1:] if index >= 0)
        return Geometry(
            operator=operator.name,
            size=_area(before),
            made=_area(after),
            kernel=kernel,
            groups=groups,
            options=_plain(operator.options),
            options_kind=type(operator.options).__name__.removesuffix("T") if operator.options is not None else "",
            version=operator.version,
            rank=len(before),
            made_rank=len(after),
            constants=constants,
        )

    def _values(self, index: int) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        import numpy as np

        tensor = self._tensors[index]
        dtype = self._dtypes[tensor.type]
        raw = np.asarray(self._buffers[tensor.buffer].data, dtype=np.uint8)
        values = raw.view(dtype) if dtype in ("int32", "int64") else np.empty(0, dtype=np.int32)
        return dtype, self.shape(index), tuple(int(value) for value in values)


def _area(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[1], shape[2]) if len(shape) == 4 else (1, 1)


def _plain(options: Any) -> tuple[tuple[str, int | float | bool], ...]:
    if options is None:
        return ()
    found = {name: value for name, value in vars(options).items() if isinstance(value, (bool, int, float))}
    return tuple(sorted(found.items()))
