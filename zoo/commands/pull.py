"""``zoo pull``."""

from __future__ import annotations

from pathlib import Path

import click

from pocketzoo import command
from zoo.commands.signing import chosen_trust, trust_options


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Copy the files there.")
@click.option("--force", is_flag=True, help="Replace different files of the same name.")
@click.option("--offline", is_flag=True, help="Ask no remote: only what the local zoo holds.")
@click.option("--refresh", is_flag=True, help="Ask the remotes also where the local zoo has it.")
@trust_options
@command.reporting_options
def pull(
    reference: str,
    to: Path | None,
    force: bool,
    offline: bool,
    refresh: bool,
    require_signature: bool,
    public_key: Path | None,
    identity: str | None,
    identity_provider: str | None,
    as_json: bool,
) -> None:
    """Get a model's files, every byte hashed before it becomes visible.

    NAME is looked for in the local zoo, then in the default remote, then in the others; REMOTE/NAME in that remote
    alone. Without --to the path inside the local zoo is printed.
    """
    from zoo import pull as pulling
    from zoo.progress import OnStderr
    from zoo.store import Store

    store = Store()
    accept = None
    if (trust := chosen_trust(require_signature, public_key, identity, identity_provider)) is not None:
        from zoo.signatures import demanding

        accept = demanding(trust, lambda facts: command.say(f"signed by {facts.signer}"))
    with OnStderr() as progress:
        pulled = pulling.pull(
            reference, store=store, offline=offline, refresh=refresh, progress=progress, accept=accept
        )
    entry = pulled.entry
    for warning in pulled.warnings:
        command.say(f"warning: {warning}")
    if to is None:
        paths = [store.file(record) for record in entry.artifact.files]
    else:
        paths = store.export(entry, to, force=force)
    if as_json:
        files = [
            {"path": str(path), "sha256": record.sha256, "size": record.size}
            for record, path in zip(entry.artifact.files, paths, strict=True)
        ]
        command.print_json(
            {
                "name": entry.artifact.name,
                "digest": f"sha256:{entry.artifact.digest}",
                "source": pulled.source,
                "fetched_bytes": pulled.fetched,
                "resumed_bytes": pulled.resumed,
                "new_measurements": pulled.measurements,
                "warnings": pulled.warnings,
                "files": files,
            }
        )
        return
    for record, path in zip(entry.artifact.files, paths, strict=True):
        command.tell(f"{path}  sha256:{record.sha256}")
