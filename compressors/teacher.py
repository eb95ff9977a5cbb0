"""Teachers: the networks that recipes name to teach with, found and checked before anything slow begins.

A teacher is a recipe of its own, run on the student's data and seed: the held-out images are drawn by the seed, so a
teacher with another one would have been trained on images that judge its student.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any

from compressors.distil_section import Losses, Taught
from compressors.distil_section import Teacher as Section
from compressors.inputs import Inputs, gather
from compressors.recipe import Loaded, Recipe, load
from compressors.sections import ModelSection
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    from compressors.sections import Step

DEEPEST = 4  # teachers of teachers


@dataclass(frozen=True)
class Teacher:
    """A network that teaches: its recipe on the student's data, its files, and the teachers of its own steps."""

    recipe: Recipe
    inputs: Inputs
    teachers: Mapping[int, Teacher]

    @property
    def name(self) -> str:
        """As it is told."""
        return self.recipe.name


def taught(step: Step) -> Taught | None:
    """How a step is taught, if it is, by a network that the recipe names or could name."""
    if step.kind == "distil":
        return step
    return step.distil if step.kind == "sparsify" else None


def gather_teachers(loaded: Loaded, found: Inputs, depth: int = 0) -> dict[int, Teacher]:
    """The teachers of a recipe by the number of their step; what identifies them goes into the inputs' identities.

    Args:
        loaded: the student's recipe.
        found: its files.
        depth: how many students of students these are.

    Raises:
        BadInput: a teacher that cannot be found, cannot be trained, or cannot teach this student.
    """
    teachers: dict[int, Teacher] = {}
    for number, step in enumerate(loaded.recipe.steps):
        how = taught(step)
        if how is None or how.teacher is None:
            continue
        key = f"steps.{number}.teacher" if step.kind == "distil" else f"steps.{number}.distil.teacher"
        where = f"{loaded.path}: {key}"
        if depth >= DEEPEST:
            raise BadInput(f"{loaded.recipe.name} has a teacher with a teacher, {DEEPEST} deep", where=where)
        with _told(where, key):
            made = _loaded(loaded, how.teacher)
        _check_float(made, where)
        _check_input(loaded.recipe, made.recipe, where)
        with _told(where, key):
            inputs = gather(made)
        teachers[number] = Teacher(made.recipe, inputs, gather_teachers(made, inputs, depth + 1))
        if how.teacher.weights is not None and inputs.weights is not None:
            found.identities[f"{key}.weights"] = f"sha256:{inputs.weights_sha256}"
        _check_fit(loaded.recipe, number, made.recipe, how, where)
    return teachers


@contextmanager
def _told(where: str, key: str) -> Iterator[None]:
    """Mistakes in a teacher are told at the place that names it."""
    try:
        yield
    except BadInput as error:
        detail = (*error.detail, *([f"in {error.where}"] if error.where else []))
        hint = error.hint.replace("--set weights=", f"--set {key}.weights=") if error.hint else None
        raise BadInput(f"the teacher: {error.what}", where=where, detail=detail, hint=hint) from error


def _loaded(student: Loaded, section: Section) -> Loaded:
    """The teacher's recipe with the student's data and seed."""
    if section.recipe is None:
        made = _of_architecture(student, section)
    else:
        settings = [*_assignments(section.settings)]
        if section.weights is not None:
            settings.append(f"weights={section.weights}")
        made = load(section.recipe, settings, beside=student.path.parent)
    mine = student.recipe
    data = mine.data.model_copy(update={"evaluation": None, "calibration": None})
    return replace(made, recipe=made.recipe.model_copy(update={"data": data, "seed": mine.seed}))


def _check_float(made: Loaded, where: str) -> None:
    """A teacher is a network that can be run on batches.

    Raises:
        BadInput: its recipe ends as a quantized file, or began as one.
    """
    if made.recipe.quantizes or made.given is not None:
        raise BadInput(
            f"the teacher {made.recipe.name} ends as a quantized file, and a teacher is a float network",
            where=where,
            hint="name the recipe it was made from",
        )


def _of_architecture(student: Loaded, section: Section) -> Loaded:
    recipe = student.recipe.model_copy(
        update={
            "name": f"{student.recipe.name}-teacher",
            "title": f"the teacher {section.architecture}",
            "parent": None,
            "model": ModelSection(architecture=str(section.architecture), options=dict(section.options)),
            "weights": section.weights,
            "start": None,
            "train": None,
            "steps": [],
        }
    )
    return Loaded(recipe=recipe, path=student.path, parent=None, own_steps=0)


def _assignments(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """``{train: {epochs: 5}}`` as ``train.epochs=5``."""
    from ruamel.yaml import YAML

    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _assignments(value, f"{prefix}{key}.")
            continue
        out = StringIO()
        writer = YAML(typ="safe", pure=True)
        writer.default_flow_style = True
        writer.width = 4096
        writer.dump(value, out)
        yield f"{prefix}{key}={out.getvalue().removesuffix('...' + chr(10)).strip()}"


def _check_input(student: Recipe, teacher: Recipe, where: str) -> None:
    """Both see the same images, prepared in the same way.

    Raises:
        BadInput: another preprocessing; the teacher would see images it was not trained on.
    """
    mine, theirs = (recipe.preprocessing.model_dump() for recipe in (student, teacher))
    other = [f"{key}: {theirs[key]}, the student {mine[key]}" for key in mine if mine[key] != theirs[key]]
    if other:
        raise BadInput(
            f"the teacher {teacher.name} was made for other images than {student.name}",
            where=where,
            detail=tuple(f"preprocessing.{text}" for text in other),
            hint="a teacher with the same preprocessing section",
        )


def _check_fit(student: Recipe, number: int, teacher: Recipe, losses: Losses, where: str) -> None:
    """The two networks as they are built, on one empty image; after a pruning the stage looks again."""
    from compressors.steps.distil.objective import check

    if any(step.kind == "prune" for step in student.steps[:number]) or teacher.prunes:
        losses = losses.model_copy(update={"fsp": None})  # their channels are known when they are pruned
    how = student.preprocessing
    shape = (1, how.channels, how.crop, how.crop)
    try:
        check(_built(student), _built(teacher), shape, losses, (student.name, teacher.name))
    except BadInput as error:
        raise BadInput(error.what, where=where, detail=error.detail, hint=error.hint) from error


def _built(recipe: Recipe) -> Any:
    from compressors import architectures
    from compressors.quiet import quiet

    with quiet():
        return architectures.build(recipe.model.architecture, **recipe.model.options)
