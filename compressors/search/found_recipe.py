"""What a search found, as a recipe that `compress run` takes, and as a report. Pure, but for writing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from compressors.search.by_latency import Closed
from compressors.search.lookup import Entry
from pocketzoo import __version__
from pocketzoo.errors import BadInput
from pocketzoo.files import write_atomically
from zoo.reference import check_name

if TYPE_CHECKING:
    from compressors.recipe import Loaded
    from compressors.search.steer import Candidate, Steered

FINETUNE = 0.1
"""Of the learning rate that the network was trained with; schedule and everything else are as then."""


def check_out(out: Path) -> str:
    """The recipe's name, which is its file's.

    Raises:
        BadInput: no name a recipe can have, or not a .yaml file in a folder that is there.
    """
    if out.suffix not in (".yaml", ".yml"):
        raise BadInput(
            f"--out writes a recipe, a .yaml file, not {out.name!r}", hint=f"--out {out.stem or 'found'}.yaml"
        )
    if not out.absolute().parent.is_dir():
        raise BadInput("no such folder", where=str(out.absolute().parent), hint=f"mkdir -p {out.parent}")
    return check_name(out.stem)


def recipe_of(
    name: str, loaded: Loaded, counts: Mapping[str, int], keep: tuple[str, ...], says: str, epochs: int | None
) -> dict[str, Any]:
    """The recipe as a mapping.

    Args:
        name: its name.
        loaded: the recipe of the unpruned network, its parent.
        counts: group -> channels that stay.
        keep: layers whose channels stay.
        says: a line of what was predicted and measured, its title.
        epochs: of the fine-tuning; None: as many as the network was trained for.
    """
    from compressors.recipe import shipped

    recipe = loaded.recipe
    known = shipped().get(recipe.name)
    step: dict[str, Any] = {"kind": "prune", "protocol": "channels", "criterion": "l1"}
    if keep:
        step["keep"] = list(keep)
    step["channels"] = dict(counts)
    if recipe.train is not None and recipe.data.training is not None:
        how = recipe.train.model_dump(mode="json", exclude_defaults=True)
        how |= {"epochs": epochs or recipe.train.epochs, "lr": recipe.train.lr * FINETUNE}
        if how.get("warmup_epochs", 0) >= how["epochs"]:
            how["warmup_epochs"] = 0.0
        if how.get("milestones"):
            how["milestones"] = [m * how["epochs"] / recipe.train.epochs for m in how["milestones"]]
        step["finetune"] = how
    parent = recipe.name if known is not None and known == loaded.path else str(loaded.path)
    return {"name": name, "title": says, "parent": parent, "seed": recipe.seed, "steps": [step]}


def write_found(
    path: Path,
    beside: Path | None,
    steered: Steered,
    loaded: Loaded,
    keep: tuple[str, ...],
    epochs: int | None,
    where: str,
) -> None:
    """Write the recipes of what was found and, beside it, of the uniform network.

    Args:
        path: of what was found.
        beside: of the uniform network.
        steered: the search.
        loaded: the recipe of the unpruned network.
        keep: layers whose channels stay.
        epochs: see :func:`recipe_of`.
        where: device and protocol, for a comment.
    """
    for file, each in ((path, steered.found), (beside, steered.uniform)):
        if file is not None and each is not None:
            title = said(each.closed, steered.target, steered.unit)
            document = recipe_of(file.stem, loaded, each.closed.best.counts, keep, title, epochs)
            write_recipe(file, document, ["found by compress search", where])


def write_recipe(path: Path, document: Mapping[str, Any], comments: list[str]) -> None:
    """Write it, the comments above."""
    from io import StringIO

    from ruamel.yaml import YAML

    text = StringIO()
    writer = YAML()
    writer.width = 4096
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(dict(document), text)
    head = "".join(f"# {line}\n" for line in comments)
    write_atomically(path, (head + text.getvalue()).encode())


def figure_record(entry: Entry) -> dict[str, Any]:
    """A number as it is reported."""
    return {
        "value": entry.value,
        "interval": [entry.low, entry.high],
        "verdict": entry.verdict,
        "reason": entry.reason,
        "file_sha256": entry.sha256,
        "job_key": entry.job_key,
        "time": entry.time,
    }


def candidate_record(found: Candidate, recipe: str) -> dict[str, Any]:
    """A network that came out."""
    closed = found.closed
    return {
        "recipe": recipe,
        "outcome": closed.outcome,
        "says": closed.says,
        "channels": dict(closed.best.counts),
        "predicted": closed.best.predicted,
        "measured": figure_record(closed.best.measured),
        "top1_before_training": found.accuracy[0] if found.accuracy else None,
        "top1_interval": list(found.accuracy[1:]) if found.accuracy else None,
        "rounds": [
            {
                "sum_of_layers": each.sum,
                "predicted": each.predicted,
                "measured": figure_record(each.measured),
                "off": each.off,
                "channels": dict(each.counts),
            }
            for each in closed.rounds
        ],
    }


def report_of(steered: Steered, about: Mapping[str, Any], recipe: str, uniform: str | None) -> dict[str, Any]:
    """The whole search as one JSON document."""
    return {
        "schema": 1,
        "pocketzoo": __version__,
        **about,
        "unit": steered.unit,
        "target": steered.target,
        "unpruned": {
            "sum_of_layers": steered.sum,
            "measured": figure_record(steered.base),
            "top1": steered.base_accuracy[0] if steered.base_accuracy else None,
            "top1_interval": list(steered.base_accuracy[1:]) if steered.base_accuracy else None,
        },
        "found": candidate_record(steered.found, recipe),
        "uniform": candidate_record(steered.uniform, uniform or "") if steered.uniform else None,
        "operators_not_in_the_table": dict(steered.others),
        "doubtful_layers": steered.doubtful,
        "measurements": steered.spent,
        "table": str(steered.table),
    }


def text_of(steered: Steered) -> str:
    """The table a person reads."""
    from tabulate import tabulate

    unit = steered.unit

    def row(name: str, predicted: float | None, entry: Entry, top1: tuple[float, float, float] | None) -> list[str]:
        return [
            name,
            "" if predicted is None else f"{predicted:.4g}",
            f"{entry.value:.4g}",
            f"{entry.low:.4g} to {entry.high:.4g}",
            entry.verdict,
            "" if top1 is None else f"{top1[0]:.2f} ({top1[1]:.1f} to {top1[2]:.1f})",
        ]

    def of(name: str, each: Candidate) -> list[str]:
        return row(name, each.closed.best.predicted, each.closed.best.measured, each.accuracy)

    rows = [row("unpruned", None, steered.base, steered.base_accuracy), of("found", steered.found)]
    if steered.uniform is not None:
        rows.append(of("uniform", steered.uniform))
    headers = ["network", f"predicted {unit}", f"measured {unit}", "95% interval", "verdict", "top-1 % before training"]
    return tabulate(rows, headers=headers, disable_numparse=True)


def said(closed: Closed, target: float, unit: str) -> str:
    """A search in a line."""
    return f"target {target:.4g} {unit}: predicted {closed.best.predicted:.4g}, measured {closed.says}"


def write_report(path: Path, document: Mapping[str, Any]) -> None:
    """Beside the recipe."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
