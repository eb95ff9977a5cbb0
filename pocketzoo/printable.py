"""Text that others wrote, made fit for a terminal: no escape sequence, direction mark or control character in it."""

from __future__ import annotations

import re

# Beyond ASCII, what reorders or hides text; JSON writers leave these as they are.
_UNSEEN = re.compile("[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")


def printable(text: str, *, lines: bool = False) -> str:
    """``text`` with everything that does not print written as ``\\x1b`` or ``\\u202e``.

    A name or note out of a model file or a manifest could otherwise move the cursor, recolour or reverse what follows,
    or set the terminal's title.

    Args:
        text: what somebody wrote.
        lines: keep line ends and tabs.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else _escaped(c) for c in text)


def printable_json(text: str) -> str:
    """A JSON document with the characters that terminals act on as ``\\uXXXX``: the same values, safe to look at."""
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return _UNSEEN.sub(lambda found: _utf16(found[0]), text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _utf16(character: str) -> str:
    raw = character.encode("utf-16-be")
    return "".join(f"\\u{raw[i]:02x}{raw[i + 1]:02x}" for i in range(0, len(raw), 2))
