"""``zoo verify``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketzoo import command
from pocketzoo.errors import PocketzooError
from zoo.commands.signing import chosen_trust, trust_options

if TYPE_CHECKING:
    from zoo.sign import Identity, PublicKey
    from zoo.store import Entry, Store
    from zoo.verify import Finding


@click.command()
@click.argument("reference", metavar="[REF]", required=False)
@trust_options
@command.reporting_options
def verify(
    reference: str | None,
    require_signature: bool,
    public_key: Path | None,
    identity: str | None,
    identity_provider: str | None,
    as_json: bool,
) -> None:
    """Check hashes, manifests, lineage, and that the runtime loads each model. Exit 1 if anything is wrong."""
    from zoo.store import Store
    from zoo.verify import Finding, verify_entry

    store = Store()
    trust = chosen_trust(require_signature, public_key, identity, identity_provider)
    problems: list[PocketzooError] = []
    entries = [store.get(reference)] if reference else list(store.entries(problems.append))
    findings = [Finding("-", "manifest", False, f"{p.what}: {p.where}") for p in problems]
    for entry in entries:
        for finding in (*verify_entry(store, entry), *_signature(store, entry, trust)):
            findings.append(finding)
            if not as_json:
                command.tell(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.entry}  {finding.check}: {finding.says}")
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
            command.tell(f"FAIL  manifest: {problem.what}: {problem.where}")
        command.tell(f"{len(findings)} checks of {len(entries)} models, {wrong} failed")
    if wrong:
        raise click.exceptions.Exit(1)


def _signature(store: Store, entry: Entry, trust: PublicKey | Identity | None) -> Iterator[Finding]:
    if trust is not None:
        from zoo.signatures import signature_finding

        yield signature_finding(store, entry, trust)
