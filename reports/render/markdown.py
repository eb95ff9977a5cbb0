"""Tables as GitHub Markdown that reads well unrendered, too. Everything that came from outside is shown as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tabulate import tabulate

from reports.render.wording import basis, figure, legend, marks_of, second_hand
from reports.values import Line, Missing, Table, Text, Value
from zoo.markdown import code, escape, visible

__all__ = ["cell", "code", "escape", "page", "table", "terminal"]


def cell(value: Value) -> str:
    """One table cell."""
    match value:
        case Text(code=True):
            return code(value.text)
        case Missing():
            return escape(value.why)
        case Text():
            text = escape(value.text)
        case Line(parts=parts) if not marks_of(value):
            return " / ".join(cell(part) for part in parts)
        case Line():
            text = escape(figure(value))
        case _:
            # Numbers in our own wording. An interval's brackets are no link: neither "(" nor a definition follows.
            text = figure(value)
    if second_hand(value):
        text = f"*{text}*"
    if basis(value):
        text = f"{text}, {escape(basis(value))}"
    return " ".join((text, *marks_of(value)))


def table(drawn: Table) -> str:
    """A table with the legend of its marks and its notes, without its title."""
    drawn = replace(drawn, rows=tuple(drawn.rows))  # made once, for the cells and for the legend
    if not drawn.rows:
        body = "Nothing to show yet."
    else:
        body = tabulate(
            [[cell(value) for value in row] for row in drawn.rows],
            headers=[escape(column.heading) for column in drawn.columns],
            tablefmt="pipe",
            colalign=[column.align for column in drawn.columns],
            disable_numparse=True,
        )
    marks = legend(drawn)
    # The marks' own characters are ours and harmless; escaping them would only make the plain text harder to read.
    below = [f"Marks: {'; '.join(marks)}."] if marks else []
    return "\n\n".join([body, *below, *(escape(note) for note in drawn.notes)])


def page(parts: Sequence[str | Table]) -> str:
    """A page of paragraphs, which are Markdown already, and tables."""
    drawn = [part if isinstance(part, str) else table(part) for part in parts]
    return "\n\n".join(part.strip("\n") for part in drawn if part) + "\n"


def terminal(drawn: Table) -> str:
    """The same table for a terminal: no markup, no escapes but those for what does not print."""
    if not drawn.rows:
        return "Nothing to show yet."
    return tabulate(
        [[_plain(value) for value in row] for row in drawn.rows],
        headers=[visible(column.heading) for column in drawn.columns],
        tablefmt="simple",
        colalign=[column.align for column in drawn.columns],
        disable_numparse=True,
    )


def _plain(value: Value) -> str:
    text = f"{figure(value)}, {basis(value)}" if basis(value) else figure(value)
    return " ".join((text, *marks_of(value)))
