"""Tables as GitHub Markdown that reads well unrendered, too. Everything that came from outside is shown as text."""

from __future__ import annotations

import re

from tabulate import tabulate

from reports.render.wording import basis, figure, legend, marks_of, second_hand, visible
from reports.values import Missing, Table, Text, Value

# All ASCII punctuation that can begin or end some construct: emphasis, code, links, images, HTML, entities, table
# cells, strike-through, mathematics, mentions, automatic links. A backslash before it is dropped by every renderer.
# An underscore inside a word and a colon before a space or between digits do nothing, so they stay readable.
_ACTIVE = re.compile(r"[\\`*\[\]<>|~$&@]|_(?!(?<=[^\W_]_)[^\W_])|:(?!\s|$|(?<=\d:)\d)")
# At the beginning of a paragraph these would make a heading, list, quote or rule.
_LEADING = re.compile(r"^(?:(?P<number>\d+)(?=[.)](?:\s|$))|(?=[#+=-]+(?:\s|$)))")


def escape(text: str) -> str:
    """Text that Markdown shows as it is, inside a table cell or a paragraph, in one line."""
    escaped = _ACTIVE.sub(lambda found: "\\" + found[0], visible(text).strip())
    escaped = re.sub(r"(?i)\bwww\.", lambda found: found[0][:-1] + "\\.", escaped)
    return _LEADING.sub(lambda found: f"{found['number'] or ''}\\", escaped, count=1)


def code(text: str) -> str:
    """Text as inline code, fenced with more backticks than it holds; pipes stay inside their cell."""
    shown = visible(text).strip() or " "
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}".replace("|", "\\|")


def cell(value: Value) -> str:
    """One table cell."""
    match value:
        case Text(code=True):
            return code(value.text)
        case Missing():
            return escape(value.why)
        case Text():
            text = escape(value.text)
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
