"""Rows of a table that are made when somebody looks at them.

A table of ten thousand models is written in pages, and a build makes only the pages that changed. So the rows of a
table are what they are about, a digest for each of what it is made from, which is cheap, and one function that makes
the values of a row, which is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast, overload

from msgspec import Struct

from pocketzoo.decodable import decodable

T = TypeVar("T")
U = TypeVar("U")


class Standing(Struct, frozen=True):
    """What a row is about that is made already: the row itself."""

    row: tuple[Any, ...]

    @property
    def says(self) -> str:
        """Its values tell all of themselves when they are printed."""
        return hashlib.sha256(repr(self.row).encode("utf-8", "surrogatepass")).hexdigest()


decodable(Standing)


class Rows(Sequence[tuple[T, ...]]):
    """A sequence of rows, each made anew whenever it is looked at; a slice is such a sequence, too.

    Args:
        about: what each row is about: a record, or the row itself as :class:`Standing`.
        says: for each row digests of everything that it is made from and that other rows of the table are not.
        make: from what a row is about to its values; :class:`Standing` rows do not come to it.
        told: everything else that the rows are made from, or a digest of it.
        changes: what is done to each row after it was made, see :meth:`map`.
    """

    __slots__ = ("_about", "_changes", "_make", "_says", "_told")

    def __init__(
        self,
        about: Sequence[Any],
        says: Sequence[str],
        make: Callable[[Any], tuple[T, ...]],
        told: str = "",
        changes: tuple[Callable[[Any, tuple[Any, ...]], tuple[Any, ...]], ...] = (),
    ) -> None:
        if len(about) != len(says):
            raise ValueError(f"{len(about)} rows of which {len(says)} say what they are made from")
        self._about, self._says, self._make, self._told, self._changes = about, says, make, told, changes

    def __len__(self) -> int:
        return len(self._about)

    def __iter__(self) -> Iterator[tuple[T, ...]]:
        return map(self._row, self._about)

    def _row(self, about: Any) -> tuple[T, ...]:
        row: tuple[Any, ...] = about.row if type(about) is Standing else self._make(about)
        for change in self._changes:
            row = change(about, row)
        return row

    @overload
    def __getitem__(self, place: int) -> tuple[T, ...]: ...

    @overload
    def __getitem__(self, place: slice) -> Rows[T]: ...

    def __getitem__(self, place: int | slice) -> tuple[T, ...] | Rows[T]:
        if isinstance(place, slice):
            return Rows(self._about[place], self._says[place], self._make, self._told, self._changes)
        return self._row(self._about[place])

    def key(self) -> str:
        """A digest of what all of these rows are made from."""
        told = f"{self._told}\0{len(self._says)}\0" + "\0".join(self._says)
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()

    def map(
        self,
        change: Callable[[Any, tuple[T, ...]], tuple[U, ...]],
        told: str = "",
        says: Callable[[Any], str] | None = None,
    ) -> Rows[U]:
        """Rows made of these.

        Args:
            change: from what a row is about, and the row, to the new row.
            told: what else all the new rows are made from.
            says: from what a row is about to what else the new row is made from.
        """
        mine = self._says
        if says is not None:
            mine = [f"{says(about)}\x1f{said}" for about, said in zip(self._about, mine, strict=True)]
        return Rows(self._about, mine, cast("Any", self._make), f"{self._told}\x1f{told}", (*self._changes, change))
