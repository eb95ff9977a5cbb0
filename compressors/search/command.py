"""``compress search``: a network of a measured latency."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pocketzoo.command import inventory_option, print_json, reporting_options, say, tell

if TYPE_CHECKING:
    from zoo.measurement import Metric


@click.command("search")
@click.option("--device", required=True, metavar="D", help="A device of the inventory; `devices list` prints them.")
@click.option("--model", required=True, metavar="RECIPE", help="The recipe of the network to prune.")
@click.option("--target-latency-ms", type=float, metavar="X", help="Milliseconds the network may take.")
@click.option("--target-instructions", type=float, metavar="N", help="Instructions of an inference, on a lab device.")
@click.option("--target", "share", metavar="P%", help="Of what the unpruned network takes on the device.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), metavar="FILE.yaml", help="The recipe to write.")
@click.option("--protocol", type=click.Choice(["uniform", "sensitivity", "amc"]), default="amc", show_default=True)
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True)
@click.option("--abi", metavar="A", help="Which of the device's ABIs; default: the runner's own.")
@click.option(
    "--metric", type=click.Choice(["latency", "instructions"]), help="Default: what the target is given in, or latency."
)
@click.option("--option", "options", multiple=True, metavar="K=V", help="A setting of the runner; repeatable.")
@click.option(
    "--max-measurements",
    type=click.IntRange(4, 100_000),
    default=300,
    show_default=True,
    help="Files measured at most.",
)
@click.option("--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Networks measured whole.")
@click.option("--episodes", type=click.IntRange(1, 100_000), help="Roll-outs of amc.  [default: 800]")
@click.option("--images", type=click.IntRange(1), help="Held-out images that judge a candidate.  [default: all]")
@click.option(
    "--batches", type=click.IntRange(1), help="Batches of 50 images that amc rebuilds layers from.  [default: 60]"
)
@click.option("--lowest", type=float, default=0.2, show_default=True, help="The smallest share of a layer that stays.")
@click.option(
    "--round-to", type=click.IntRange(1, 1024), default=8, show_default=True, help="Channels are multiples of it."
)
@click.option("--keep", multiple=True, metavar="LAYER", help="A layer, or a pattern, whose channels stay; repeatable.")
@click.option("--finetune-epochs", type=click.IntRange(1, 100_000), help="Of the recipe that is written.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a value of the recipe.")
@inventory_option
@reporting_options
def search_command(
    device: str,
    model: str,
    target_latency_ms: float | None,
    target_instructions: float | None,
    share: str | None,
    out: str,
    protocol: Any,
    threads: int,
    abi: str | None,
    metric: Any,
    options: tuple[str, ...],
    max_measurements: int,
    rounds: int,
    episodes: int | None,
    images: int | None,
    batches: int | None,
    lowest: float,
    round_to: int,
    keep: tuple[str, ...],
    finetune_epochs: int | None,
    seed: int,
    assignments: tuple[str, ...],
    inventory: str | None,
    as_json: bool,
) -> None:
    """Prune the network of a recipe to what it may take on a device, as the device measures it.

    A table of its layers is measured there and kept; the search asks the table, what it finds is measured whole, and
    where both differ by more than 5 % the table is corrected and the search goes on. Killed or cut off, the same
    command goes on from what was measured. The result is a recipe for `compress run`, its report beside it.
    """
    from compressors.cli import check_packages
    from compressors.search.found_recipe import check_out
    from pocketzoo.errors import BadInput
    from zoo.meter import Way, find_meter

    name = check_out(Path(out))
    wanted = _target(target_latency_ms, target_instructions, share, metric)
    if not 0 < lowest < 1:
        raise BadInput(f"--lowest takes a share above 0 and below 1, not {lowest:g}")
    check_packages()
    way = Way(
        device=device,
        threads=threads,
        abi=abi,
        metric=wanted.metric,
        options=_options(options),
        inventory=Path(inventory) if inventory else None,
    )
    meter = find_meter(way)
    meter.identify()  # a device that is not there is told before the network is trained

    from compressors.progress import OnStderr
    from compressors.recipe import load
    from compressors.search.found_recipe import report_of, text_of, write_found, write_report
    from compressors.search.proposals import Settings
    from compressors.search.steer import Asked, steer
    from compressors.search.subject import subject_of

    loaded = load(model, assignments)
    settings = Settings(lowest, round_to, episodes, images, batches, seed)
    progress = OnStderr()
    try:
        subject = subject_of(loaded, progress, keep)
        asked = Asked(protocol, wanted.value, wanted.share, settings, max_measurements, rounds)
        progress.begin(f"{subject.name}: search on {device}")
        steered = steer(subject, meter, asked, progress.say)
        progress.end(steered.found.closed.outcome)
    finally:
        progress.close()
    path = Path(out)
    beside = path.with_name(f"{name}-uniform{path.suffix}") if steered.uniform else None
    where = f"on {device}, {threads} thread{'s' if threads > 1 else ''}, protocol {protocol}, seed {seed}"
    write_found(path, beside, steered, loaded, keep, finetune_epochs, where)
    about = {
        "model": loaded.recipe.name,
        "device": device,
        "threads": threads,
        "metric": wanted.metric,
        "protocol": protocol,
        "seed": seed,
        "episodes": episodes,
        "images": images,
        "lowest": lowest,
        "round_to": round_to,
    }
    report = report_of(steered, about, str(path), str(beside) if beside else None)
    write_report(path.with_suffix(".report.json"), report)
    if as_json:
        print_json(report)
    else:
        tell(text_of(steered))
    closed = steered.found.closed
    # The recipe names its parent, which knows nothing of --set.
    again = "".join(f" --set {shlex.quote(each)}" for each in assignments)
    say(f"{closed.outcome}: {closed.says}; {steered.spent} measurements")
    say(f"next: compress run {shlex.quote(str(path))}{again}")
    if closed.outcome != "reached":
        raise click.exceptions.Exit(1)


class _Wanted(NamedTuple):
    """A target: a value in the metric's unit, or a share of what the unpruned network takes."""

    metric: Metric
    value: float | None
    share: float | None


def _target(latency_ms: float | None, instructions: float | None, share: str | None, metric: Metric | None) -> _Wanted:
    from pocketzoo.errors import BadInput

    if sum(each is not None for each in (latency_ms, instructions, share)) != 1:
        raise BadInput("give one target: --target-latency-ms, --target-instructions or --target", hint="--target 50%")
    found: Metric = metric or ("latency" if instructions is None else "instructions")
    if (instructions is not None and found != "instructions") or (latency_ms is not None and found != "latency"):
        raise BadInput(f"a target in another unit than --metric {found}", hint="leave --metric out")
    value = latency_ms if latency_ms is not None else instructions
    if value is not None and not 0 < value < float("inf"):
        raise BadInput(f"a target of {value:g} cannot be reached: it must be above 0", hint="--target 50%")
    return _Wanted(found, value, _share(share) if share is not None else None)


def _share(text: str) -> float:
    from pocketzoo.errors import BadInput

    found = re.fullmatch(r"(-?\d+(?:\.\d*)?|-?\.\d+)\s*%", text.strip())
    if found is None:
        raise BadInput(f"--target takes a percentage, not {text!r}", hint="--target 50%")
    value = float(found[1]) / 100
    if not 0 < value < 1:
        raise BadInput(
            f"a target of {text.strip()} of the network's own time: it must be above 0 % and below 100 %",
            hint="--target 50%",
        )
    return value


def _options(pairs: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    from pocketzoo.errors import BadInput

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value) or key in found:
            raise BadInput(f"not a setting, or one that is given twice: {pair!r}", hint="--option name=value")
        found[key] = value
    return tuple(sorted(found.items()))
