"""``harness plan``."""

from __future__ import annotations

from typing import Any

import click

from harness.commands.options import build_request, request_options
from pocketzoo import command
from pocketzoo.errors import DeviceUnavailable


@click.command()
@request_options
@command.reporting_options
def plan(as_json: bool, **flags: Any) -> None:
    """What would be measured: the cells, which are measured already, which cannot run and why, and the time."""
    from pathlib import Path

    from devices.inventory import load_inventory
    from harness.campaign import bench_on, check_devices, entries_of, plan_for
    from harness.estimate import estimate
    from harness.listing import offline_record, offline_text, plan_record, plan_text
    from harness.offline import cells_from_inventory
    from harness.registry import Registry
    from harness.results import Results
    from zoo.store import Store

    request = build_request(flags)
    check_devices(request)
    store, results = Store(), Results()
    groups = [(group, [entry.artifact for entry in entries_of(store, group.models)]) for group in request.groups]
    records: list[dict[str, object]] = []
    away: list[DeviceUnavailable] = []
    for device in request.devices:
        try:
            with bench_on(request, device) as bench:
                planned = plan_for(request, bench, store).plan
        except DeviceUnavailable as error:
            away.append(error)
            spec = load_inventory(Path(request.inventory) if request.inventory else None).get(device)
            cells = cells_from_inventory(spec, groups, "not connected", registry=Registry())
            records.append(offline_record(device, error, cells))
            if not as_json:
                click.echo(offline_text(device, cells))
            command.say(error.as_text())
            continue
        earlier = results.latest(devices=(device,), failed=False)
        known = {m.job_key: m for m in earlier}
        time = estimate([cell for cell in planned.cells if cell.key not in known], earlier)
        records.append({"device": device, **plan_record(planned, known, time)})
        if not as_json:
            click.echo(plan_text(device, planned, known, time))
    if as_json and (len(away) < len(request.devices) or len(away) > 1):
        command.print_json(records)
    elif as_json:
        raise away[0]
    if away:
        raise click.exceptions.Exit(DeviceUnavailable.exit_code)
