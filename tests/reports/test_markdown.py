"""Whatever a name holds, a table stays a table and shows the name as text; read back by a Markdown parser."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from reports.render import markdown
from reports.render.wording import legend
from reports.values import Column, Latency, Missing, Ratio, Score, Table, Text
from tests.reports.records import HOSTILE
from zoo.markdown import visible

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NASTY = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="|`*_[]()<>!\\&;#~$@:/ \n\t-+=.1ax", max_size=40),
    st.sampled_from([HOSTILE, "&lt;b&gt;", "&#124;", "![x](y)", "<!-- ", "http://e.example", "--", "1. a", "\\|"]),
)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def inline(tokens: list[Token]) -> list[list[Token]]:
    return [token.children or [] for token in tokens if token.type == "inline"]


@given(NASTY)
def test_escaped_text_reads_back_as_the_text_in_a_paragraph(text: str) -> None:
    escaped = markdown.escape(text)
    tokens = PARSER.parse(escaped)
    if not squeezed(visible(text)):
        assert not tokens
        return
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    children = inline(tokens)[0]
    assert {child.type for child in children} <= {"text", "text_special"}
    assert squeezed("".join(child.content for child in children)) == squeezed(visible(text))


@given(st.lists(NASTY, min_size=1, max_size=3), NASTY)
def test_a_table_keeps_its_cells_whatever_they_hold(texts: list[str], heading: str) -> None:
    columns = (Column(f"h {heading}"), Column("second", "right"))
    table = Table("t", columns, tuple((Text(f"x{text}"), Missing(f"y{text}")) for text in texts))
    tokens = PARSER.parse(markdown.table(table))
    assert tokens[0].type == "table_open"
    cells = ["".join(child.content for child in children) for children in inline(tokens)]
    assert len(cells) == 2 + 2 * len(texts)
    assert squeezed(cells[0]) == squeezed(visible(f"h {heading}"))
    expected = [squeezed(visible(f"{start}{text}")) for text in texts for start in "xy"]
    assert [squeezed(cell) for cell in cells[2:]] == expected
    for children in inline(tokens):
        assert {child.type for child in children} <= {"text", "text_special"}


@given(NASTY.filter(lambda text: bool(visible(text).strip())))
def test_code_reads_back_as_code(text: str) -> None:
    table = Table("t", (Column("a"),), ((Text(text, code=True),),))
    children = inline(PARSER.parse(markdown.table(table)))[1]
    assert [child.type for child in children] == ["code_inline"]
    assert squeezed(children[0].content) == squeezed(visible(text))


@given(NASTY)
def test_nothing_invisible_is_left(text: str) -> None:
    assert visible(text).isprintable()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("mobilenetv2-quant", "mobilenetv2-quant"),
        ("x86_64, 2026-11-01T10:00:00Z", "x86_64, 2026-11-01T10:00:00Z"),
        ("failed: 300.8", "failed: 300.8"),
        ("高通855", "高通855"),
    ],
)
def test_ordinary_words_stay_readable_in_plain_text(text: str, plain: str) -> None:
    assert markdown.escape(text) == plain


def test_automatic_links_and_mentions_are_broken() -> None:
    assert markdown.escape("http://e.example") == r"http\://e.example"
    assert markdown.escape("www.e.example") == r"www\.e.example"
    assert markdown.escape("@someone") == r"\@someone"


def test_second_hand_numbers_are_italic_and_marked_and_measured_ones_are_not() -> None:
    assert markdown.cell(Latency(12.0, 0.1, ("✓",), "c")) == "12.00 ± 0.10 ✓"
    assert markdown.cell(Latency(12.0, 0.1, ("†emulated",), "c", "A")) == "*12.00 ± 0.10* †emulated (A)"
    assert markdown.cell(Text("2.50x", published=True)) == "*2.50x* ‡published"
    assert markdown.cell(Ratio(2.0, 1.9, 2.1, ("parent !clamped",))) == "2.00× [1.90, 2.10] parent !clamped"
    published = Score(70.0, "%", None, None, 5, "d/s", ("‡published",))
    assert markdown.cell(published) == "*70.00%*, n=5, d/s ‡published"


def test_the_legend_has_every_mark_in_use_and_no_other() -> None:
    table = Table("t", (Column("a"),), ((Latency(1.0, None, ("†emulated", "!unstable"), "c", "B"),),))
    text = " ".join(legend(table))
    assert "†emulated" in text and "!unstable" in text and "(A)" in text
    assert "✓" not in text and "!clamped" not in text
    assert "Marks: " in markdown.table(table)


def test_a_table_without_rows_says_so() -> None:
    assert markdown.table(Table("t", (Column("a"),), ())) == "Nothing to show yet."
    assert markdown.terminal(Table("t", (Column("a"),), ())) == "Nothing to show yet."


def test_the_terminal_gets_no_control_characters() -> None:
    text = markdown.terminal(Table("t", (Column("a"),), ((Text(HOSTILE),),)))
    assert "\x1b" not in text
    assert "\u202e" not in text
