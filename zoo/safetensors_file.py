"""What a .safetensors file says of itself. Only the header is read; it is untrusted and bounded.

Format (https://huggingface.co/docs/safetensors): 8 bytes little-endian length of the header, the header as JSON, then
the tensors' bytes. The tensors cover the rest of the file without gaps and without overlap.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pocketzoo.errors import BadInput

LARGEST_HEADER = 16 << 20  # bytes; the header of a model of a thousand layers has 100 KB
MOST_TENSORS = 200_000

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


@dataclass(frozen=True)
class SafetensorsFacts:
    """A .safetensors file: how many tensors, elements by dtype (safetensors' spelling), and its free-text metadata."""

    tensors: int
    elements: dict[str, int]
    metadata: dict[str, str]

    @property
    def parameters(self) -> int:
        """Elements of all tensors."""
        return sum(self.elements.values())


def inspect_safetensors(path: Path) -> SafetensorsFacts:
    """Read and check the header.

    Raises:
        BadInput: not a safetensors file, truncated, or its header contradicts itself or the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length < 2 or length > size - 8:
            raise BadInput("this is no .safetensors file, or a truncated one", where=str(path))
        if length > LARGEST_HEADER:
            raise BadInput(f"its header has {length:,} bytes; at most {LARGEST_HEADER:,} are read", where=str(path))
        header = file.read(length)
    try:
        return _read(header, size - 8 - length)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            "a damaged .safetensors file: its header does not fit",
            where=str(path),
            detail=(f"{type(error).__name__}: {error}"[:300],),
            hint="get the file again; it may be truncated",
        ) from error


def _read(header: bytes, body: int) -> SafetensorsFacts:
    document = json.loads(header.decode("utf-8"), object_pairs_hook=_without_duplicates)
    metadata = document.pop("__metadata__", {})
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its metadata is not text")
    if len(document) > MOST_TENSORS:
        raise ValueError(f"{len(document):,} tensors")
    elements: Counter[str] = Counter()
    ranges = []
    for name, tensor in document.items():
        if set(tensor) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"tensor {name[:100]!r} has other fields than dtype, shape and data_offsets")
        start, end = tensor["data_offsets"]
        if not all(type(n) is int and 0 <= n <= body for n in (start, end)) or start > end:
            raise ValueError(f"tensor {name[:100]!r} lies outside the file")
        if not all(type(n) is int and 0 <= n <= 1 << 48 for n in tensor["shape"]) or len(tensor["shape"]) > 64:
            raise ValueError(f"tensor {name[:100]!r} has an impossible shape")
        count = math.prod(tensor["shape"])
        if count * BITS[tensor["dtype"]] != 8 * (end - start):
            raise ValueError(f"tensor {name[:100]!r} has {end - start:,} bytes for {count:,} x {tensor['dtype']}")
        elements[tensor["dtype"]] += count
        ranges.append((start, end))
    at = 0
    for start, end in sorted(ranges):
        if start != at:
            raise ValueError(f"two tensors overlap, or bytes between them belong to none, at byte {start:,}")
        at = end
    if at != body:
        raise ValueError(f"the tensors end at byte {at:,} of {body:,}")
    return SafetensorsFacts(len(document), dict(sorted(elements.items())), dict(sorted(metadata.items())))


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found
