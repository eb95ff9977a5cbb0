"""Results as rows of columns, for CSV and Parquet.

Every row that holds a latency holds its verdict, its protocol and its provenance beside it.

CSV follows RFC 4180: UTF-8 without a byte order mark, CRLF, quotes where they are needed, an empty field for what is
not known, a list as JSON. A spreadsheet runs a text that begins like a formula, and devices name themselves: text
whose first sign that is not white space is ``= + - @`` (also full-width), or that begins with a tab or a line end, gets
an apostrophe in front, and so does text that begins with an apostrophe. To read a text column back, drop one leading
apostrophe. Numbers are written as they are.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

import msgspec

from harness.results.store import StoredRepeat
from pocketzoo import __version__
from pocketzoo.errors import BadInput
from zoo.measurement import Measurement

Kind = Literal["text", "whole", "real", "reals"]
Row = Sequence[object]

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
BATCH_ROWS = 20_000


@dataclass(frozen=True)
class Column:
    """A column's name, and what its values are: text, whole numbers, real numbers or lists of them; any may be None."""

    name: str
    kind: Kind


CELLS: tuple[Column, ...] = (
    *(Column(name, "text") for name in ("model", "device", "soc", "abi")),
    Column("threads_requested", "whole"),
    Column("threads_actual", "whole"),
    *(Column(name, "text") for name in ("affinity", "options")),
    Column("metric", "text"),
    *(Column(name, "text") for name in ("provenance", "verdict", "reason")),
    *(Column(name, "whole") for name in ("warmup", "runs", "repeats")),
    Column("centre", "text"),  # what the interval and the repeats' figures are of: the median, or a tool's mean
    *(Column(name, "real") for name in ("median_ms", "ci95_low_ms", "ci95_high_ms", "mean_ms", "p90_ms", "p99_ms")),
    *(Column(name, "real") for name in ("min_ms", "max_ms", "std_ms", "mad_ms")),
    Column("repeat_medians_ms", "reals"),
    Column("init_ms", "real"),
    Column("first_ms", "real"),
    Column("instructions", "real"),  # of an inference, the median; such a cell has no latency
    Column("instructions_spread", "real"),
    *(Column(name, "text") for name in ("runner", "runner_version", "runner_sha256", "runtime", "delegate")),
    *(Column(name, "text") for name in ("artifact_sha256", "job_key", "device_fingerprint", "device_model")),
    *(Column(name, "text") for name in ("os_build", "kernel", "output_check", "time", "versions", "error")),
)

SAMPLES: tuple[Column, ...] = (
    *(Column(name, "text") for name in ("job_key", "model", "device", "provenance", "verdict")),
    *(Column(name, "whole") for name in ("warmup", "runs", "round", "repeat", "index", "ns")),
)


def cell_row(m: Measurement) -> Row:
    """One cell, in the order of :data:`CELLS`. A measurement without its repeats is counted by their medians."""
    s, device, runner = m.summary, m.device, m.runner
    repeats = len(m.repeats) or (len(s.repeat_medians_ms) if s else None)
    if m.instructions is not None:
        repeats = len(m.instructions.repeat_medians)
    low, high = s.ci95_ms if s else (None, None)
    figures: tuple[float | None, ...] = (None,) * 10
    if s is not None:
        median = s.median_ms if s.centre == "median" else None
        figures = (median, low, high, s.mean_ms, s.p90_ms, s.p99_ms, s.min_ms, s.max_ms, s.std_ms, s.mad_ms)
    return (
        *(m.model, device.name, device.soc, m.abi),
        *(m.threads_requested, m.threads_actual, m.affinity),
        " ".join(f"{name}={value}" for name, value in m.options) or None,
        m.metric,
        *(m.provenance, m.verdict.name, m.verdict.reason),
        *(m.warmup, m.runs, repeats),
        s.centre if s else None,
        *figures,
        s.repeat_medians_ms if s else None,
        s.init_ms if s else None,
        s.first_ms if s else None,
        m.instructions.median if m.instructions else None,
        m.instructions.spread if m.instructions else None,
        *(runner.name, runner.version, runner.binary_sha256, runner.runtime, runner.delegate),
        *(m.artifact_sha256, m.job_key, device.fingerprint, device.model),
        *(device.os_build, device.kernel, m.output_check.outcome if m.output_check else None, m.time),
        msgspec.json.encode(m.versions, order="deterministic").decode(),
        m.error,
    )


def sample_rows(stored: Iterable[StoredRepeat]) -> Iterator[Row]:
    """One row for each raw sample, in the order of :data:`SAMPLES`; repeats and samples count from 0."""
    for one in stored:
        m = one.measurement
        head = (m.job_key, m.model, m.device.name, m.provenance, m.verdict.name, m.warmup, m.runs)
        for index, ns in enumerate(one.repeat.samples_ns):
            yield (*head, one.round_number, one.number, index, ns)


def write_csv(out: IO[str], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Write a heading and the rows; see the top of this file for what is done to them.

    Returns:
        How many rows there were.
    """
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007  the count is the answer
        writer.writerow([_field(value) for value in row])
    return count


def write_parquet(out: IO[bytes], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Write a Parquet file, a row group at a time.

    Returns:
        How many rows there were.

    Raises:
        BadInput: pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise BadInput(
            f"Parquet needs pyarrow: {error}", hint="pip install 'pocketzoo[parquet]', or --format csv"
        ) from error
    kinds = {
        "text": arrow.string(), "whole": arrow.int64(), "real": arrow.float64(), "reals": arrow.list_(arrow.float64())
    }  # fmt: skip
    schema = arrow.schema(
        [(column.name, kinds[column.kind]) for column in columns], metadata={"pocketzoo": __version__}
    )
    count = 0
    with parquet.ParquetWriter(out, schema) as writer:
        for batch in _batches(rows):
            values = [
                arrow.array(part, kind) for part, kind in zip(zip(*batch, strict=True), schema.types, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(values, schema=schema))
            count += len(batch)
    return count


def safe_text(text: str) -> str:
    """Text that a spreadsheet shows instead of running."""
    risky = text.startswith(("'", "\t", "\r", "\n")) or text.lstrip().startswith(FORMULA)
    return f"'{text}" if risky else text


def _field(value: Any) -> object:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, tuple):
        return msgspec.json.encode(value).decode()
    return value


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
