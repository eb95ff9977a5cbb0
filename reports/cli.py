"""``reports``: tables and plots from what was measured, and the tables others published."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from pocketzoo.command import print_json, reporting_options, run, say, version_option


@click.group()
def reports() -> None:
    """Tables and plots of what was measured, next to what was published."""


version_option(reports)


@reports.command()
@click.option(
    "--out",
    type=click.Path(file_okay=True, path_type=Path),
    default=Path("out/report"),
    show_default=True,
    metavar="DIR",
    help="Where to write the report.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["markdown", "site", "all"]),
    default="markdown",
    show_default=True,
    help="Markdown for a code host, a web site that opens from disk, or both.",
)
@click.option(
    "--curve",
    "curves",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Also show this curve of a network pruned step by step (compress curve --out FILE). Can be given again.",
)
@reporting_options
def build(out: Path, kind: str, curves: tuple[Path, ...], as_json: bool) -> None:
    """Write the report: README.md with the summary, tables, plots, and cells.json with every raw sample.

    Only what has changed since the last build into the same folder is made again.
    """
    from reports import collecting
    from reports.build import KINDS
    from reports.build import build as write
    from reports.gather import gather

    with collecting.off():
        built = write(gather(curves=curves), out, KINDS if kind == "all" else (kind,), curves=curves)
    if as_json:
        print_json({"out": str(out), "files": list(built.files), "cells": built.cells, "made": built.made})
        return
    click.echo(built.summary)
    click.echo()
    for first in ("README.md", "site/index.html"):
        if first in built.files:
            click.echo(str(out / first))
    say("hint: the tables with their marks and how they were measured are in that file; reports published has others'")


@reports.command()
@click.argument("table", required=False)
@click.option("--device", metavar="D", help="The latencies that all tables have for this device, fastest first.")
@click.option("--min-top1", type=float, metavar="P", help="Only models of at least so much top-1 accuracy (%).")
@reporting_options
def published(table: str | None, device: str | None, min_top1: float | None, as_json: bool) -> None:
    """List the tables others published, or print one: values exactly as in its document."""
    if device is not None or min_top1 is not None:
        if table is not None:
            raise click.UsageError("TABLE prints one table; --device and --min-top1 look through all of them")
        _fastest(device, min_top1, as_json)
        return
    from harness.published import load, names
    from reports import beside
    from reports.claims import check
    from reports.render.markdown import terminal
    from zoo.markdown import visible

    if table is None:
        found = [load(name) for name in names()]
        if as_json:
            print_json(
                [
                    {"table": t.table, "title": t.title, "rows": len(t.rows), "source": t.source.model_dump()}
                    for t in found
                ]
            )
            return
        click.echo(terminal(beside.listing(found)))
        say("hint: reports published TABLE prints one")
        return
    one = load(table)
    if as_json:
        wrong = [
            {"row": c.row, "column": c.column, "printed": c.printed, "computed": round(c.computed, 6)}
            for c in check(one)
            if not c.fits
        ]
        print_json({**one.model_dump(), "does_not_fit": wrong})
        return
    drawn = beside.as_table(one, marked=False)
    click.echo(f"{drawn.title}\n\n{terminal(drawn)}\n")
    for note in drawn.notes:
        click.echo(f"- {visible(note)}")


def _fastest(device: str | None, min_top1: float | None, as_json: bool) -> None:
    """Published latencies, the shortest first."""
    from dataclasses import asdict, replace

    from pocketzoo.errors import BadInput
    from reports import familiar, figures
    from reports.render.markdown import terminal

    known = sorted({one.device for one in figures.latencies()})
    if device is not None and device not in known:
        raise BadInput(f"no published latency on {device!r}", detail=(f"known: {', '.join(known)}",))
    chosen = familiar.chosen(figures.latencies(), device=device, min_top1=min_top1)
    if as_json:
        print_json([asdict(one) for one in chosen])
        return
    table = familiar.fastest(chosen)
    # Narrow enough for a terminal: the size is in the table itself.
    keep = [i for i, column in enumerate(table.columns) if column.heading != "Size"]
    narrow = replace(
        table,
        columns=tuple(table.columns[i] for i in keep),
        rows=tuple(tuple(row[i] for i in keep) for row in table.rows),
    )
    click.echo(terminal(narrow))
    say("hint: published figures, measured by others; reports published TABLE prints one with its conditions")


@reports.command()
@click.argument("before")
@click.argument("after", default="now")
@click.option("--device", metavar="D", help="Only latencies on this device.")
@click.option(
    "--gate",
    metavar="P%",
    help="Exit 1 where a latency is significantly longer by more than P%, a file bigger by more than P%, or a model "
    "significantly less accurate.",
)
@reporting_options
def diff(before: str, after: str, device: str | None, gate: str | None, as_json: bool) -> None:
    """What got slower, bigger or less accurate between two states, as Markdown fit for a pull request.

    BEFORE and AFTER are each a time (2026-11-01, 2026-11-01T10:00Z), a state folder (with zoo/ or results.sqlite in
    it), or `now`, the local state.
    """
    from harness.request import parse_share
    from reports import regressions
    from reports.render import markdown
    from reports.states import state

    limit = parse_share(gate, "--gate") if gate else None
    found = regressions.difference(state(before), state(after), gate=limit, device=device)
    if as_json:
        print_json(regressions.record(found))
    else:
        click.echo(markdown.page(regressions.parts(found, before, after, markdown.escape)), nl=False)
    if found.broken:
        raise click.exceptions.Exit(1)


@reports.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/report"),
    show_default=True,
    metavar="DIR",
    help="Where to write sensitivity.svg and sensitivity.png.",
)
@reporting_options
def sensitivity(file: Path, out: Path, as_json: bool) -> None:
    """Draw the curves of a sensitivity.json: top-1 while one group of channels after the other is pruned."""
    from reports.curvefile import draw

    written = [str(path) for path in draw(file, out)]
    if as_json:
        print_json({"files": written})
        return
    for path in written:
        click.echo(path)


def main() -> NoReturn:
    """Entry point of the console command."""
    run(reports, "reports")


if __name__ == "__main__":
    main()
