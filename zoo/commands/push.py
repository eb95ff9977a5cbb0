"""``zoo push``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pocketzoo import command
from pocketzoo.errors import PocketzooError
from zoo.commands.gates import build_gate, gate_options
from zoo.commands.signing import chosen_signer, signing_options


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--to", metavar="REMOTE", help="A remote's name or URL; default: the default remote.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag that shall point to it there; repeatable.")
@click.option("--resend", is_flag=True, help="Send the files also where the remote has them: its copy is damaged.")
@gate_options
@signing_options
@command.reporting_options
def push(
    reference: str,
    to: str | None,
    tags: tuple[str, ...],
    resend: bool,
    sign: bool,
    signing_key: Path | None,
    ambient_identity: bool,
    against: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Publish a model with its measurements; what the remote has already is not sent.

    REF is of the local zoo; its tag, or latest, points to it there from now on. With --max-regression and the like it
    is held against what that tag points at now, or else against its parent, and published only where the gate holds.
    """
    from contextlib import closing

    from pocketzoo.errors import BadInput
    from zoo import push as pushing
    from zoo.gating import gate_check
    from zoo.reference import LATEST, parse_reference
    from zoo.remotes import open_remote, which
    from zoo.store import Store

    gate = build_gate(flags, against)
    ref = parse_reference(reference)
    if ref.remote is not None:
        raise BadInput(
            "REF is of the local zoo; where to is another option", hint=f"zoo push {ref.name} --to {ref.remote}"
        )
    store = Store()
    entry = store.get(ref)
    config = which(to)
    tags = tags or ((ref.tag or LATEST,) if ref.digest is None else ())
    problems: list[PocketzooError] = []
    signature = None
    if (signer := chosen_signer(sign, signing_key, ambient_identity)) is not None:
        from zoo.signatures import signed

        signature = signed(store, entry, signer)
    with closing(open_remote(config)) as remote:
        command.say(f"publishing {entry.artifact.name} to {remote.address}")
        check = gate_check(gate, store, remote, entry, tags, against=against, told=command.say) if gate.asks else None
        done = pushing.push(
            store,
            remote,
            entry,
            tags=tags,
            check=check,
            resend=resend,
            signature=signature,
            on_problem=problems.append,
        )
    for problem in problems:
        command.say(f"warning: left out: {problem.what}\n  where: {problem.where}")
    if as_json:
        command.print_json(
            {
                "name": entry.artifact.name,
                "digest": f"sha256:{entry.artifact.digest}",
                "tags": tags,
                "remote": config.name,
                "address": done.address,
                "changed": done.changed,
                "signed": signature is not None,
                "blobs_sent": done.blobs_sent,
                "bytes_sent": done.bytes_sent,
                "warnings": [problem.what for problem in problems],
            }
        )
        return
    files = "1 file" if done.blobs_sent == 1 else f"{done.blobs_sent} files"
    said = f"{files}, {done.bytes_sent:,} bytes sent" if done.changed else "unchanged, nothing sent"
    shown = ":".join((entry.artifact.name, tags[0])) if tags else entry.artifact.name
    command.tell(f"{shown}  sha256:{entry.artifact.digest}  {said}")
    command.say(f"next: zoo pull {config.name}/{shown}")
