"""``compress curve``: latency against MACs, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pocketzoo.command import inventory_option, print_json, reporting_options, say, tell


@click.command("curve")
@click.argument("recipe")
@click.option("--device", required=True, metavar="D", help="A device of the inventory; `devices list` prints them.")
@click.option("--steps", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--batch", type=click.IntRange(1, 4096), default=1, show_default=True, help="More than 1: runner torch.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True)
@click.option("--abi", metavar="A", help="Which of the device's ABIs; default: the runner's own.")
@click.option("--metric", type=click.Choice(["latency", "instructions"]), default="latency", show_default=True)
@click.option("--warmup", type=click.IntRange(0, 10_000), default=10, show_default=True)
@click.option("--runs", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--repeats", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), metavar="FILE.json", help="Write the curve as data.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a value of the recipe.")
@inventory_option
@reporting_options
def curve_command(
    recipe: str,
    device: str,
    steps: int,
    batch: int,
    threads: int,
    abi: str | None,
    metric: Any,
    warmup: int,
    runs: int,
    repeats: int,
    out: str | None,
    assignments: tuple[str, ...],
    inventory: str | None,
    as_json: bool,
) -> None:
    """Prune RECIPE's network in equal steps and measure every step on a device: Torch-Pruning's latency test.

    Its weights do not matter and are not trained: what a network takes is decided by its structure. The published run:
    resnet50 --batch 64 --steps 20, on a CUDA device whose runner is torch.
    """
    from compressors.cli import check_packages
    from compressors.search.curve import curve, program_of, text_of
    from zoo.meter import Way, find_meter

    check_packages()
    options: tuple[tuple[str, str], ...] = ()
    place = Path(inventory) if inventory else None
    meter = find_meter(Way(device, threads, abi, metric, options, place))
    identity = meter.identify()
    form = program_of(identity, batch)

    import torch

    from compressors import architectures
    from compressors.recipe import load

    loaded = load(recipe, assignments).recipe
    shape = (1, loaded.preprocessing.channels, loaded.preprocessing.crop, loaded.preprocessing.crop)
    if form == "pt2":
        sides = "x".join(str(size) for size in shape[1:])
        options = tuple(sorted((("batch", str(batch)), ("shape", sides))))
        meter = find_meter(Way(device, threads, abi, metric, options, place))
    torch.manual_seed(loaded.seed)
    model = architectures.build(loaded.model.architecture, **loaded.model.options)
    found = curve(
        model, shape, meter, name=loaded.name, steps=steps, batch=batch, warmup=warmup, runs=runs, repeats=repeats,
        say=say,
    )  # fmt: skip
    unit = "ms" if metric == "latency" else "instructions"
    document = {
        "schema": 1,
        "recipe": loaded.name,
        "device": device,
        "abi": identity.abi,
        "runner": identity.runner,
        "threads": threads,
        "batch": batch,
        "unit": unit,
        "steps": [each.record() for each in found],
    }
    if out is not None:
        import msgspec

        from pocketzoo.files import write_atomically

        write_atomically(Path(out), msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    if as_json:
        print_json(document)
    else:
        tell(text_of(found, unit, batch))
    say(f"next: {'see ' + out if out else 'the same with --out curve.json; what was measured is known'}")
