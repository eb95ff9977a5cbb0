"""``harness results``: what was measured, as a table, JSON, CSV or Parquet."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from pocketzoo import command
from pocketzoo.errors import BadInput

FORMATS = ("table", "json", "csv", "parquet")


@click.command("results")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only this model; repeatable.")
@click.option("--device", "devices", multiple=True, metavar="D", help="Only this device; repeatable.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to this file.")
@click.option("--samples", is_flag=True, help="One row for each raw sample (csv, parquet); json always has them.")
@command.reporting_options
def results(
    *,
    models: tuple[str, ...],
    devices: tuple[str, ...],
    format_: str,
    out: Path | None,
    samples: bool,
    as_json: bool,
) -> None:
    """What was measured: the newest result of each cell, with verdict and evidence."""
    _check(format_, out, samples=samples, as_json=as_json)
    if format_ in ("csv", "parquet"):
        _export(models, devices, format_, out, samples=samples, as_json=as_json)
    elif format_ == "json" or as_json:
        _document(models, devices, out)
    else:
        _table(models, devices, out)


def _check(format_: str, out: Path | None, *, samples: bool, as_json: bool) -> None:
    if samples and format_ == "table" and not as_json:
        raise BadInput("--samples goes with rows", hint="add --format csv, or --format parquet --out FILE")
    if format_ == "parquet" and out is None:
        raise BadInput("a Parquet file is not text for a terminal", hint="add --out results.parquet")
    if format_ == "csv" and as_json and out is None:
        raise BadInput("--json and --format csv both want stdout", hint="add --out results.csv, or leave one away")


def _table(models: tuple[str, ...], devices: tuple[str, ...], out: Path | None) -> None:
    from harness.listing import results_text
    from harness.results import Results

    found = Results().latest_summaries(models=models, devices=devices)
    if not found:
        command.say("no results yet\n  next:  harness run --device local --model REF")
        return
    _put(results_text(found) + "\n", out)


def _document(models: tuple[str, ...], devices: tuple[str, ...], out: Path | None) -> None:
    import msgspec

    from harness.listing import cell_record
    from harness.results import Results

    records = [cell_record(m) for m in Results().latest(models=models, devices=devices)]
    if out is None:
        command.print_json(records)
    else:
        _put(msgspec.json.format(msgspec.json.encode(records), indent=2).decode() + "\n", out)


def _put(text: str, out: Path | None) -> None:
    from pocketzoo.files import write_atomically

    if out is None:
        click.echo(text, nl=False)
        return
    write_atomically(out, text.encode())
    command.say(f"written: {out}")


def _export(
    models: tuple[str, ...], devices: tuple[str, ...], format_: str, out: Path | None, *, samples: bool, as_json: bool
) -> None:
    from harness.results import Results
    from harness.results.export import CELLS, SAMPLES, cell_row, sample_rows, write_csv, write_parquet
    from pocketzoo.files import replacing

    stored = Results()
    columns = SAMPLES if samples else CELLS
    with ExitStack() as open_:
        if samples:
            rows = sample_rows(stored.samples(models=models, devices=devices))
        else:
            rows = map(cell_row, stored.latest_summaries(models=models, devices=devices))
        raw = open_.enter_context(replacing(out)) if out is not None else sys.stdout.buffer
        if format_ == "parquet":
            count = write_parquet(raw, columns, rows)
        else:
            # newline="" leaves the line ends to the CSV writer.
            text = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=False)
            try:
                count = write_csv(text, columns, rows)
                text.flush()
            finally:
                text.detach()
    if out is not None:
        command.say(f"{count} rows written: {out}")
        if as_json:
            command.print_json({"out": str(out), "format": format_, "rows": count, "samples": samples})
