"""``harness run``."""

from __future__ import annotations

from typing import Any

import click

from harness.commands.farm_options import farm_options, on_farm
from harness.commands.options import build_request, request_options
from pocketzoo import command
from pocketzoo.errors import BadInput


@click.command()
@request_options
@click.option("--publish", is_flag=True, default=None, help="Append the measurements to the zoo entries.")
@click.option("--fresh", is_flag=True, default=None, help="Measure again what is measured already.")
@click.option("--retry", type=int, metavar="N", help="Further rounds for a cell that is not valid.  [default: 1]")
@click.option("--seed", type=int, help="Of the order in which repeats run.  [default: 0]")
@click.option("--deadline", type=float, metavar="S", help="Seconds after which one repeat is ended.")
@farm_options
@command.reporting_options
def run(
    *,
    as_json: bool,
    publish: bool | None,
    fresh: bool | None,
    retry: int | None,
    seed: int | None,
    deadline: float | None,
    farm: str | None,
    wishes: tuple[str, ...],
    certs: str | None,
    wait: float,
    away: float | None,
    turn: int | None,
    **flags: Any,
) -> None:
    """Measure models on devices, side by side; each repeat is a process of its own, stored as soon as it ends.

    A cell that is measured already is not measured again, unless it was throttled, contended or unstable.
    """
    from harness.campaign import check_devices, pinned
    from harness.commands.carrying import FarmOptions, carry, new_campaign
    from harness.results import Results
    from zoo.store import Store

    request = build_request(flags, publish=publish, fresh=fresh, retry=retry, seed=seed, deadline=deadline)
    results = Results()
    if farm is None:
        if wishes:
            raise BadInput("--any chooses among the devices of a farm", hint="add --farm tls://HOST:8786")
        check_devices(request)
        request = pinned(request, Store())
    else:
        request = on_farm(pinned(request, Store()), results, farm, wishes, certs, wait)
    campaign = new_campaign(results, request)
    command.say(f"campaign {campaign.id}")
    carry(request, campaign, results, as_json=as_json, farm=FarmOptions(certs, wait, away, turn))
