"""Raw samples as few bytes, and back without loss. Pure.

Format 1: the byte 1, then deflated: as varints the number of samples, the smallest sample (zigzag), the unit and the
bytes per value; then what is left of each sample after ``(sample - smallest) / unit``, as byte planes: the lowest byte
of every value, then the next. The noise of a latency sits in its low bytes; the high planes are nearly constant and
cost nothing. The unit is the greatest common divisor, 1000 where a tool prints whole microseconds. Deflate carries a
checksum, so a flipped bit is noticed.

200 samples of a 3 ms model take about 450 bytes, against 1000 as MessagePack.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

FORMAT = 1
WIDEST = 255
WORD = 8


def pack(samples_ns: Sequence[int]) -> bytes:
    """Samples (ns) in format 1.

    Raises:
        ValueError: a sample does not fit in 255 bytes.
    """
    least = min(samples_ns, default=0)
    rest = [sample - least for sample in samples_ns]
    unit = math.gcd(*rest) or 1
    values = [value // unit for value in rest]
    width = (max(values, default=0).bit_length() + 7) // 8
    if width > WIDEST:
        raise ValueError("a sample is too large to be a time")
    raw = b"".join(value.to_bytes(width, "little") for value in values)
    planes = b"".join(raw[byte::width] for byte in range(width))
    # -2 * least - 1 instead of a shift by the word's sign bit: Python's integers have no width.
    head = (len(samples_ns), 2 * least if least >= 0 else -2 * least - 1, unit, width)
    return bytes((FORMAT,)) + zlib.compress(b"".join(map(_varint, head)) + planes, 9)


def unpack(packed: bytes) -> tuple[int, ...]:
    """The samples of :func:`pack`, in ns.

    Raises:
        ValueError: not format 1, cut off, or damaged.
    """
    if packed[:1] != bytes((FORMAT,)):
        raise ValueError("samples in a format that is not known")
    try:
        body = zlib.decompress(packed[1:])
    except zlib.error as error:
        raise ValueError(f"samples that cannot be unpacked: {error}") from error
    head, at = [], 0
    for _ in range(4):
        value, at = _read_varint(body, at)
        head.append(value)
    count, zigzag, unit, width = head
    least = zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2
    planes, size = body[at:], count * width
    if len(planes) != size:
        raise ValueError(f"samples that are cut off: {len(planes)} of {size} bytes")
    if width == 0:
        return (least,) * count
    # Numbers of a machine word are put together by numpy, ten times as fast; a time that needs more is never measured.
    if width < WORD and least.bit_length() < 62 and unit.bit_length() + 8 * width < 62:
        import numpy as np

        words = np.zeros((count, WORD), dtype=np.uint8)
        words[:, :width] = np.frombuffer(planes, dtype=np.uint8).reshape(width, count).T
        return tuple((words.view("<i8")[:, 0] * unit + least).tolist())
    raw = bytearray(size)
    for byte in range(width):
        raw[byte::width] = planes[byte * count : (byte + 1) * count]
    return tuple(least + unit * int.from_bytes(raw[start : start + width], "little") for start in range(0, size, width))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("samples that are cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
