"""The grammar of model references: ``[remote/]name[:tag|@sha256:digest]``.

    reference = [ remote "/" ] name [ ":" tag | "@sha256:" 64 hex digits ]
    name      = part { separator part }        lower case, e.g. mobilenetv1-0.75x, amc-mobilenetv1-0.5flops
    part      = one or more of a-z 0-9
    separator = one "." or "_", or one or more "-"
    tag       = a letter, digit or "_", then up to 127 letters, digits, ".", "_", "-"
    remote    = like a name

Names become file names; the grammar is what keeps them inside their folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pocketzoo.errors import BadInput

NAME = r"[a-z0-9]+(?:(?:[._]|-+)[a-z0-9]+)*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
DIGEST = r"[0-9a-f]{64}"
LATEST = "latest"
LONGEST_NAME = 128

_REFERENCE = re.compile(rf"(?:(?P<remote>{NAME})/)?(?P<name>{NAME})(?::(?P<tag>{TAG})|@sha256:(?P<digest>{DIGEST}))?")


@dataclass(frozen=True)
class Reference:
    """A parsed reference. At most one of ``tag`` and ``digest`` is set; neither means the tag ``latest``."""

    name: str
    tag: str | None = None
    digest: str | None = None
    remote: str | None = None

    def __str__(self) -> str:
        text = f"{self.remote}/{self.name}" if self.remote else self.name
        if self.digest:
            return f"{text}@sha256:{self.digest}"
        return f"{text}:{self.tag}" if self.tag else text


def parse_reference(text: str) -> Reference:
    """Parse a reference.

    Raises:
        BadInput: the text does not follow the grammar.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or len(match["name"]) > LONGEST_NAME or len(match["remote"] or "") > LONGEST_NAME:
        raise BadInput(
            f"not a model reference: {text!r}",
            hint="write [remote/]name[:tag|@sha256:DIGEST], e.g. mobilenetv2-quant or mobilenetv2-quant:latest",
        )
    return Reference(name=match["name"], tag=match["tag"], digest=match["digest"], remote=match["remote"])


def matches(pattern: str, text: str) -> bool:
    """Whether the whole of ``text`` follows one of the grammar's patterns (NAME, TAG, DIGEST)."""
    return re.fullmatch(pattern, text) is not None


def check_name(text: str) -> str:
    """Return ``text`` if it is a model name.

    Raises:
        BadInput: it is not; the message holds the rule.
    """
    if not matches(NAME, text) or len(text) > LONGEST_NAME:
        raise BadInput(
            f"not a model name: {text!r}",
            hint="use lower-case letters and digits joined by single '.', '_' or '-', e.g. mobilenetv1-0.75x-quant",
        )
    return text


def check_tag(text: str) -> str:
    """Return ``text`` if it is a tag.

    Raises:
        BadInput: it is not; the message holds the rule.
    """
    if not matches(TAG, text):
        raise BadInput(f"not a tag: {text!r}", hint="use letters, digits, '.', '_' and '-', e.g. v2 or 2026-11")
    return text
