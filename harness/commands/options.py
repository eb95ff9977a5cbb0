"""The options that say what to measure, and the request they make together with a campaign file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketzoo import command
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    from harness.request import Group, Request
    from zoo.measurement import Metric

MAX_REPEATS = 20


def request_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of ``plan`` and ``run``. Each is None where it was not given, so that a file can say it."""
    options = [
        click.option("--device", "devices", multiple=True, metavar="D", help="A device of the inventory; repeatable."),
        click.option("--model", "models", multiple=True, metavar="REF", help="A model of the zoo; default: all."),
        click.option("--abi", metavar="A,B", help="Only these ABIs, e.g. armv7,armv8; default: the runner's own."),
        click.option(
            "--metric",
            type=click.Choice(["latency", "instructions"]),
            help="What is measured; instructions are counted on devices of the lab.  [default: latency]",
        ),
        click.option("--threads", metavar="N,N", help="Thread counts.  [default: 1,2,4; instructions: 1]"),
        click.option(
            "--affinity", metavar="A", help="big, little, all, a mask (f0) or CPUs (4-7); default: the kernel places."
        ),
        click.option("--cpus", metavar="LIST", help="Pin to these CPUs, e.g. 0,1 or 4-7; as --affinity."),
        click.option("--option", "settings", multiple=True, metavar="K=V", help="A setting of the runner; repeatable."),
        click.option("--warmup", type=int, help="Runs before those that count.  [default: 100; instructions: 1]"),
        click.option("--runs", type=int, help="Measured runs in each repeat.  [default: 200; instructions: 2]"),
        click.option("--repeats", type=int, help="Processes, each measuring anew.  [default: 3; instructions: 2]"),
        click.option("--until", metavar="P%", help="Repeat until half the 95% interval is at most P% of the median."),
        click.option("--max-repeats", type=int, help="Repeats at which --until gives up.  [default: 20]"),
        click.option(
            "--cool-below", type=float, metavar="C", help="Begin no repeat above C °C; default: the inventory's."
        ),
        click.option(
            "--cool-limit", type=float, metavar="S", help="Wait that long, then measure warm.  [default: 300]"
        ),
        click.option(
            "--campaign",
            "file",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            help="A YAML file that says all this; options override it.",
        ),
        command.inventory_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


def build_request(flags: dict[str, Any], **whole: Any) -> Request:
    """The request of a command line.

    Args:
        flags: of :func:`request_options`, as click gives them.
        whole: what holds for the whole campaign (seed, publish, deadline, retry, fresh), None where not given.

    Raises:
        BadInput: a value that is none, in an option or in the file.
    """
    from harness.request import Request

    file, inventory = flags.pop("file"), flags.pop("inventory")
    metric = flags.pop("metric", None)
    groups: list[dict[str, Any]] = [{}]
    common: dict[str, Any] = {}
    if file:
        from harness.campaignfile import read

        written = read(Path(file))
        groups, common = written.each(), written.common()
    given = _given(flags)
    common |= {key: value for key, value in whole.items() if value is not None}
    deadline, retry = common.get("deadline"), common.get("retry", 1)
    metric = metric or common.get("metric", "latency")
    if deadline is not None and deadline <= 0:
        raise BadInput("--deadline takes seconds greater than 0")
    if not 0 <= retry <= 10:
        raise BadInput(f"--retry takes 0 to 10, not {retry}")
    return Request(
        groups=tuple(_group({**group, **given}, metric) for group in groups),
        seed=common.get("seed", 0),
        retry=retry,
        fresh=bool(common.get("fresh")),
        publish=bool(common.get("publish")),
        deadline_s=deadline,
        inventory=str(Path(inventory).absolute()) if inventory else None,
        metric=metric,
    )


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """What was said on the command line, under the keys of a campaign file."""
    from harness.affinity import check_affinity
    from harness.plan import parse_cpus, parse_threads
    from harness.request import check_counts, parse_share
    from harness.runners.prepared import parse_options

    found: dict[str, Any] = {name: tuple(dict.fromkeys(flags[name])) for name in ("devices", "models") if flags[name]}
    if flags["abi"]:
        found["abis"] = tuple(part.strip() for part in flags["abi"].split(",") if part.strip())
    if flags["threads"] is not None:
        found["threads"] = parse_threads(flags["threads"])
    if flags["affinity"] and flags["cpus"]:
        raise BadInput("--affinity and --cpus say the same thing; give one of them")
    if flags["affinity"]:
        found["affinity"] = check_affinity(flags["affinity"])
    if flags["cpus"]:
        found["affinity"] = ",".join(str(cpu) for cpu in parse_cpus(flags["cpus"]))
    if flags.get("settings"):
        found["options"] = parse_options(flags["settings"])
    ranges = {"warmup": (0, 10**6), "runs": (1, 10**6), "repeats": (1, 1000), "max_repeats": (1, 1000)}
    for name, (least, most) in ranges.items():
        if flags[name] is not None:
            check_counts([(name.replace("_", "-"), flags[name], least, most)])
            found[name] = flags[name]
    if flags["until"]:
        found["until"] = parse_share(flags["until"], "--until")
    return found | _cool(flags["cool_below"], flags["cool_limit"])


def _cool(below: float | None, limit: float | None) -> dict[str, Any]:
    from harness.campaignfile import Cool

    if below is not None and not 0 < below < 150:
        raise BadInput(f"--cool-below takes degrees Celsius above 0 and below 150, not {below:g}")
    if limit is not None and not 0 <= limit <= 86400:
        raise BadInput(f"--cool-limit takes 0 to 86400 seconds, not {limit:g}")
    if below is not None:
        return {"cool": Cool(below=below, limit=limit)}
    return {} if limit is None else {"cool_limit": limit}


def _group(said: dict[str, Any], metric: Metric) -> Group:
    from harness.cooling import LIMIT_S
    from harness.instructions import PROTOCOL as COUNTED
    from harness.job import Protocol
    from harness.plan import THREADS
    from harness.request import Group

    counted = metric == "instructions"
    if counted and "until" in said:
        raise BadInput("--until is for latencies: a count of instructions repeats", hint="leave --until out")
    usual = COUNTED if counted else Protocol()
    cool = said.get("cool")
    limit = cool.limit if cool is not None and cool.limit is not None else LIMIT_S
    return Group(
        devices=said.get("devices", ()),
        models=said.get("models", ()),
        abis=said.get("abis", ()),
        threads=said.get("threads", (1,) if counted else THREADS),
        affinity=said.get("affinity"),
        options=said.get("options", ()),
        protocol=Protocol(
            warmup=said.get("warmup", usual.warmup),
            runs=said.get("runs", usual.runs),
            repeats=said.get("repeats", usual.repeats),
        ),
        until=said.get("until"),
        max_repeats=said.get("max_repeats", MAX_REPEATS),
        cool_below_c=cool.below if cool is not None else None,
        cool_limit_s=said.get("cool_limit", limit),
    )
