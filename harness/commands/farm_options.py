"""The options that send a campaign to a farm, and what is asked of the farm before the campaign is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    from harness.request import Request
    from harness.results import Results


def farm_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--farm`` and what belongs to it."""
    options = [
        click.option("--farm", metavar="URL", help="Measure on a farm: its scheduler, tls://HOST:8786."),
        click.option(
            "--any", "wishes", multiple=True, metavar="K=V,...",
            help="Any device of the farm with soc=, model=, abi=, tag=, host= or runner=; repeatable.",
        ),
        *watching_options(),
        click.option("--turn", type=click.IntRange(1, 1000), help="Cells that are measured interleaved.  [default: 6]"),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


CERTS = click.option("--certs", metavar="DIR", help="Certificates of this machine; default: $POCKETZOO_FARM_CERTS.")


def scheduler_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--farm`` and ``--certs`` of a command that looks at a farm or changes what is in its queue."""
    address = click.option(
        "--farm",
        "address",
        default="tcp://127.0.0.1:8786",
        show_default=True,
        envvar="POCKETZOO_FARM",
        metavar="URL",
        help="The scheduler; default: $POCKETZOO_FARM.",
    )
    return address(CERTS(function))


def watching_options() -> list[Callable[..., Any]]:
    """The options of whoever watches a farm."""
    return [
        CERTS,
        click.option(
            "--wait", type=click.FloatRange(0, 86400 * 30), default=0.0, metavar="S",
            help="Wait so long for a device that nobody offers.  [default: 0, it is an error]",
        ),
        click.option(
            "--away", type=click.FloatRange(0, 86400 * 30), default=None, metavar="S",
            help="Wait so long for a device whose host went away meanwhile.  [default: 1800]",
        ),
    ]  # fmt: skip


def on_farm(
    request: Request, results: Results, farm: str, wishes: tuple[str, ...], certs: str | None, wait_s: float
) -> Request:
    """The request as a farm will carry it out: devices that it offers, ``--any`` dealt to them.

    Raises:
        BadInput: no device, a wish that is none, or nobody offers one; results that would stay on this machine.
        FarmUnavailable: no scheduler answers.
    """
    import msgspec

    from harness.farm.offers import NobodyOffers, missing, parse_wish
    from harness.farm.seeing import Seen, check_farm_results, expanded, offered
    from pocketzoo import command
    from pocketzoo.farm.link import connected, needs_dask
    from pocketzoo.farm.security import check_address

    needs_dask()
    address = check_address(farm)
    asked = [parse_wish(text) for text in wishes]
    if not request.devices and not asked:
        raise BadInput("no device was named", hint="add --device NAME or --any soc=...; harness farm status shows them")
    check_farm_results(results, address)
    found: list[Request] = []

    def wanted(seen: Seen) -> None:
        lacking = missing(request.devices, seen.offers)
        if lacking:
            raise NobodyOffers(lacking, seen.offers)
        found[:] = [expanded(request, asked, seen)]

    with connected(address, certs) as client:
        offered(client, wanted, wait_s, command.say)
    return msgspec.structs.replace(found[0], farm=address)
