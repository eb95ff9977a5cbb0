"""A recipe looked at before anything slow begins: does its network build, can its targets be met, is its data there?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from compressors.inputs import evaluation_folder, needs_calibration, needs_training_data
from compressors.recipe import AS_BUILT, UNTRAINED, Loaded, Recipe
from compressors.telling import told
from pocketzoo.errors import BadInput, WorkFailed

if TYPE_CHECKING:
    import torch
    from torch import nn

    from compressors.prune_section import Prune
    from compressors.search.problem import Problem


@dataclass(frozen=True)
class Size:
    """What a network costs: MACs of one sample, and parameters."""

    macs: int
    parameters: int


@dataclass(frozen=True)
class StepFound:
    """A step, and the network behind it; None where it changes no structure. ``told`` says what the step does."""

    kind: str
    told: str
    after: Size | None = None


@dataclass(frozen=True)
class Need:
    """Something a recipe works on: where it is, or that it is missing and how it is given.

    ``optional``: without it the recipe runs, and says what it cannot tell then.
    """

    what: str
    found: str | None
    hint: str
    optional: bool = False


@dataclass(frozen=True)
class Checked:
    """What :func:`check` found. ``network`` is None for a recipe that begins with a file of the zoo.

    ``shape`` is that of one input as the file takes it, (1, H, W, C).
    """

    name: str
    architecture: str
    shape: tuple[int, ...]
    network: Size | None
    steps: tuple[StepFound, ...]
    needs: tuple[Need, ...]

    @property
    def missing(self) -> tuple[Need, ...]:
        """What has to be given before it runs."""
        return tuple(need for need in self.needs if need.found is None and not need.optional)

    @property
    def last(self) -> Size | None:
        """The network after all steps."""
        return next((step.after for step in reversed(self.steps) if step.after is not None), self.network)


def check(loaded: Loaded) -> Checked:
    """Build a recipe's network at its real size, and see that each pruning can reach its target.

    Ratios that a protocol would search are not known before it does; the network behind it is shown with uniform ones,
    and the protocol's own bounds are held against the target. Nothing is trained, and no data is read.

    Raises:
        BadInput: the network is none, or its bounds forbid the target.
        WorkFailed: it cannot be traced, or the target is out of reach.
    """
    recipe = loaded.recipe
    how = recipe.preprocessing
    found: list[StepFound] = []
    size: Size | None = None
    network: nn.Module | None = None
    if loaded.given is None:
        import torch

        from compressors import architectures

        torch.manual_seed(recipe.seed)
        network = architectures.build(recipe.model.architecture, **recipe.model.options)
        size = size_of(network, (1, how.channels, how.crop, how.crop))
    for step in recipe.steps:
        after: Size | None = None
        if step.kind == "prune" and network is not None:
            network = _pruned(network, step, (1, how.channels, how.crop, how.crop), recipe.seed)
            after = size_of(network, (1, how.channels, how.crop, how.crop))
        found.append(StepFound(step.kind, told(step), after))
    return Checked(
        name=recipe.name,
        architecture=recipe.model.architecture,
        shape=(1, how.crop, how.crop, how.channels),
        network=size,
        steps=tuple(found),
        needs=tuple(needs(loaded)),
    )


def size_of(network: nn.Module, shape: Sequence[int]) -> Size:
    """By the rules of :mod:`compressors.counting`; ``shape`` is torch's (1, C, H, W)."""
    from compressors.counting import count

    counted = count(network, shape)
    return Size(counted.macs, counted.parameters)


def _pruned(network: nn.Module, step: Prune, shape: tuple[int, ...], seed: int) -> nn.Module:
    """The network as uniform ratios of the step's target leave it, once the step's own protocol agrees to it."""
    from compressors.progress import Silent
    from compressors.pruning import kept_layers, target_of
    from compressors.search.problem import Problem, protocol
    from compressors.search.ratios import agrees
    from compressors.steps.prune.criteria import choose
    from compressors.steps.prune.structure import remove, trace

    keep = kept_layers(step, network)
    structure = trace(network, shape, keep)
    _ = structure.prunable  # an error where there is none
    with tempfile.TemporaryDirectory() as folder:
        problem = Problem(
            model=network,
            structure=structure,
            target=target_of(step, structure),
            criterion="l1",
            round_to=step.round_to,
            evaluate=_nothing,
            batches=_nothing,
            train=_nothing,
            seed=seed,
            progress=Silent(),
            folder=Path(folder),
            options=step.model_copy(update={"keep": keep}),
            shape=shape,
        )
        agrees(problem, step.protocol)
        solution = protocol("channels" if step.protocol == "channels" else "uniform")(problem)
        full = structure.full()
        fewer = {name: number for name, number in solution.kept.items() if number != full[name]}
        if not fewer:
            raise WorkFailed("nothing would be removed: the pruned network is as large as before")
        return remove(network, shape, choose(_any(problem), fewer, structure=structure), structure)


def _any(problem: Problem) -> dict[str, torch.Tensor]:
    """Which channels go does not matter for what the network costs."""
    from compressors.steps.prune.criteria import importance

    return importance(problem.model, problem.structure, "random", None, problem.seed)


def _nothing(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise AssertionError("a check trains and judges nothing")


def needs(loaded: Loaded) -> Iterator[Need]:
    """The files a recipe needs, and where they are. Folders are looked for, not read."""
    recipe = loaded.recipe
    if loaded.given is not None:
        yield Need("the file it is made from", loaded.given.reference, "")
    elif not recipe.trains_float:
        yield _weights(recipe)
    training = recipe.data.training
    if training is not None and needs_training_data(recipe):
        yield _folder(f"training images ({training.kind})", training.folder, "data.training.folder")
    if needs_calibration(recipe):
        calibration = recipe.data.calibration
        if calibration is not None and calibration.noise is not None:
            yield Need("images to calibrate on", "noise", "")
        elif calibration is not None and calibration.folder is None and training is not None:
            yield _folder("images to calibrate on", training.folder, "data.training.folder")
        else:
            given = calibration.folder if calibration is not None else None
            yield _folder("photos to calibrate on", given, "data.calibration.folder")
    section = recipe.data.evaluation
    if section is not None:
        folder = evaluation_folder(section, training)
        where = "data.evaluation.folder"
        yield _folder(f"what judges the file ({section.dataset}, {section.split})", folder, where, optional=True)


def _weights(recipe: Recipe) -> Need:
    if recipe.weights is None:
        return Need("weights", None, "--set weights=FILE (.pth or .safetensors)")
    if recipe.weights in (AS_BUILT, UNTRAINED) or recipe.weights.startswith("zoo:"):
        return Need("weights", recipe.weights, "")
    there = Path(recipe.weights).is_file()
    return Need("weights", recipe.weights if there else None, f"no such file: {recipe.weights}; --set weights=FILE")


def _folder(what: str, folder: str | Path | None, key: str, *, optional: bool = False) -> Need:
    if folder is None:
        return Need(what, None, f"--set {key}=FOLDER", optional)
    if not Path(folder).is_dir():
        return Need(what, None, f"no such folder: {folder}; --set {key}=FOLDER", optional)
    return Need(what, str(folder), "", optional)


def problem_of(error: BadInput | WorkFailed) -> str:
    """An error as one line of a table."""
    return "; ".join((error.what, *error.detail))
