"""How a list of entries reads in a terminal. Imports nothing, as ``zoo list`` has no time for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from zoo.index import Listed

NO_VALUE = "-"
_HEADERS = ("Model", "Tags", "Format", "Size", "Top-1", "", "Digest")
_RIGHT = (False, False, False, True, True, True, False)


class Percentage(Protocol):
    """An accuracy in percent: :class:`zoo.artifact.Accuracy`, or what the index has of it."""

    @property
    def value(self) -> float: ...

    @property
    def samples(self) -> int: ...

    @property
    def provenance(self) -> str: ...


def megabytes(size: int) -> str:
    """Decimal megabytes, as download pages count them."""
    return f"{size / 1e6:.2f} MB"


def accuracy_text(accuracy: Percentage | None) -> str:
    """``90.0% (18/20)`` or a dash; a published value says so."""
    if accuracy is None:
        return NO_VALUE
    if accuracy.provenance == "published":
        return f"{accuracy.value:.2f}% (published)"
    right = round(accuracy.value * accuracy.samples / 100)
    return f"{accuracy.value:.1f}% ({right}/{accuracy.samples})"


def list_table(rows: Sequence[Listed], *, measured: str = "Measured cells") -> str:
    """One line per entry: name, tags, format, size, top-1, how many measurements, digest.

    Columns are made here: tabulate takes seconds for ten thousand rows. ``measured`` heads the number of measurements.
    """
    return columns(
        [header or measured for header in _HEADERS],
        [
            (
                row.name,
                ", ".join(row.tags) or NO_VALUE,
                row.format,
                megabytes(row.size_bytes),
                accuracy_text(row.top1),
                str(row.measurements),
                f"sha256:{row.digest[:12]}",
            )
            for row in rows
        ],
        _RIGHT,
    )


def columns(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """A table as tabulate's "simple" has it; ``right`` tells which columns are aligned to the right."""
    by_column = list(zip(headers, *rows, strict=True))
    widths = [max(map(len, column)) for column in by_column]
    shape = "  ".join(f"%{'' if on_right else '-'}{width}s" for width, on_right in zip(widths, right, strict=True))
    ruled = (headers, ["-" * width for width in widths], *rows)
    return "\n".join([(shape % tuple(row)).rstrip() for row in ruled])
