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
@reporting_options
def build(out: Path, as_json: bool) -> None:
    """Write the report: README.md with the summary, tables, plots, and cells.json with every raw sample."""
    from reports.build import build as write
    from reports.gather import gather

    built = write(gather(), out)
    if as_json:
        print_json({"out": str(out), "files": list(built.files), "cells": built.cells})
        return
    click.echo(built.summary)
    click.echo()
    click.echo(str(out / "README.md"))
    say("hint: the tables with their marks and how they were measured are in that file; reports published has others'")


@reports.command()
@click.argument("table", required=False)
@reporting_options
def published(table: str | None, as_json: bool) -> None:
    """List the tables others published, or print one: values exactly as in its document."""
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


def main() -> NoReturn:
    """Entry point of the console command."""
    run(reports, "reports")


if __name__ == "__main__":
    main()
