"""Rows of a table that are made when somebody looks at them.

A table of ten thousand models is written in pages, and a build makes only the pages that changed. So a row brings the
digest of what it is made from, which is cheap, and the making of its values, which is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """A row to be made.

    ``says`` tells everything that it is made from, or digests of it; two rows that say the same are the same.
    ``about`` is the digest of the artifact that it is about, where there is one.
    """

    says: str
    make: Callable[[], tuple[T, ...]]
    about: str = ""


def standing(row: tuple[T, ...]) -> Row[T]:
    """A row that is made already; its values tell all of themselves when they are printed."""
    return Row(repr(row), lambda: row)


class Rows(Sequence[tuple[T, ...]]):
    """A sequence of rows, each made anew whenever it is looked at; a slice is such a sequence, too."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[Row[T]]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[T, ...]]:
        return (row.make() for row in self._rows)

    @overload
    def __getitem__(self, place: int) -> tuple[T, ...]: ...

    @overload
    def __getitem__(self, place: slice) -> Rows[T]: ...

    def __getitem__(self, place: int | slice) -> tuple[T, ...] | Rows[T]:
        return Rows(self._rows[place]) if isinstance(place, slice) else self._rows[place].make()

    def key(self) -> str:
        """A digest of what all of these rows are made from."""
        digest = hashlib.sha256()
        for row in self._rows:
            digest.update(row.says.encode("utf-8", "surrogatepass") + b"\0")
        return digest.hexdigest()

    def map(self, change: Callable[[str, tuple[T, ...]], tuple[U, ...]], says: Callable[[str], str]) -> Rows[U]:
        """Rows made of these.

        Args:
            change: from ``about`` and a row to the new row.
            says: from ``about`` to what else the new row is made from.
        """
        return Rows(Row(f"{says(row.about)}\x1f{row.says}", _Changed(change, row), row.about) for row in self._rows)


@dataclass(frozen=True, slots=True)
class _Changed(Generic[T, U]):
    change: Callable[[str, tuple[T, ...]], tuple[U, ...]]
    row: Row[T]

    def __call__(self) -> tuple[U, ...]:
        return self.change(self.row.about, self.row.make())
