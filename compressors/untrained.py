"""A recipe without its training: what its network takes on a device is decided by its structure, not by its weights.

``compress run RECIPE --untrained`` builds the recipe's network at its real size with the weights it is made with,
prunes it to the recipe's target, exports it and quantizes it on noise. Nothing is learnt and no data is read, so such
a file tells MACs, size and time, and nothing about accuracy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compressors.recipe import AS_BUILT, UNTRAINED, Loaded
from compressors.sections import Recipe
from pocketzoo.errors import BadInput

TAG = "untrained"
IMAGES = 16  # of noise, for the ranges of activations
# Criteria that say nothing of weights nobody trained (all scales are 1), or that look at images.
NEED_TRAINING = ("bn-scale", "taylor", "lasso")
# Protocols whose counts follow from the target alone.
BY_TARGET = ("uniform", "channels")


def untrained(loaded: Loaded) -> Loaded:
    """A recipe and those it descends from, without all that trains or looks at data.

    Ratios that would be searched or measured are uniform ones of the same target; quantization-aware training becomes
    quantization after training, steps that only teach are left out. What was changed is in ``notes``, which the
    artifact gets.

    Raises:
        BadInput: weights are given, or the recipe begins with a file of the zoo: there is nothing untrained in it.
    """
    if loaded.given is not None:
        raise BadInput(
            f"{loaded.given.reference} is a trained model; there is nothing in it to leave untrained",
            where=str(loaded.path),
            hint="leave --untrained out, or name a recipe that builds its network",
        )
    if loaded.recipe.weights not in (None, AS_BUILT, UNTRAINED):
        raise BadInput(
            "--untrained takes the weights a network is built with, and this recipe has others",
            where=str(loaded.path),
            detail=(f"weights: {loaded.recipe.weights}",),
            hint="leave --untrained out, or the weights",
        )
    tree: dict[str, Any] = loaded.recipe.model_dump()
    first_own = len(tree["steps"]) - loaded.own_steps
    steps: list[dict[str, Any]] = []
    own, changed = 0, []
    for number, step in enumerate(tree["steps"]):
        kept, told = _step(step)
        changed += [f"step {number + 1} ({step['kind']}): {text}" for text in told]
        if kept is not None:
            steps.append(kept)
            own += number >= first_own
    static = any(step["kind"] == "quantize" and step["scheme"].startswith("static-") for step in steps)
    tree |= {
        "weights": UNTRAINED,
        "start": None,
        "train": None,
        "data": {"calibration": {"noise": IMAGES}} if static else {},
        "steps": steps,
    }
    notes = (
        "untrained: the weights are those the network is built with, batch norm's statistics those of noise; "
        "size and time mean something, answers do not",
    )
    return replace(
        loaded,
        recipe=Recipe.model_validate(tree),
        parent=untrained(loaded.parent) if loaded.parent is not None else None,
        own_steps=own,
        notes=(*notes, *(f"untrained: {text}" for text in changed)),
    )


def _step(step: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """The step as it is done without data, None where nothing stays of it, and what was changed."""
    if step["kind"] == "quantize":
        told = [] if step["qat"] is None else ["ranges of noise in place of learnt ones"]
        return {**step, "qat": None, "max_drop": None}, told
    if step["kind"] != "prune":
        return None, ["left out, it changes no structure"]
    told = [f"no {key}" for key in ("sparse", "finetune", "distil") if step[key] is not None]
    found = {**step, "sparse": None, "finetune": None, "distil": None, "episodes": None}
    found["search"] = {}
    if step["protocol"] not in BY_TARGET:
        found["protocol"] = "uniform"
        told.append(f"uniform in place of {step['protocol']}")
    if step["criterion"] in NEED_TRAINING:
        found["criterion"] = "l1"
        told.append(f"criterion l1 in place of {step['criterion']}")
    return found, told
