"""``harness compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketzoo import command
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    from zoo.measurement import Measurement

ALLOWED = ("device", "abi", "threads", "affinity", "options", "protocol", "runner", "provenance", "metric", "verdict")


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--device", "devices", multiple=True, metavar="D", help="Only cells of this device; repeatable.")
@click.option("--abi", metavar="A", help="Only cells of this ABI.")
@click.option("--threads", metavar="N,N", help="Only cells with so many threads.")
@click.option("--gate", metavar="P%", help="Exit 1 where B is significantly slower than A by more than P%.")
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(ALLOWED),
    help="May differ; `verdict`: the gate takes cells that are not valid.",
)
@command.reporting_options
def compare(
    first: str,
    second: str,
    devices: tuple[str, ...],
    abi: str | None,
    threads: str | None,
    gate: str | None,
    allow: tuple[str, ...],
    as_json: bool,
) -> None:
    """How much longer B takes than A, or how many more instructions, from what was measured.

    A and B are models of the zoo (mobilenetv2, mobilenetv2@sha256:...), models on a device (mobilenetv2@local), or
    cells by the beginning of their key. Only cells measured alike are compared: pair by pair, newest of each.
    """
    from harness.listing import comparison_record, comparison_text
    from harness.plan import parse_threads
    from harness.request import parse_share
    from harness.results import Results
    from zoo.comparison import breaks, compared, compared_counts, gate_refusals, pairs

    limit = parse_share(gate, "--gate") if gate else None
    counts = parse_threads(threads) if threads else None
    known = [
        m
        for m in Results().latest(devices=devices, failed=False)
        if (abi is None or m.abi == abi)
        and (counts is None or m.threads_requested in counts)
        and (m.summary is not None or m.instructions is not None)
    ]
    found = pairs(_cells(first, known, devices), _cells(second, known, devices), allow=allow)
    comparisons = [compared(a, b) if a.metric == "latency" else compared_counts(a, b) for a, b in found]
    if limit is not None:
        refused = [why for one in comparisons for why in gate_refusals(one, allow=allow)]
        if refused:
            raise BadInput(
                "the gate cannot be held against these cells",
                detail=tuple(dict.fromkeys(refused)),
                hint="measure them again with harness run, or choose cells with --threads; --allow verdict takes them",
            )
    broken = [one for one in comparisons if limit is not None and breaks(one, limit)]
    if as_json:
        command.print_json([comparison_record(one, gate=limit, broken=one in broken) for one in comparisons])
    else:
        click.echo("\n\n".join(comparison_text(one, gate=limit, broken=one in broken) for one in comparisons))
    if broken:
        raise click.exceptions.Exit(1)


def _cells(name: str, known: list[Measurement], devices: tuple[str, ...]) -> list[Measurement]:
    """The measurements that a name on the command line means.

    Raises:
        BadInput: it means none, or more than one thing.
    """
    import re

    from zoo.store import Store

    if re.fullmatch(r"[0-9a-f]{8,64}", name):
        found = [m for m in known if m.job_key.startswith(name)]
        if found:
            return found
    reference, at, device = name.rpartition("@")
    if at and not device.startswith("sha256:"):
        found = [m for m in _cells(reference, known, devices) if m.device.name == device]
    else:
        artifact = Store().get(name).artifact
        found = [m for m in known if m.artifact_sha256 == artifact.digest]
    if not found:
        where = f" on {', '.join(devices)}" if devices else ""
        raise BadInput(
            f"{name} was not measured{where} in that way",
            hint=f"harness run --device {devices[0] if devices else 'local'} --model {reference or name}",
        )
    return found
