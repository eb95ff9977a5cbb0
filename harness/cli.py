"""``harness``: how it is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harness.commands.forecast import forecast
from pocketzoo import command
from pocketzoo.errors import BadInput, DeviceUnavailable, PocketzooError

if TYPE_CHECKING:
    from harness.campaign import Request
    from zoo.measurement import Measurement, Metric

_METRIC = "What is measured. Instructions are counted on devices of the lab.  [default: latency]"


@command.version_option
@click.group()
def harness() -> None:
    """Measure models on devices: every raw sample kept, an interval and a verdict with each number."""


harness.add_command(forecast)


def _request_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what to measure, for ``plan`` and ``run``."""
    options = [
        click.option("--device", "devices", multiple=True, metavar="D", help="A device of the inventory; repeatable."),
        click.option("--model", "models", multiple=True, metavar="REF", help="A model of the zoo; default: all."),
        click.option("--abi", metavar="A,B", help="Only these ABIs, e.g. armv7,armv8; default: the runner's own."),
        click.option("--metric", type=click.Choice(["latency", "instructions"]), default="latency", help=_METRIC),
        click.option("--threads", show_default="1,2,4; instructions: 1", metavar="N,N", help="Thread counts."),
        click.option("--cpus", metavar="LIST", help="Pin to these CPUs, e.g. 0,1 or 4-7; default: the kernel places."),
        click.option("--warmup", type=int, show_default="100; instructions: 1", help="Runs before those that count."),
        click.option("--runs", type=int, show_default="200; instructions: 2", help="Measured runs in each repeat."),
        click.option("--repeats", type=int, show_default="3; instructions: 2", help="Processes, each measuring anew."),
        command.inventory_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


@harness.command()
@_request_options
@command.reporting_options
def plan(as_json: bool, **options: Any) -> None:
    """What would be measured: the cells, which are measured already, which cannot run and why, and the time."""
    from harness.campaign import bench_on, check_devices, entries_of, estimate_s, plan_for
    from harness.job import threads_text
    from harness.listing import plan_record
    from harness.results import Results
    from zoo.store import Store

    request = _request(**options)
    check_devices(request)
    entries = entries_of(Store(), request.models)
    results = Results()
    known = {m.job_key for m in results.latest(failed=False)}
    records: list[dict[str, object]] = []
    for device in request.devices:
        with bench_on(request, device) as bench:
            planned = plan_for(request, bench, entries)
        seconds = estimate_s(planned, results)
        records.append({"device": device, **plan_record(planned, known, seconds)})
        if as_json:
            continue
        for cell in planned.cells:
            state = "measured" if cell.key in known else "to run"
            click.echo(f"{state:<9} {cell.label}  cell {cell.key[:12]}")
        for case in planned.impossible:
            click.echo(
                f"cannot    {case.model} on {case.device}, {case.abi}, {threads_text(case.threads)}: {case.reason}"
            )
        missing = sum(cell.key not in known for cell in planned.cells)
        time = "not known before a first run of each model" if seconds is None else f"about {_duration(seconds)}"
        click.echo(f"{device}: {missing} of {len(planned.cells)} cells to run, {time if missing else 'nothing to do'}")
    if as_json:
        command.print_json(records)


@harness.command()
@_request_options
@click.option("--publish", "publish_", is_flag=True, help="Append the measurements to the zoo entries.")
@click.option("--fresh", is_flag=True, help="Measure again what is measured already.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order in which repeats run.")
@click.option("--deadline", type=float, metavar="S", help="Seconds after which one repeat is ended.")
@command.reporting_options
def run(*, as_json: bool, publish_: bool, fresh: bool, seed: int, deadline: float | None, **options: Any) -> None:
    """Measure models on devices; each repeat is a process of its own and is stored as soon as it ends."""
    from harness.campaign import bench_on, check_devices, entries_of, measure, plan_for, publish
    from harness.job import threads_text
    from harness.listing import cell_record, results_text
    from harness.progress import Shown
    from harness.results import Results
    from zoo.store import Store

    request = _request(**options)
    if deadline is not None and deadline <= 0:
        raise BadInput("--deadline takes seconds greater than 0")
    check_devices(request)
    store, results = Store(), Results()
    entries = entries_of(store, request.models)
    measured: list[Measurement] = []
    reused: set[str] = set()
    lost: list[PocketzooError] = []
    cannot: list[str] = []
    for device in request.devices:
        try:
            with bench_on(request, device) as bench, Shown() as progress:
                planned = plan_for(request, bench, entries)
                cannot += [
                    f"{i.model} on {i.device}, {i.abi}, {threads_text(i.threads)}: {i.reason}"
                    for i in planned.impossible
                ]
                outcome = measure(
                    bench, planned, entries, store, results,
                    fresh=fresh, seed=seed, deadline_s=deadline, progress=progress,
                )  # fmt: skip
        except DeviceUnavailable as error:
            if len(request.devices) == 1:
                raise
            lost.append(error)
            command.say(error.as_text())
            continue
        measured += outcome.measurements
        reused |= outcome.reused
    if cannot and not measured and not lost:
        raise BadInput("none of the cells can run", detail=tuple(cannot), hint="harness plan")
    for case in cannot:
        command.say(f"cannot run: {case}")
    measured.sort(key=lambda m: (m.device.name, m.model, m.abi, m.threads_requested))
    published = publish(store, measured) if publish_ else 0
    if as_json:
        command.print_json([cell_record(m, reused=m.job_key in reused) for m in measured])
    else:
        click.echo(results_text(measured, reused=reused))
    _hint(measured, publish_, published)
    if lost:
        raise click.exceptions.Exit(DeviceUnavailable.exit_code)
    if any(m.verdict.name == "failed" for m in measured):
        raise click.exceptions.Exit(1)


def _hint(measured: list[Measurement], publish_: bool, published: int) -> None:
    if publish_:
        command.say(f"published {published} new measurements to the zoo\nnext: reports build")
    elif measured:
        command.say(f"next: zoo show {measured[0].model}, or run with --publish to add the numbers to the zoo")


@harness.command("results")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only this model; repeatable.")
@click.option("--device", "devices", multiple=True, metavar="D", help="Only this device; repeatable.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@command.reporting_options
def results_(models: tuple[str, ...], devices: tuple[str, ...], format_: str, as_json: bool) -> None:
    """What was measured: the newest result of each cell, with verdict and evidence."""
    from harness.listing import cell_record, results_text
    from harness.results import Results

    found = Results().latest(models=models, devices=devices)
    if as_json or format_ == "json":
        command.print_json([cell_record(m) for m in found])
    elif found:
        click.echo(results_text(found))
    else:
        command.say("no results yet\n  next:  harness run --device local --model REF")


def _request(
    *,
    devices: tuple[str, ...],
    models: tuple[str, ...],
    abi: str | None,
    threads: str | None,
    cpus: str | None,
    warmup: int | None,
    runs: int | None,
    repeats: int | None,
    inventory: str | None,
    metric: Metric,
) -> Request:
    from harness.campaign import Request
    from harness.instructions import PROTOCOL as COUNTED
    from harness.job import Protocol
    from harness.plan import parse_cpus, parse_threads

    for name, value, least, most in (
        ("warmup", warmup, 0, 10**6),
        ("runs", runs, 1, 10**6),
        ("repeats", repeats, 1, 1000),
    ):
        if value is not None and not least <= value <= most:
            raise BadInput(f"--{name} takes {least} to {most}, not {value}")
    counted = metric == "instructions"
    usual = COUNTED if counted else Protocol()
    return Request(
        devices=tuple(dict.fromkeys(devices)),
        models=models,
        abis=tuple(part.strip() for part in abi.split(",") if part.strip()) if abi else (),
        threads=parse_threads(threads or ("1" if counted else "1,2,4")),
        cpus=parse_cpus(cpus) if cpus else None,
        protocol=Protocol(
            warmup=usual.warmup if warmup is None else warmup,
            runs=usual.runs if runs is None else runs,
            repeats=usual.repeats if repeats is None else repeats,
        ),
        inventory=Path(inventory) if inventory else None,
        metric=metric,
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def main() -> NoReturn:
    """Console entry point."""
    command.run(harness, "harness")
