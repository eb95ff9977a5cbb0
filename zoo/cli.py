"""``zoo``: what exists, and getting exactly that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from pocketzoo import command
from pocketzoo.errors import PocketzooError, WorkFailed

if TYPE_CHECKING:
    from zoo.store import Entry


@command.version_option
@click.group()
def zoo() -> None:
    """The model zoo: list, inspect, add, pull and verify models with their numbers."""


@zoo.command("list")
@command.reporting_options
def list_(as_json: bool) -> None:
    """All models in the local zoo."""
    from zoo.store import Store
    from zoo.text import list_table

    problems: list[PocketzooError] = []
    entries = list(Store().entries(problems.append))
    if as_json:
        command.print_json([_listing(entry) for entry in entries])
    elif entries:
        click.echo(list_table(entries))
        command.say(f"\nnext: zoo show {entries[-1].artifact.name}")
    elif not problems:
        command.say("the zoo is empty\n  next:  compress list, or zoo add FILE --name NAME")
    for problem in problems:
        command.say(f"warning: left out: {problem.what}\n  where: {problem.where}\n  next:  zoo verify")


@zoo.command()
@click.argument("reference", metavar="REF")
@command.reporting_options
def show(reference: str, as_json: bool) -> None:
    """One model: files, inputs, accuracy, lineage and every latency with its verdict."""
    from zoo.store import Store
    from zoo.text import entry_text

    entry = Store().get(reference)
    if as_json:
        command.print_json({**_listing(entry), "artifact": entry.artifact, "measurements": entry.measurements})
    else:
        click.echo(entry_text(entry))


@zoo.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--name", help="The model's name; default: the file's name.")
@click.option("--tag", default="latest", show_default=True, help="The tag that shall point to it.")
@click.option("--parent", metavar="REF", help="The entry it was made from.")
@click.option("--relation", default="derived", show_default=True, help="What it is to its parent, e.g. quantized.")
@click.option("--licence", help="The model's licence.")
@click.option("--source", help="Where it comes from.")
@command.reporting_options
def add(
    file: Path,
    name: str | None,
    tag: str,
    parent: str | None,
    relation: str,
    licence: str | None,
    source: str | None,
    as_json: bool,
) -> None:
    """Add a model made elsewhere: a .tflite file is inspected and loaded, other programs are recognised."""
    from zoo.artifact import Parent
    from zoo.foreign import describe
    from zoo.reference import check_tag
    from zoo.store import Store

    store = Store()
    check_tag(tag)
    made_from = None
    if parent:
        origin = store.get(parent).artifact
        made_from = Parent(digest=origin.digest, name=origin.name, relation=relation)
    artifact = describe(file, name or file.stem.lower(), parent=made_from, licence=licence, source=source)
    entry = store.add(artifact, {artifact.files[0].name: file}, tags=(tag,))
    if as_json:
        command.print_json(_listing(entry))
    else:
        click.echo(f"added {artifact.name}:{tag}  sha256:{artifact.digest}  {artifact.size_bytes:,} bytes")
        command.say(f"next: harness run --device local --model {artifact.name} --publish")


@zoo.command()
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


@zoo.command()
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


def _listing(entry: Entry) -> dict[str, object]:
    """What ``zoo list --json`` gives for each entry."""
    artifact = entry.artifact
    return {
        "name": artifact.name,
        "digest": f"sha256:{artifact.digest}",
        "tags": entry.tags,
        "size_bytes": artifact.size_bytes,
        "format": artifact.format,
        "accuracy": artifact.accuracy,
        "measurements": len(entry.measurements),
    }


def main() -> NoReturn:
    """Console entry point."""
    command.run(zoo, "zoo")
