"""``harness run``."""

from __future__ import annotations

from typing import Any

import click

from harness.commands.options import build_request, request_options
from pocketzoo import command


@click.command()
@request_options
@click.option("--publish", is_flag=True, default=None, help="Append the measurements to the zoo entries.")
@click.option("--fresh", is_flag=True, default=None, help="Measure again what is measured already.")
@click.option("--retry", type=int, metavar="N", help="Further rounds for a cell that is not valid.  [default: 1]")
@click.option("--seed", type=int, help="Of the order in which repeats run.  [default: 0]")
@click.option("--deadline", type=float, metavar="S", help="Seconds after which one repeat is ended.")
@command.reporting_options
def run(
    *,
    as_json: bool,
    publish: bool | None,
    fresh: bool | None,
    retry: int | None,
    seed: int | None,
    deadline: float | None,
    **flags: Any,
) -> None:
    """Measure models on devices, side by side; each repeat is a process of its own, stored as soon as it ends.

    A cell that is measured already is not measured again, unless it was throttled, contended or unstable.
    """
    from harness.campaign import check_devices, pinned
    from harness.commands.carrying import carry, new_campaign
    from harness.results import Results
    from zoo.store import Store

    request = build_request(flags, publish=publish, fresh=fresh, retry=retry, seed=seed, deadline=deadline)
    check_devices(request)
    request = pinned(request, Store())
    results = Results()
    campaign = new_campaign(results, request)
    command.say(f"campaign {campaign.id}")
    carry(request, campaign, results, as_json=as_json)
