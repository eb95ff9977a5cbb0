"""The front: held against its definition."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketzoo.errors import BadInput
from tests.zoo.candidates import model
from zoo.choice_text import front_record, front_text
from zoo.constraints import Constraints
from zoo.pareto import pareto, parse_axes

ON = Constraints(device="kirin970")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)), max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int, int]]) -> None:
    entries = [
        model(f"m{number}", ms=float(ms), accuracy=float(top), size_bytes=size)
        for number, (ms, top, size) in enumerate(points)
    ]
    front = pareto(entries, ("latency", "top1", "size"), constraints=ON)
    expected = {
        f"m{n}"
        for n, (ms, top, size) in enumerate(points)
        if not any((a, -b, c) != (ms, -top, size) and a <= ms and b >= top and c <= size for a, b, c in points)
    }
    assert {row.candidate.name for row in front.rows} == expected
    assert front.beaten == len(points) - len(expected)
    assert [row.latency.upper_ms for row in front.rows if row.latency] == sorted(
        row.latency.upper_ms for row in front.rows if row.latency
    )


def test_what_lacks_a_figure_is_named() -> None:
    entries = [model("a", ms=5.0), model("b"), model("c", ms=4.0, accuracy=None), model("d", ms=9.0, accuracy=60.0)]
    front = pareto(entries, constraints=ON)
    assert [row.candidate.name for row in front.rows] == ["a"]
    assert [(c.name, why) for c, why in front.lacking] == [
        ("b", "not measured on kirin970"),
        ("c", "no top1 that counts"),
    ]
    text = front_text(front, "kirin970")
    assert "1 on the front, 1 beaten by one of them" in text
    assert "2 not compared, e.g. b: not measured on kirin970" in text
    limited = pareto(entries, constraints=msgspec.structs.replace(ON, minimum=(("top1", 80.0),)))
    assert limited.rows == ()


def test_axes() -> None:
    assert parse_axes("latency, top1") == ("latency", "top1")
    for wrong in ("latency", "", "top1,top1"):
        with pytest.raises(BadInput, match="two or more different axes"):
            parse_axes(wrong)
    with pytest.raises(BadInput, match="needs --device"):
        pareto([], ("latency", "top1"))
    assert pareto([model("a", ms=1.0)], ("size", "top1")).rows[0].candidate.name == "a"


def test_the_front_as_a_document() -> None:
    entries = [model("a", ms=5.0), model("b"), model("d", ms=9.0, accuracy=60.0)]
    document = msgspec.json.decode(msgspec.json.encode(front_record(pareto(entries, constraints=ON))))
    assert [row["name"] for row in document["front"]] == ["a"]
    assert document["front"][0]["accuracy"]["top1"]["value"] == 71.0
    assert document["beaten"] == 1
    assert document["lacking"][0]["says"] == "not measured on kirin970"
