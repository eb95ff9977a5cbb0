"""Rows that are made when somebody looks at them."""

from __future__ import annotations

import pytest

from reports.folder import key_of
from reports.rows import Rows, Standing


def test_a_row_is_made_only_when_it_is_looked_at() -> None:
    made: list[int] = []

    def row(number: int) -> tuple[int, ...]:
        made.append(number)
        return (number,)

    rows = Rows(range(10), [str(number) for number in range(10)], row)
    key_of("page", rows[3:6], len(rows))
    assert made == []
    assert list(rows[3:6]) == [(3,), (4,), (5,)]
    assert rows[-1] == (9,)
    assert made == [3, 4, 5, 9]


def test_the_key_is_that_of_what_the_rows_say() -> None:
    one = Rows("ab", ["a", "b"], lambda _: (1,))
    assert one.key() == Rows("xy", ["a", "b"], lambda _: (7,)).key()
    assert len({rows.key() for rows in (one, one[::-1], one[:1], one[:0])}) == 4
    assert one.key() != Rows("ab", ["ab", ""], lambda _: (1,)).key()
    assert one.key() != Rows("ab", ["a", "b"], lambda _: (1,), "told").key()
    assert Standing((1, "x")).says != Standing((1, "y")).says


def test_a_row_that_stands_is_given_as_it_is_and_changed_as_the_others() -> None:
    rows = Rows([Standing(("printed",)), "made"], ["1", "2"], lambda about: (about,))
    assert list(rows) == [("printed",), ("made",)]
    assert list(rows.map(lambda _, row: (row[0].upper(),))) == [("PRINTED",), ("MADE",)]


def test_a_change_tells_what_else_a_row_is_made_from() -> None:
    rows = Rows(["digest"], ["a"], lambda _: (1,))
    links = {"digest": "models/a.html"}
    linked = rows.map(lambda about, row: (f"{links[about]} {row[0]}",), says=lambda about: links[about])
    assert list(linked) == [("models/a.html 1",)]
    before = linked.key()
    links["digest"] = "models/b.html"
    assert rows.map(lambda about, row: (about, *map(str, row)), says=lambda about: links[about]).key() != before
    assert linked.map(lambda _, row: row, "more").key() != before


def test_a_row_that_does_not_say_what_it_is_made_from_is_refused() -> None:
    with pytest.raises(ValueError, match="2 rows of which 1"):
        Rows("ab", ["a"], lambda about: (about,))
