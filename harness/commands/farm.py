"""``harness farm``: many hosts, many phones, one campaign."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.commands.farm_options import scheduler_options
from pocketzoo import command
from zoo.commands.signing import chosen_trust, trust_options


@click.group("farm")
def farm() -> None:
    """Measure on the devices of many hosts: Dask places, PostgreSQL holds the results, a zoo remote the files."""


@farm.command()
@click.option("--listen", default="tcp://127.0.0.1:8786", show_default=True, metavar="URL", help="tls://HOST:PORT.")
@click.option("--certs", metavar="DIR", help="Certificates of this machine; default: $POCKETZOO_FARM_CERTS.")
@command.reporting_options
def scheduler(listen: str, certs: str | None, as_json: bool) -> None:
    """Be the scheduler of a farm until it is ended. It holds the queue and nothing else: no file, no result."""
    from pocketzoo.farm.link import needs_dask
    from pocketzoo.farm.scheduler import serve

    needs_dask()
    # What a queue names is looked up here, too; now, instead of while the first campaign waits.
    import harness.farm.turns  # noqa: F401

    def told(address: str) -> None:
        if as_json:
            command.print_json({"address": address, "pid": os.getpid()})
        command.say(f"the farm's scheduler listens at {address}\nnext: harness farm worker --scheduler {address}")

    serve(listen, certs, told)


@farm.command()
@click.option("--scheduler", required=True, metavar="URL", help="The scheduler: tls://HOST:8786.")
@click.option("--name", metavar="NAME", help="Of this host in the farm.  [default: its host name]")
@click.option("--device", "devices", multiple=True, metavar="D", help="Offer these alone; default: what answers.")
@click.option("--cpu-jobs", type=click.IntRange(0, 1024), default=0, help="Trainings it takes on its CPUs at once.")
@click.option("--gpus", type=click.IntRange(0, 1024), default=0, help="GPUs it offers to trainings.")
@click.option(
    "--check-every",
    type=click.FloatRange(0.2, 3600),
    default=30.0,
    metavar="S",
    show_default=True,
    help="Examine each device that often.",
)
@click.option(
    "--database-wait",
    type=click.FloatRange(1, 86400),
    default=900.0,
    metavar="S",
    show_default=True,
    help="Hold a turn so long while the database is away.",
)
@click.option(
    "--runners-from",
    metavar="REMOTE",
    help="Where runners come from that a job names and this host lacks, or none.  [default: the default remote]",
)
@trust_options
@click.option("--certs", metavar="DIR", help="Certificates of this machine; default: $POCKETZOO_FARM_CERTS.")
@command.inventory_option
@command.reporting_options
def worker(
    scheduler: str, name: str | None, devices: tuple[str, ...], cpu_jobs: int, gpus: int, check_every: float,
    database_wait: float, runners_from: str | None, require_signature: bool, public_key: Path | None,
    identity: str | None, identity_provider: str | None, certs: str | None, inventory: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Offer the healthy devices of this host to a farm until it is ended; `devices doctor` decides which they are.

    --require-signature and the options beside it say who must have signed the runners that come from the remote.
    """
    import asyncio
    import re
    import socket

    from pocketzoo.errors import BadInput
    from pocketzoo.farm.link import needs_dask
    from pocketzoo.farm.security import check_address

    needs_dask()
    address = check_address(scheduler)
    own = name or socket.gethostname()
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", own):
        raise BadInput(f"not a name for a host: {own!r}", hint="--name NAME, of letters, digits and . _ - inside")
    from harness.farm.benches import Inventoried
    from harness.farm.host import Config, FarmHost
    from harness.farm.runners import NOWHERE, RunnerTrust
    from harness.farm.seeing import check_farm_results
    from harness.results import Results
    from zoo.remotes import which
    from zoo.store import Store

    results = Results()
    check_farm_results(results, address)
    hands = Inventoried(Path(inventory) if inventory else None, devices)
    hands.specs()
    if runners_from not in (None, NOWHERE):
        which(runners_from)
    trust = RunnerTrust(runners_from, chosen_trust(require_signature, public_key, identity, identity_provider))
    config = Config(
        address=address, name=own, certs=certs, check_s=check_every, cpu=cpu_jobs, gpu=gpus, database_s=database_wait,
        runners=trust,
    )  # fmt: skip
    if as_json:
        command.print_json({"host": own, "scheduler": address, "pid": os.getpid()})
    asyncio.run(FarmHost(config, hands, results, store=Store(), told=command.say).serve())


@farm.command()
@scheduler_options
@command.reporting_options
def status(address: str, certs: str | None, as_json: bool) -> None:
    """Show hosts, devices, who has them, and the queue."""
    from harness.farm.seeing import see
    from harness.farm.status import record, text
    from pocketzoo.farm.link import connected

    with connected(address, certs) as client:
        seen = see(client)
    if as_json:
        command.print_json(record(seen))
    else:
        command.tell(text(seen))


@farm.command()
@click.argument("campaign")
@scheduler_options
@command.reporting_options
def cancel(campaign: str, address: str, certs: str | None, as_json: bool) -> None:
    """Take what CAMPAIGN (or a recipe that is trained) still has in the queue out of it; what is measured is kept."""
    from harness.farm.seeing import cancel as take_out
    from pocketzoo.farm.link import connected

    with connected(address, certs) as client:
        count = take_out(client, campaign)
    if as_json:
        command.print_json({"campaign": campaign, "turns": count})
    else:
        command.say(f"{count} taken out of the queue\nnext: harness resume {campaign}, for a campaign")


@farm.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", "names", multiple=True, required=True, metavar="NAME", help="A host or person; repeatable.")
@click.option("--days", type=int, default=825, show_default=True, help="New certificates hold so long.")
@command.reporting_options
def certs(folder: Path, names: tuple[str, ...], days: int, as_json: bool) -> None:
    """Make the farm's own authority in FOLDER, and FOLDER/NAME to be copied to each member."""
    from pocketzoo.farm.certs import make
    from pocketzoo.farm.link import needs_dask

    needs_dask()
    members = make(folder.absolute(), names, days=days)
    if as_json:
        command.print_json(
            [{"name": m.name, "folder": str(m.folder), "made": m.made, "until": m.until.isoformat()} for m in members]
        )
        return
    for member in members:
        how = "made" if member.made else "was there"
        click.echo(f"{member.name}  {member.folder}  {how}, holds until {member.until:%Y-%m-%d}")
    command.say(
        f"copy each folder to its machine as <state folder>/farm/certs (or name it with POCKETZOO_FARM_CERTS); "
        f"{folder / 'ca-key.pem'} stays here: who has it can join\nnext: harness farm scheduler --listen tls://HOST:8786"
    )
