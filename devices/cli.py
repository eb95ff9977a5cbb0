"""`devices`: what is known, what is attached, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from devices.lab.cli import lab
from pocketzoo import command
from pocketzoo.errors import DeviceUnavailable, PocketzooError

if TYPE_CHECKING:
    from devices.facts import Conditions, DeviceFacts
    from devices.inventory import Inventory
    from devices.spec import DeviceSpec


@click.group()
def devices() -> None:
    """Where models are measured: phones, boards, servers and this machine."""


command.version_option(devices)
devices.add_command(lab)


@devices.command("list")
@command.inventory_option
@command.reporting_options
def list_(inventory: str | None, as_json: bool) -> None:
    """List the devices of the inventory, and whether they are attached now."""
    from devices.attached import states

    known = _inventory(inventory)
    seen = states(list(known))
    if as_json:
        rows = [
            {**_written(spec), "attached": seen[spec.name].attached, "state": seen[spec.name].says} for spec in known
        ]
        command.print_json({"devices": rows})
        return
    _table(
        [
            (
                spec.name,
                spec.model or "",
                spec.soc or "",
                _short(spec),
                ", ".join(spec.abis) or "probed",
                seen[spec.name].says,
            )
            for spec in known
        ],
        ("name", "model", "SoC", "cores", "ABIs", "state"),
    )
    command.say("next: devices show NAME")


@devices.command()
@click.argument("name")
@command.inventory_option
@command.reporting_options
def show(name: str, inventory: str | None, as_json: bool) -> None:
    """Show a device as the inventory describes it and, where it is attached, as it is."""
    from devices.probe import contradictions
    from devices.session import open_session

    spec = _inventory(inventory).get(name)
    facts = conditions = None
    wrong: tuple[str, ...] = ()
    absent: PocketzooError | None = None
    try:
        with open_session(spec, wait_s=1) as session:
            facts, conditions = session.facts(), session.conditions()
            wrong = contradictions(spec, facts)
    except DeviceUnavailable as error:
        absent = error
    if as_json:
        command.print_json(
            {
                "name": spec.name,
                "connected": absent is None,
                "inventory": _written(spec),
                "facts": facts,
                "conditions": conditions,
                "contradictions": wrong,
                "unavailable": absent.as_record()["error"] if absent else None,
            }
        )
        return
    _print_written(spec)
    if absent is not None:
        click.echo("\nNot connected.")
        command.say(f"\n{absent.what}")
        for line in absent.detail:
            command.say(f"  {line}")
        if absent.hint:
            command.say(f"  next:  {absent.hint}")
        return
    if facts is not None and conditions is not None:
        _print_probed(facts, conditions)
    for line in wrong:
        command.say(f"warning: contradicts the inventory: {line}")


@devices.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Record the key without asking.")
@command.inventory_option
@command.reporting_options
def trust(name: str, yes: bool, inventory: str | None, as_json: bool) -> None:
    """Show the ssh host key of a device, and record it."""
    from devices import trusting

    spec = _inventory(inventory).get(name)
    offer = trusting.offered(spec)
    if not offer.known:
        command.say(f"{offer.host} shows the key {offer.fingerprint}")
        command.say("compare it with the device's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
        if not yes:
            click.confirm("Record it?", abort=True, err=True)
        trusting.accept(offer)
    if as_json:
        command.print_json(
            {
                "name": name,
                "host": offer.host,
                "fingerprint": offer.fingerprint,
                "file": str(offer.file),
                "new": not offer.known,
            }
        )
        return
    what = "is recorded already" if offer.known else f"is recorded in {offer.file}"
    click.echo(f"{offer.host} {offer.fingerprint} {what}")


@devices.command()
@click.argument("name", required=False)
@command.inventory_option
@command.reporting_options
def doctor(name: str | None, inventory: str | None, as_json: bool) -> int:
    """Check one device, or all that may be attached: ok, warn or fail for each check, with the advice that mends it."""
    from devices.doctor import examine

    known = _inventory(inventory)
    chosen = [known.get(name)] if name else list(known)
    reports = examine(chosen, asked_for=name is not None)
    failed = any(check.outcome == "fail" for checks in reports.values() for check in checks)
    missing = bool(name) and any(check.unavailable for checks in reports.values() for check in checks)
    code = (DeviceUnavailable.exit_code if missing else 1) if failed else 0
    if as_json:
        command.print_json({"devices": [{"name": one, "checks": checks} for one, checks in reports.items()]})
        return code
    for one, checks in reports.items():
        click.echo(one)
        for check in checks:
            click.echo(f"  {check.outcome:4}  {check.name}: {check.says}")
            if check.advice:
                click.echo(f"        {check.advice}")
    return code


def main() -> NoReturn:
    """Console entry of `devices`."""
    command.run(devices, "devices")


def _inventory(path: str | None) -> Inventory:
    from devices.inventory import load_inventory

    return load_inventory(Path(path) if path else None)


def _written(spec: DeviceSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json")


def _short(spec: DeviceSpec) -> str:
    return "+".join(str(cluster.cores) for cluster in spec.clusters) or "probed"


def _table(rows: list[tuple[Any, ...]], headers: tuple[str, ...]) -> None:
    from tabulate import tabulate

    click.echo(tabulate(rows, headers=headers, disable_numparse=True))


def _print_written(spec: DeviceSpec) -> None:
    rows = [
        ("name", spec.name),
        ("model", spec.model or "not written"),
        ("SoC", spec.soc or "probed"),
        ("reached", spec.address),
        ("runner", spec.runner),
        ("ABIs", ", ".join(spec.abis) or "probed"),
    ]
    rows += [(f"cluster {one.name}", f"{one.cores} x {one.core}, {one.max_mhz:g} MHz") for one in spec.clusters]
    if spec.cool_below_c is not None:
        rows.append(("cool below", f"{spec.cool_below_c:g} C"))
    rows += [(f"expects {fact}", " or ".join(values)) for fact, values in spec.expect.items()]
    _table(rows, ("inventory", ""))


def _print_probed(facts: DeviceFacts, conditions: Conditions) -> None:
    def known(field: str, value: object) -> str:
        return str(value) if value is not None else f"unknown ({facts.unknown.get(field, 'not read')})"

    rows = [
        (label, known(field, getattr(facts, field)))
        for label, field in (
            ("SoC", "soc"),
            ("model", "model"),
            ("OS build", "os_build"),
            ("kernel", "kernel"),
            ("cores", "cores"),
        )
    ]
    rows += [(f"ABI {abi}", proof) for abi, proof in facts.abi_proofs.items()]
    for cluster in facts.clusters:
        top = f"{cluster.max_mhz:g} MHz" if cluster.max_mhz else "frequency unknown"
        cpus = ",".join(str(cpu) for cpu in cluster.cpus)
        rows.append((f"CPU {cpus}", f"{cluster.core or 'core unknown'}, {top}"))
    if facts.ram_bytes:
        rows.append(("RAM", f"{facts.ram_bytes / 2**30:.1f} GiB"))
    rows.append(("fingerprint", facts.fingerprint))
    click.echo()
    _table(rows, ("probed", ""))
    now: list[tuple[str, str]] = [("time", conditions.time)]
    now += [(f"temperature {zone}", f"{value:.1f} C") for zone, value in sorted(conditions.temperatures_c.items())]
    now += [
        (f"CPU {cpu}", f"{mhz:g} MHz, {conditions.governors.get(cpu, 'governor unknown')}")
        for cpu, mhz in conditions.frequencies_mhz.items()
    ]
    if conditions.load1 is not None:
        now.append(("load, 1 min", f"{conditions.load1:.2f}"))
    if conditions.battery_percent is not None:
        now.append(("battery", f"{conditions.battery_percent:g} %" + (", charging" if conditions.charging else "")))
    if conditions.free_bytes is not None:
        now.append(("free space", f"{conditions.free_bytes / 2**30:.1f} GiB"))
    now += [(field, f"unknown ({why})") for field, why in conditions.unknown.items()]
    click.echo()
    _table(now, ("now", ""))


if __name__ == "__main__":
    main()
