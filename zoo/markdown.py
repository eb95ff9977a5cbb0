"""Text of others inside Markdown: shown as it is, whatever it holds. Pure.

For paragraphs, table cells, inline code and fences, as CommonMark and GitHub's dialect of it read them.
"""

from __future__ import annotations

import re
from functools import lru_cache

# All ASCII punctuation that can begin or end some construct: emphasis, code, links, images, HTML, entities, table
# cells, strike-through, mathematics, mentions, automatic links. A backslash before it is dropped by every renderer.
# An underscore inside a word and a colon before a space or between digits do nothing, so they stay readable.
_ACTIVE = re.compile(r"[\\`*\[\]<>|~$&@]|_(?!(?<=[^\W_]_)[^\W_])|:(?!\s|$|(?<=\d:)\d)")
# At the beginning of a paragraph these would make a heading, list, quote or rule.
_LEADING = re.compile(r"^(?:(?P<number>\d+)(?=[.)](?:\s|$))|(?=[#+=-]+(?:\s|$)))")


def visible(text: str) -> str:
    """Text in one line in which nothing is hidden: what does not print is spelled as its escape (a newline as ``\\n``).

    Control characters could break a table or drive a terminal; invisible and direction-changing ones could make a
    name read as another.
    """
    if text.isprintable():  # nearly every text, and there are millions of them in a large report
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


@lru_cache(maxsize=1 << 14)
def escape(text: str) -> str:
    """Text that Markdown shows as it is, inside a table cell or a paragraph, in one line."""
    escaped = _ACTIVE.sub(lambda found: "\\" + found[0], visible(text).strip())
    escaped = re.sub(r"(?i)\bwww\.", lambda found: found[0][:-1] + "\\.", escaped)
    return _LEADING.sub(lambda found: f"{found['number'] or ''}\\", escaped, count=1)


def code(text: str) -> str:
    """Text as inline code, fenced with more backticks than it holds; pipes stay inside their cell."""
    shown = visible(text).strip() or " "
    fence = "`" * (_longest_run(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}".replace("|", "\\|")


def fenced(text: str, language: str = "") -> str:
    """Lines of text as a block of code that ends where the text ends: its fence is longer than any run in it."""
    lines = [visible(line.replace("\t", "    ")) for line in text.split("\n")]
    body = "\n".join(lines).strip("\n")
    fence = "`" * max(3, _longest_run(body) + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)
