"""``zoo pull``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketzoo import command
from zoo.commands.constraints import build_constraints, constraint_options
from zoo.commands.signing import chosen_trust, trust_options

if TYPE_CHECKING:
    from zoo.choose import Chosen
    from zoo.getting import Accept, Got
    from zoo.store import Store


@click.command()
@click.argument("reference", metavar="[REF]", required=False)
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Copy the files there.")
@click.option("--force", is_flag=True, help="Replace different files of the same name.")
@constraint_options
@click.option("--explain", "--dry-run", "dry_run", is_flag=True, help="Only say what would be pulled, and why.")
@click.option("--lock", is_flag=True, help="Pin the answer in the lock file.")
@click.option("--locked", is_flag=True, help="Pull exactly what the lock file pins; without REF all of it.")
@click.option(
    "--lockfile",
    type=click.Path(path_type=Path, dir_okay=False),
    default="zoo.lock",
    show_default=True,
    metavar="PATH",
    help="The lock file of --lock and --locked.",
)
@click.option("--offline", is_flag=True, help="Ask no remote: only what the local zoo holds.")
@click.option("--refresh", is_flag=True, help="Ask the remotes also where the local zoo has it.")
@trust_options
@command.reporting_options
def pull(
    *,
    reference: str | None,
    to: Path | None,
    force: bool,
    dry_run: bool,
    lock: bool,
    locked: bool,
    lockfile: Path,
    offline: bool,
    refresh: bool,
    require_signature: bool,
    public_key: Path | None,
    identity: str | None,
    identity_provider: str | None,
    inventory: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Get a model's files, every byte hashed before it becomes visible.

    REF is looked for in the local zoo, then in the default remote, then in the others; REMOTE/NAME in that remote
    alone. Without --to the path inside the local zoo is printed.

    With --device, --max-latency-ms, --min-top1 and the like, the model of that name or one of its variants is pulled
    that satisfies them best, from wherever it is. Only valid measurements of exactly that file count.
    """
    from pocketzoo.errors import BadInput
    from zoo import getting
    from zoo.choose import choose
    from zoo.constraints import query_text
    from zoo.progress import OnStderr
    from zoo.reference import parse_reference
    from zoo.store import Store

    constraints = build_constraints(flags)
    if lock and locked:
        raise BadInput("--lock pins anew, --locked changes no pin; give one of them")
    if reference is None and (not locked or constraints.asks):
        raise BadInput("no model was named", hint="zoo pull NAME, or zoo pull --locked for all that zoo.lock pins")
    accept: Accept | None = None
    if (trust := chosen_trust(require_signature, public_key, identity, identity_provider)) is not None:
        from zoo.signatures import demanding

        accept = demanding(trust, lambda facts: command.say(f"signed by {facts.signer}"))
    store = Store()
    extra = Path(inventory) if inventory else None
    if dry_run:
        if reference is None or locked or not constraints.asks:
            raise BadInput(
                "--explain explains a choice, and nothing is to be chosen", hint="add --device D --max-latency-ms X"
            )
        chosen = choose(reference, constraints, store=store, offline=offline, inventory=extra)
        _explain(chosen, as_json)
        return
    with OnStderr() as progress:
        if locked:
            query = None if reference is None else query_text(str(parse_reference(reference)), constraints)
            got = getting.get_locked(lockfile, query, store=store, offline=offline, progress=progress, accept=accept)
        else:
            one = getting.get(
                str(reference),
                constraints,
                store=store,
                offline=offline,
                refresh=refresh,
                inventory=extra,
                progress=progress,
                accept=accept,
                told=_told,
            )
            got = [one]
    documents = [_delivered(store, each, to, force, as_json) for each in got]
    if lock:
        for each in got:
            before = getting.write_lock(lockfile, each, store=store)
            digest = each.pulled.entry.artifact.digest
            moved = f" (was sha256:{before.digest[:12]})" if before is not None and before.digest != digest else ""
            command.say(f"pinned sha256:{digest[:12]} in {lockfile}{moved}: {each.query}")
    if as_json:
        command.print_json(documents if reference is None else documents[0])


def _told(chosen: Chosen) -> None:
    """The explanation, before anything is fetched. Where nothing fits, the error says it."""
    from zoo.choice_text import choice_text

    for warning in chosen.warnings:
        command.say(f"warning: {warning}")
    if chosen.choice.chosen is not None:
        command.say(choice_text(chosen.choice) + "\n")


def _explain(chosen: Chosen, as_json: bool) -> None:
    from zoo.choice_text import choice_record, choice_text

    chosen.row()
    for warning in chosen.warnings:
        command.say(f"warning: {warning}")
    if as_json:
        record = choice_record(chosen.choice)
        command.print_json({**record, "asked": chosen.asked, "warnings": chosen.warnings})
    else:
        command.tell(choice_text(chosen.choice))


def _delivered(store: Store, got: Got, to: Path | None, force: bool, as_json: bool) -> dict[str, object]:
    """Bring the files where they are wanted and say where they are."""
    from zoo.choice_text import choice_record

    pulled = got.pulled
    artifact = pulled.entry.artifact
    for warning in pulled.warnings:
        command.say(f"warning: {warning}")
    if to is None:
        paths = [store.file(record) for record in artifact.files]
    else:
        paths = store.export(pulled.entry, to, force=force)
    placed = list(zip(artifact.files, paths, strict=True))
    if not as_json:
        for record, path in placed:
            command.tell(f"{path}  sha256:{record.sha256}")
    return {
        "name": artifact.name,
        "digest": f"sha256:{artifact.digest}",
        "source": pulled.source,
        "fetched_bytes": pulled.fetched,
        "resumed_bytes": pulled.resumed,
        "new_measurements": pulled.measurements,
        "warnings": pulled.warnings,
        "query": got.query,
        "choice": choice_record(got.chosen.choice) if got.chosen is not None else None,
        "files": [{"path": str(path), "sha256": record.sha256, "size": record.size} for record, path in placed],
    }
