"""``zoo verify``."""

from __future__ import annotations

import click

from pocketzoo import command
from pocketzoo.errors import PocketzooError


@click.command()
@click.argument("reference", metavar="[REF]", required=False)
@command.reporting_options
def verify(reference: str | None, as_json: bool) -> None:
    """Check hashes, manifests, lineage, and that the runtime loads each model. Exit 1 if anything is wrong."""
    from zoo.store import Store
    from zoo.verify import Finding, verify_entry

    store = Store()
    problems: list[PocketzooError] = []
    entries = [store.get(reference)] if reference else list(store.entries(problems.append))
    findings = [Finding("-", "manifest", False, f"{p.what}: {p.where}") for p in problems]
    for entry in entries:
        for finding in verify_entry(store, entry):
            findings.append(finding)
            if not as_json:
                click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.entry}  {finding.check}: {finding.says}")
    wrong = sum(not finding.ok for finding in findings)
    if as_json:
        command.print_json(
            {
                "ok": wrong == 0,
                "findings": [{"entry": f.entry, "check": f.check, "ok": f.ok, "says": f.says} for f in findings],
            }
        )
    else:
        for problem in problems:
            click.echo(f"FAIL  manifest: {problem.what}: {problem.where}")
        click.echo(f"{len(findings)} checks of {len(entries)} models, {wrong} failed")
    if wrong:
        raise click.exceptions.Exit(1)
