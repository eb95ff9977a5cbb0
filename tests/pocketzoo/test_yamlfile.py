"""Mistakes in YAML are answered with file, line, key and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pocketzoo.errors import BadInput
from pocketzoo.yamlfile import LARGEST, Section, parse, read, validate


class Circle(Section):
    kind: Literal["circle"]
    radius: float


class Square(Section):
    kind: Literal["square"]
    side: float


class Drawing(Section):
    title: str
    count: Annotated[int, Field(ge=1)] = 1
    shapes: Annotated[tuple[Annotated[Circle | Square, Field(discriminator="kind")], ...], Field(strict=False)] = ()
    named: dict[str, Square] = Field(default_factory=dict)


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(BadInput) as caught:
        validate(parse(text, "drawing.yaml"), Drawing, "drawing.yaml")
    return caught.value.detail


def test_a_right_file_is_read() -> None:
    text = "title: x\nshapes:\n  - {kind: circle, radius: 1.5}\nnamed: {a: {kind: square, side: 2}}\n"
    drawing = validate(parse(text, "drawing.yaml"), Drawing, "drawing.yaml")
    assert drawing.shapes == (Circle(kind="circle", radius=1.5),)


def test_every_mistake_is_told_with_its_line_at_once() -> None:
    text = "titel: x\ncount: many\nshapes:\n  - kind: circle\n    radius: 1\n    side: 3\n"
    found = problems(text)
    assert "drawing.yaml:1: title: missing" in found
    assert "drawing.yaml:1: titel: unknown key; did you mean title? (allowed: title, count, shapes, named)" in found
    assert any(line.startswith("drawing.yaml:2: count: input should be a valid integer") for line in found)
    assert any(line.startswith("drawing.yaml:6: shapes[0].side: unknown key") for line in found)


def test_a_key_below_a_name_has_its_line() -> None:
    found = problems("title: x\nnamed:\n  a:\n    kind: square\n    sid: 1\n")
    assert "drawing.yaml:5: named.a.sid: unknown key; did you mean side? (allowed: kind, side)" in found
    assert any("named.a.side: missing" in line for line in found)


def test_an_unknown_kind_names_the_kinds() -> None:
    (line,) = problems("title: x\nshapes:\n  - kind: blob\n")
    assert line == "drawing.yaml:3: shapes[0].kind: no 'blob'; known: circle, square"


def test_a_number_where_text_belongs_is_not_converted() -> None:
    (line,) = problems("title: 12\n")
    assert line == "drawing.yaml:1: title: input should be a valid string, found 12"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("title: x\n  count: 1\n", "drawing.yaml:2"),
        ("title: [x\n", "drawing.yaml:"),
        ("title: x\ntitle: y\n", "drawing.yaml:2"),
        ("- a\n", "drawing.yaml:1"),
        ("", "drawing.yaml:1"),
        ("title: !!python/object/apply:os.system [ls]\n", "drawing.yaml"),
    ],
)
def test_what_is_not_a_mapping_or_not_yaml_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(BadInput) as caught:
        validate(parse(text, "drawing.yaml"), Drawing, "drawing.yaml")
    assert (caught.value.where or "").startswith(place) or caught.value.detail[0].startswith(place)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        validate(parse(text, "x.yaml"), Drawing, "x.yaml")
    except BadInput as error:
        assert error.where is not None


def test_files_that_are_no_text(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary.yaml", tmp_path / "large.yaml"
    binary.write_bytes(b"title: \xff\xfe")
    large.write_bytes(b"#" * (LARGEST + 1))
    for path in (binary, large, tmp_path, tmp_path / "missing.yaml"):
        with pytest.raises(BadInput) as caught:
            read(path)
        assert caught.value.where == str(path)
