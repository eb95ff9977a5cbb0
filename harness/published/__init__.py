"""The tables others published, as data: a YAML file each, every value exactly as it is printed in its document.

Mistakes of the documents stay as printed, with a note beside them. Names of models, strategies and devices are given
in our spelling as well, so that a published row can stand next to a measured one.
"""

from __future__ import annotations

import contextlib
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, model_validator

from pocketzoo import __version__
from pocketzoo.errors import BadInput
from pocketzoo.files import write_atomically
from pocketzoo.home import home
from pocketzoo.names import did_you_mean
from pocketzoo.yamlfile import Section, parse, validate

Holds = Literal[
    "text",
    "model",
    "strategy",
    "device",
    "ratio",
    "accuracy",
    "accuracy-pair",
    "delta",
    "delta-pair",
    "latency",
    "latency-by-threads",
    "fps",
    "size",
    "size-delta",
    "delta-size",
    "speed-up",
    "macs",
    "parameters",
]


class Source(Section):
    """Where a table stands: the document, its file among ours, the heading, the position below that heading."""

    document: str
    file: str
    heading: str
    number: int


class PublishedColumn(Section):
    """A column: its heading as printed, what it means where that needs saying, what it holds and in which unit."""

    heading: str
    holds: Holds
    means: str | None = None
    unit: str | None = None
    strategy: str | None = None
    method: str | None = None
    device: str | None = None
    abi: str | None = None
    threads: int | None = None


class Claim(Section):
    """A figure the table derives from its own columns, and from which; see ``reports.claims``."""

    kind: Literal["delta", "difference", "difference-pair", "share", "speed-up"]
    column: str
    against: str | None = None
    against_strategy: str | None = None
    against_value: float | None = None
    against_values: list[float] | None = None
    of: str | None = None
    over: str | None = None
    minus: str | None = None


class PublishedRow(Section):
    """A row as printed, and what it is in our names."""

    cells: list[str]
    model: str
    strategy: str
    name: str | None = None
    device: str | None = None
    dataset: str | None = None
    method: str | None = None
    note: str | None = None


class PublishedTable(Section):
    """One table of a document.

    ``recipes`` says how our recipes call a strategy or a method of this document, where that is another name: ``quant``
    of PaddleX is made after training (``quant-post``), that of PocketFlow by uniform training (``quant-uniform``).
    ``method`` is that of every row that names none.
    """

    table: str
    title: str
    source: Source
    conditions: str | None = None
    method: str | None = None
    recipes: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    columns: list[PublishedColumn]
    claims: list[Claim] = Field(default_factory=list)
    rows: list[PublishedRow]

    @model_validator(mode="after")
    def _rows_fit(self) -> PublishedTable:
        for number, row in enumerate(self.rows, 1):
            if len(row.cells) != len(self.columns):
                raise ValueError(f"row {number} has {len(row.cells)} cells for {len(self.columns)} columns")
        return self

    def position(self, heading: str) -> int:
        """The position of the column with this heading.

        Raises:
            ValueError: there is none.
        """
        return [column.heading for column in self.columns].index(heading)


def names() -> tuple[str, ...]:
    """The tables there are, sorted."""
    found = (item.name for item in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml")))


@cache
def every() -> tuple[PublishedTable, ...]:
    """Every table, by name; what was read is remembered in the state folder, where there is one."""
    found = tuple(load(name) for name in names())
    path = _memory()
    if not _remembered() and home().is_dir():
        # A folder that cannot be written to only costs time.
        with contextlib.suppress(OSError):
            write_atomically(path, _TABLES.dump_json({table.table: table for table in found}), durable=False)
    return found


@cache
def _remembered() -> dict[str, PublishedTable]:
    """What :func:`every` wrote down; empty where it did not, where the tables have changed, or where it is damaged."""
    try:
        return _TABLES.validate_json(_memory().read_bytes())
    except (OSError, ValueError):
        return {}


@cache
def _memory() -> Path:
    """Where the tables of this version are remembered: reading 26 files of YAML takes half a second."""
    digest = hashlib.sha256(__version__.encode())
    for item in sorted(files(__name__).iterdir(), key=lambda item: item.name):
        if item.name.endswith((".yaml", ".py")):
            digest.update(f"\0{item.name}\0".encode() + item.read_bytes())
    return home() / "published" / f"{digest.hexdigest()[:32]}.json"


_TABLES = TypeAdapter(dict[str, PublishedTable])


@cache
def load(name: str) -> PublishedTable:
    """One table; reading it is slow, so each is read once.

    Raises:
        BadInput: there is no table of that name; the message has the nearest.
    """
    known = names()
    if name not in known:
        close = did_you_mean(name, known)
        raise BadInput(f"no published table {name!r}" + (f"; {close}" if close else ""), hint="reports published")
    kept = _remembered().get(name)
    if kept is not None:
        return kept
    where = f"{name}.yaml"
    return validate(parse((files(__name__) / where).read_text(encoding="utf-8"), where), PublishedTable, where)
