"""``zoo push``."""

from __future__ import annotations

from pathlib import Path

import click

from pocketzoo import command
from pocketzoo.errors import PocketzooError
from zoo.commands.signing import chosen_signer, signing_options


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--to", metavar="REMOTE", help="A remote's name or URL; default: the default remote.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag that shall point to it there; repeatable.")
@click.option("--resend", is_flag=True, help="Send the files also where the remote has them: its copy is damaged.")
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
    as_json: bool,
) -> None:
    """Publish a model with its measurements; what the remote has already is not sent.

    REF is of the local zoo; its tag, or latest, points to it there from now on.
    """
    from contextlib import closing

    from pocketzoo.errors import BadInput
    from zoo import push as pushing
    from zoo.reference import LATEST, parse_reference
    from zoo.remotes import open_remote, which
    from zoo.store import Store

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
        done = pushing.push(
            store, remote, entry, tags=tags, resend=resend, signature=signature, on_problem=problems.append
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
