"""`devices lab`: virtual boards and phones with a real ARM user space."""

from __future__ import annotations

import time
from pathlib import Path

import click

from pocketzoo import command

# As devices.lab.phone_faults has them; that takes longer to import than a --help may.
KINDS = ("drop", "close", "hang", "trickle", "corrupt", "full", "readonly", "latency", "offline", "unauthorised")


@click.group()
def lab() -> None:
    """Virtual ARM boards and phones on this machine: real ARM programs under emulation.

    Outputs are real, times are not: everything measured there is marked emulated.
    """


@lab.command()
@click.option(
    "--as",
    "like",
    multiple=True,
    metavar="DEVICE",
    help="Add a phone lab:DEVICE with the processor identity of that inventory device; DEVICE-armv7 is its 32-bit user "
    "space. May be given several times.",
)
@command.inventory_option
@command.reporting_options
def up(like: tuple[str, ...], inventory: str | None, as_json: bool) -> None:
    """Start the lab, or what of it does not run. Builds its root file systems the first time (minutes)."""
    from devices.inventory import load_inventory
    from devices.lab import lab as work

    begun = time.monotonic()
    started = work.up(like, inventory=load_inventory(Path(inventory) if inventory else None), say=command.say)
    seconds = time.monotonic() - begun
    document = work.status()
    if as_json:
        command.print_json({"started": started, "seconds": round(seconds, 3), **document})
        return
    _table(document)
    names = [one.name for one in document["devices"]]
    command.say(f"started {', '.join(started)} in {seconds:.1f} s" if started else "all of it runs already")
    command.say(f"next: devices doctor {names[0]}; devices lab down")


@lab.command()
@command.reporting_options
def down(as_json: bool) -> None:
    """End the lab: what it started, and nothing else."""
    from devices.lab import lab as work

    ended = work.down()
    if as_json:
        command.print_json({"ended": ended})
        return
    click.echo(f"ended {', '.join(ended)}" if ended else "nothing of it ran")


@lab.command()
@command.reporting_options
def status(as_json: bool) -> None:
    """Show what of the lab runs and answers, and what this machine lacks for it."""
    from devices.lab import lab as work

    document = work.status()
    if as_json:
        command.print_json(document)
        return
    _table(document)
    for one in document["root_file_systems"]:
        click.echo(f"{one['abi']} root file system: {one['path']}" + ("" if one["built"] else " (not built yet)"))
    for pid in document["strays"]:
        command.say(f"warning: process {pid} was left by a `devices lab` that was killed; `devices lab up` ends it")
    for need in document["missing"]:
        command.say(f"missing: {need['what']}" + (f"; next: {need['mend']}" if need["mend"] else ""))
    if not document["up"]:
        command.say("next: devices lab up")


@lab.command()
@click.argument("device")
@click.argument("kind", type=click.Choice([*KINDS, "heat", "clear"]))
@click.option("--match", default="", metavar="REGEX", help="Only operations that match, e.g. SEND, RECV, '^shell'.")
@click.option("--after", type=click.IntRange(0), metavar="BYTES", help="After so many bytes; else when it begins.")
@click.option("--out", is_flag=True, help="Count the bytes the phone says instead of those it gets.")
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="How often.")
@click.option("--seconds", type=click.FloatRange(0), default=0.0, help="How long it is away, or how slow.")
@click.option("--silent", is_flag=True, help="offline: stay connected, say nothing.")
@click.option("--celsius", type=float, default=60.0, show_default=True, help="heat: be that warm now, then cool down.")
@command.reporting_options
def fault(
    device: str,
    kind: str,
    match: str,
    after: int | None,
    out: bool,
    times: int,
    seconds: float,
    silent: bool,
    celsius: float,
    as_json: bool,
) -> None:
    """Have a virtual phone misbehave: to see what a harness does then.

    \b
    devices lab fault lab-phone-armv8 drop --match SEND --after 1000000
    devices lab fault lab-phone-armv8 offline --seconds 10
    devices lab fault lab-phone-armv8 clear
    """
    from devices.lab import lab as work

    phone = work.phone_control(device)
    if kind == "heat":
        phone.heat(celsius)
    elif kind == "clear":
        phone.reset_faults()
    else:
        direction = "out" if out else "in"
        asked = {"match": match, "after": after, "direction": direction, "times": times, "seconds": seconds}
        phone.ask("fault", kind=kind, silent=silent, **asked)
    answer = phone.status()
    if as_json:
        command.print_json(answer)
        return
    left = {one["kind"]: one["times"] - one["done"] for one in answer["faults"]}
    coming = [f"{kind}, {times} x" for kind, times in left.items() if times]
    click.echo(f"{device}: faults to come: {'; '.join(coming) or 'none'}; {max(answer['celsius'], default=0):.0f} °C")
    command.say(f"each is logged as it happens: {work.phone_log(device)}")


def _table(document: dict[str, object]) -> None:
    from tabulate import tabulate

    rows = [
        (one.name, one.abi, one.state, one.address or "", one.qemu_cpu or "")
        for one in document["devices"]  # type: ignore[attr-defined]
    ]
    click.echo(tabulate(rows, headers=("name", "ABI", "state", "reached", "QEMU CPU"), disable_numparse=True))
