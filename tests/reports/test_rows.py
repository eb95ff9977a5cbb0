"""Rows that are made when somebody looks at them."""

from __future__ import annotations

from reports.folder import key_of
from reports.rows import Row, Rows, standing


def test_a_row_is_made_only_when_it_is_looked_at() -> None:
    made: list[int] = []

    def row(number: int) -> Row[int]:
        return Row(str(number), lambda: (made.append(number) or number,))

    rows = Rows(row(number) for number in range(10))
    key_of("page", rows[3:6], len(rows))
    assert made == []
    assert list(rows[3:6]) == [(3,), (4,), (5,)]
    assert rows[-1] == (9,)
    assert made == [3, 4, 5, 9]


def test_the_key_is_that_of_what_the_rows_say() -> None:
    one = Rows([Row("a", lambda: (1,)), Row("b", lambda: (2,))])
    assert one.key() == Rows([Row("a", lambda: (7,)), Row("b", lambda: (8,))]).key()
    assert one.key() != one[::-1].key() != one[:1].key()
    assert one.key() != Rows([Row("ab", lambda: (1,)), Row("", lambda: (2,))]).key()
    assert standing((1, "x")).says != standing((1, "y")).says


def test_a_change_tells_what_else_a_row_is_made_from() -> None:
    rows = Rows([Row("a", lambda: (1,), "digest")])
    links = {"digest": "models/a.html"}
    linked = rows.map(lambda about, row: (f"{links[about]} {row[0]}",), lambda about: links[about])
    assert list(linked) == [("models/a.html 1",)]
    before = linked.key()
    links["digest"] = "models/b.html"
    assert rows.map(lambda about, row: (about, *map(str, row)), lambda about: links[about]).key() != before
