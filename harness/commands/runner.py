"""``harness runner``: the binaries that measure on phones, by SHA-256."""

from __future__ import annotations

from pathlib import Path

import click

from pocketzoo import command
from zoo.commands.signing import chosen_signer, signing_options


@click.group("runner")
def runner() -> None:
    """Register the native tools that measure on devices; a result always names its binary by SHA-256."""


@runner.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--abi", required=True, metavar="A", help="What it is built for: armv8, armv7, x86_64, x86 or riscv64.")
@click.option("--name", default="benchmark_model", show_default=True, help="Which tool it is.")
@command.reporting_options
def add(path: Path, abi: str, name: str, as_json: bool) -> None:
    """Keep a copy of a binary; the newest of a name and ABI is the one that is used."""
    from harness.registry import ABIS, NAMES, Registry
    from pocketzoo.errors import BadInput

    if abi not in ABIS:
        raise BadInput(f"not an ABI a runner can have: {abi!r}", hint=f"--abi takes {', '.join(ABIS)}")
    if name not in NAMES:
        raise BadInput(f"not a tool this version measures with: {name!r}", hint=f"--name takes {', '.join(NAMES)}")
    binary = Registry().add(path, abi=abi, name=name)
    if as_json:
        command.print_json(binary)
    else:
        click.echo(f"{binary.name} {binary.abi} sha256:{binary.sha256}")
        command.say("next: harness plan --device NAME")


@runner.command("list")
@command.reporting_options
def list_(as_json: bool) -> None:
    """What is registered, the newest first; the one in use of each name and ABI is marked."""
    from tabulate import tabulate

    from harness.registry import Registry

    registry = Registry()
    found = registry.all()
    used = set(registry.in_use())
    if as_json:
        command.print_json([{"binary": b, "in_use": b in used} for b in found])
    elif found:
        rows = [
            [b.name, b.abi, b.sha256[:16], f"{b.size:,}", b.added[:19], "yes" if b in used else "no"] for b in found
        ]
        headers = ["Tool", "ABI", "SHA-256", "Bytes", "Added (UTC)", "In use"]
        click.echo(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True))
    else:
        command.say("no runner is registered\n  next:  harness runner add PATH --abi armv8")


@runner.command()
@click.argument("digest", metavar="[SHA256-PREFIX]", required=False)
@click.option("--to", metavar="REMOTE", help="A remote's name or URL; default: the default remote.")
@signing_options
@command.reporting_options
def push(
    digest: str | None, to: str | None, sign: bool, signing_key: Path | None, ambient_identity: bool, as_json: bool
) -> None:
    """Publish binaries for the hosts of a farm: those in use, or the one whose digest begins so."""
    from harness.farm.runners import publish
    from harness.registry import Registry
    from pocketzoo.errors import BadInput

    registry = Registry()
    chosen = registry.in_use() if digest is None else (registry.find(digest),)
    if not chosen:
        raise BadInput("no runner is registered", hint="harness runner add PATH --abi armv8")
    signer = chosen_signer(sign, signing_key, ambient_identity)
    done = [(binary, publish(binary, registry, to=to, sign=signer)) for binary in chosen]
    if as_json:
        command.print_json([{"binary": b, "published": p} for b, p in done])
        return
    for binary, published in done:
        how = "published" if published.changed else "was there"
        click.echo(f"{binary.name} {binary.abi} sha256:{binary.sha256}  {how}: {published.address}")


@runner.command()
@click.argument("digest", metavar="SHA256-PREFIX")
@command.reporting_options
def remove(digest: str, as_json: bool) -> None:
    """Forget a binary. What was measured with it stays."""
    from harness.registry import Registry

    binary = Registry().remove(digest)
    if as_json:
        command.print_json(binary)
    else:
        click.echo(f"removed {binary.name} {binary.abi} sha256:{binary.sha256}")
