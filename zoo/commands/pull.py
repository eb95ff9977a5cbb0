"""``zoo pull``."""

from __future__ import annotations

from pathlib import Path

import click

from pocketzoo import command
from pocketzoo.errors import WorkFailed


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Copy the files there.")
@click.option("--force", is_flag=True, help="Replace different files of the same name.")
@command.reporting_options
def pull(reference: str, to: Path | None, force: bool, as_json: bool) -> None:
    """Get a model's files, every byte hashed before it becomes visible.

    Without --to the path inside the local zoo is printed.
    """
    from pocketzoo.files import sha256_file
    from zoo.store import Store

    store = Store()
    entry = store.get(reference)
    if to is None:
        paths = [store.file(record) for record in entry.artifact.files]
        for record, path in zip(entry.artifact.files, paths, strict=True):
            if sha256_file(path) != record.sha256:
                raise WorkFailed(f"the stored file of {record.name} was changed", where=str(path), hint="zoo verify")
    else:
        paths = store.export(entry, to, force=force)
    if as_json:
        files = [
            {"path": str(path), "sha256": record.sha256, "size": record.size}
            for record, path in zip(entry.artifact.files, paths, strict=True)
        ]
        command.print_json({"name": entry.artifact.name, "digest": f"sha256:{entry.artifact.digest}", "files": files})
        return
    for record, path in zip(entry.artifact.files, paths, strict=True):
        click.echo(f"{path}  sha256:{record.sha256}")
