"""The files a recipe works on, found and identified before anything slow begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from compressors.data.dataset import Dataset, Photos, Subset, Whole, check_classes, drawn, hold_out, whole_of
from compressors.data.dense import BoxedPhotos
from compressors.data.dense_sources import PLACELESS, open_scenes
from compressors.data.photos import LabelledPhoto, fingerprint, labelled_photos, list_photos
from compressors.data.sources import Kind, open_dataset
from compressors.given import Given, check_input, checkpoint, is_reference
from compressors.recipe import AS_BUILT, UNTRAINED, Loaded
from compressors.sections import LABELS_OF, EvaluationSection, Recipe, Step, TrainingSection
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file

MOST_CLASSES = 1 << 20


@dataclass(frozen=True)
class Inputs:
    """A recipe's files with the SHA-256 of their contents; empty where the recipe has none.

    ``start`` is the checkpoint a training begins with. ``judging`` is what judges the finished file, be it photos or
    the test split of a data set; ``evaluation`` are the photos where it is those. ``training`` is what a model learns
    from, ``held_out`` the part of the training split it never sees. Calibration images are the photos of
    ``calibration``, or ``calibrating``, drawn from ``training``. ``shared_photos`` counts the calibration photos that
    are evaluation photos, too: they flatter the accuracy. ``origin`` is the entry of the zoo the weights are.
    ``remarks`` are what the artifact has to say of the data.
    """

    weights: Path | None = None
    weights_sha256: str = AS_BUILT
    start: Path | None = None
    start_sha256: str = ""
    evaluation: tuple[LabelledPhoto, ...] = ()
    evaluation_sha256: str = ""
    judging: Dataset | None = None
    training: Subset | None = None
    held_out: Subset | None = None
    calibration: tuple[Path, ...] = ()
    calibration_sha256: str = ""
    calibrating: Subset | None = None
    identities: dict[str, str] = field(default_factory=dict)
    shared_photos: int = 0
    origin: Given | None = None
    remarks: tuple[str, ...] = ()


def gather(loaded: Loaded, *, judged: bool = False) -> Inputs:
    """Find and hash a recipe's files.

    Args:
        loaded: the recipe.
        judged: networks will be judged on the held-out split, though no step of the recipe asks for it.

    Raises:
        BadInput: weights or a folder that are not given or not there, with the ``--set`` that gives them; data that is
            damaged, or whose classes are not the model's.
    """
    recipe = loaded.recipe
    identities: dict[str, str] = {}
    begins = _begins(loaded, identities)
    training, held_out = _training(recipe, loaded.path, identities, judged)
    photos: tuple[LabelledPhoto, ...] = ()
    judging, judged_by = _judging(recipe, identities)
    if isinstance(judging, Photos) and recipe.data.evaluation is not None and recipe.data.evaluation.kind is None:
        photos = judging.photos

    calibration: tuple[Path, ...] = ()
    calibration_sha256 = ""
    calibrating: Subset | None = None
    if needs_calibration(recipe):
        section = recipe.data.calibration
        if section is not None and section.folder is not None:
            folder = Path(section.folder)
            calibration = tuple(list_photos(folder, "data.calibration.folder"))
            calibration_sha256 = fingerprint(folder, calibration)
            identities["data.calibration.folder"] = f"sha256:{calibration_sha256}"
        elif section is not None and section.noise is not None:
            calibration_sha256 = f"noise-{section.noise}"
        elif section is not None and training is not None:
            calibrating = drawn(training, min(section.samples, len(training.labels)), recipe.seed)
            calibration_sha256 = calibrating.identity
        else:
            raise BadInput(
                f"{recipe.name} needs photos to calibrate on: natural ones, not those it is judged on",
                where=str(loaded.path),
                hint="--set data.calibration.folder=FOLDER"
                + ("" if recipe.data.training is None else ", or data.training.folder to draw them from it"),
            )
    return Inputs(
        weights=begins.weights,
        weights_sha256=begins.weights_sha256,
        start=begins.start,
        start_sha256=begins.start_sha256,
        evaluation=photos,
        evaluation_sha256=judged_by,
        judging=judging,
        training=training,
        held_out=held_out,
        calibration=calibration,
        calibration_sha256=calibration_sha256,
        calibrating=calibrating,
        identities=identities,
        shared_photos=_shared([photo.path for photo in photos], calibration),
        origin=begins.origin,
        remarks=(*_remarks("training", training), *_remarks("evaluation", judging)),
    )


def _remarks(what: str, images: Dataset | None) -> list[str]:
    whole = whole_of(images)[0] if images is not None else None
    return [f"{what} data: {remark}" for remark in whole.remarks] if isinstance(whole, BoxedPhotos) else []


def _begins(loaded: Loaded, identities: dict[str, str]) -> Inputs:
    """What a recipe begins with, of files or of the zoo: weights, and a checkpoint to train on from."""
    recipe = loaded.recipe
    origin: Given | None = None
    weights: Path | None = None
    weights_sha256, start, start_sha256 = AS_BUILT, None, ""
    if loaded.given is not None:
        _check_given(recipe, loaded.given, str(loaded.path))
        if loaded.parent is None:
            identities["parent"] = loaded.given.reference
    elif recipe.weights is not None and is_reference(recipe.weights):
        origin = checkpoint(recipe.weights, "weights")
        weights, weights_sha256 = origin.file, origin.artifact.digest
    else:
        weights, weights_sha256 = _weights(recipe, loaded.path)
    if weights is not None:
        identities["weights"] = f"sha256:{weights_sha256}"
    if recipe.start is not None:
        if is_reference(recipe.start.checkpoint):
            found = checkpoint(recipe.start.checkpoint, "start.checkpoint")
            start, start_sha256 = found.file, found.artifact.digest
            origin = origin or (found if recipe.trains_float else None)
        else:
            start = _existing(Path(recipe.start.checkpoint), "start.checkpoint")
            start_sha256 = sha256_file(start)
        identities["start.checkpoint"] = f"sha256:{start_sha256}"
    return Inputs(weights=weights, weights_sha256=weights_sha256, start=start, start_sha256=start_sha256, origin=origin)


def _check_given(recipe: Recipe, given: Given, where: str) -> None:
    """A recipe whose parent is a file has steps that work on the file.

    Raises:
        BadInput: it trains, has weights of its own, or its preprocessing is not that of the file.
    """
    wrong = [key for key in ("train", "weights", "start") if getattr(recipe, key) is not None]
    wrong += [f"steps.{number}" for number, step in enumerate(recipe.steps) if not works_on_files(step)]
    if wrong:
        raise BadInput(
            f"{', '.join(wrong)}: needs a network that can be trained, and the parent is a file",
            where=where,
            detail=(f"{given.reference} is a .tflite, whose graph has no training in it",),
            hint="name the network with model.architecture and its checkpoint with weights: zoo:REF or FILE",
        )
    check_input(given, recipe.preprocessing.crop, recipe.preprocessing.channels, where)


def works_on_files(step: Step) -> bool:
    """Whether a step needs no more than the exported file."""
    return step.kind == "quantize" and step.qat is None


def _training(
    recipe: Recipe, where: Path, identities: dict[str, str], judged: bool
) -> tuple[Subset, Subset] | tuple[None, None]:
    section = recipe.data.training
    if section is None or not (judged or needs_training_data(recipe)):
        return None, None
    if not _has_folder(section):
        raise BadInput(
            f"{recipe.name} needs the training images of {section.kind}, and the recipe names no folder",
            where=str(where),
            hint="--set data.training.folder=FOLDER"
            + (", or --set weights=FILE for weights that are trained already" if recipe.trains_float else ""),
        )
    whole: Whole
    if section.kind in LABELS_OF:
        folder = Path(section.folder) if section.folder is not None else None
        whole = open_scenes(
            section.kind, folder, "train", section.split, classes=section.classes, scenes=recipe.data.scenes,
            key="data.training",
        )  # fmt: skip
        _name_backgrounds(recipe, identities)
    else:
        listed = _class_list(section, "data.training", identities)
        whole = open_dataset(
            cast("Kind", section.kind),
            Path(section.folder or ""),
            "train",
            class_list=listed,
            key="data.training.folder",
        )
    _check_classes(recipe, whole)
    identities["data.training.folder"] = whole.identity
    some = drawn(whole, min(section.limit, len(whole.labels)), recipe.seed) if section.limit else whole
    return hold_out(some, section.held_out, recipe.seed)


def _judging(recipe: Recipe, identities: dict[str, str]) -> tuple[Dataset | None, str]:
    """What judges the file, and the SHA-256 that says which images it is; nothing where there is no folder."""
    section = recipe.data.evaluation
    folder = evaluation_folder(section, recipe.data.training)
    if section is None or (folder is None and section.kind not in PLACELESS):
        return None, ""
    found: Dataset
    if section.kind in LABELS_OF:
        training = recipe.data.training
        classes = section.classes or (training.classes if training is not None else None)
        some = open_scenes(
            section.kind, folder, "test", section.split, classes=classes, scenes=recipe.data.scenes,
            key="data.evaluation",
        )  # fmt: skip
        _check_classes(recipe, some)
        _name_backgrounds(recipe, identities)
        found = drawn(some, min(section.limit, len(some.labels)), recipe.seed) if section.limit else some
        identities["data.evaluation.folder"] = found.identity
        return found, found.identity.removeprefix("sha256:")
    if folder is None:
        return None, ""
    if section.kind is None:
        photos = tuple(labelled_photos(folder, section.labels, section.pattern, "data.evaluation"))
        most = max(photo.label for photo in photos)
        if most >= MOST_CLASSES:
            raise BadInput(
                f"label {most} in a file name; at most {MOST_CLASSES:,} classes are numbered",
                where=str(folder),
                hint="check data.evaluation.pattern: its group 'label' must catch the class index",
            )
        found = Photos(photos, tuple(str(label) for label in range(most + 1)), folder)
        if section.limit:
            kept = drawn(found, min(section.limit, len(photos)), recipe.seed).indices
            found = Photos(tuple(photos[index] for index in kept), found.classes, folder)
        sha256 = fingerprint(folder, [photo.path for photo in found.photos])
    else:
        listed = _class_list(section, "data.evaluation", identities)
        if listed is None and section.folder is None and recipe.data.training is not None:
            listed = _class_list(recipe.data.training, "data.training", identities)
        whole = open_dataset(
            cast("Kind", section.kind), folder, "test", class_list=listed, key="data.evaluation.folder"
        )
        _check_classes(recipe, whole)
        found = drawn(whole, min(section.limit, len(whole.labels)), recipe.seed) if section.limit else whole
        sha256 = found.identity.removeprefix("sha256:")
    identities["data.evaluation.folder"] = sha256 if ":" in sha256 else f"sha256:{sha256}"
    return found, sha256


def _name_backgrounds(recipe: Recipe, identities: dict[str, str]) -> None:
    """Photos behind made scenes, by content."""
    folder = recipe.data.scenes.backgrounds
    if folder is not None and "data.scenes.backgrounds" not in identities:
        photos = list_photos(Path(folder), "data.scenes.backgrounds")
        identities["data.scenes.backgrounds"] = f"sha256:{fingerprint(Path(folder), photos)}"


def _has_folder(section: TrainingSection | None) -> bool:
    """Whether training images are there; made ones need no folder."""
    return section is not None and (section.folder is not None or section.kind in PLACELESS)


def _class_list(section: TrainingSection | EvaluationSection, key: str, identities: dict[str, str]) -> Path | None:
    if section.class_list is None:
        return None
    path = _existing(Path(section.class_list), f"{key}.class_list")
    identities[f"{key}.class_list"] = f"sha256:{sha256_file(path)}"
    return path


def _existing(path: Path, key: str) -> Path:
    if not path.is_file():
        raise BadInput("no such file", where=str(path), hint=f"--set {key}=FILE")
    return path


def evaluation_folder(section: EvaluationSection | None, training: TrainingSection | None) -> Path | None:
    """The section's own, or that of the training split where both are splits of one data set."""
    if section is None:
        return None
    if section.folder is not None:
        return Path(section.folder)
    if training is not None and training.folder is not None and training.kind == section.kind:
        return Path(training.folder)
    return None


def _check_classes(recipe: Recipe, dataset: Whole) -> None:
    classes = recipe.model.options.get("classes", recipe.model.options.get("num_classes"))
    if isinstance(classes, int):
        check_classes(dataset, classes, dataset.where)


def needs_training_data(recipe: Recipe) -> bool:
    """Whether something is trained, is judged while it is made, or calibrates without photos of its own."""
    training, calibration = recipe.data.training, recipe.data.calibration
    calibrates_on_it = (
        needs_calibration(recipe)
        and calibration is not None
        and calibration.folder is None
        and calibration.noise is None
        and _has_folder(training)
    )
    judges = any(step.max_drop is not None for step in recipe.quantizes) or any(step.looks for step in recipe.prunes)
    # A pruning tells what it cost before training, where there are images to tell it by.
    shown = bool(recipe.prunes) and _has_folder(training)
    return recipe.trains or judges or calibrates_on_it or shown


def needs_calibration(recipe: Recipe) -> bool:
    """Whether a step looks at calibration photos."""
    return any(step.scheme.startswith("static-") for step in recipe.quantizes)


def _shared(evaluation: Sequence[Path], calibration: Sequence[Path]) -> int:
    sizes = {path.stat().st_size for path in calibration}
    known = {sha256_file(path) for path in evaluation if path.stat().st_size in sizes}
    return sum(sha256_file(path) in known for path in calibration) if known else 0


def _weights(recipe: Recipe, where: Path) -> tuple[Path | None, str]:
    if recipe.trains_float:
        return None, AS_BUILT
    if recipe.weights is None:
        raise BadInput(
            f"{recipe.name} needs weights, and the recipe gives none",
            where=str(where),
            hint=f"--set weights=FILE (.pth or .safetensors), or --set weights={AS_BUILT} for untrained ones",
        )
    if recipe.weights in (AS_BUILT, UNTRAINED):
        return None, recipe.weights
    path = Path(recipe.weights)
    if not path.is_file():
        raise BadInput("no such weights file", where=str(path), hint="--set weights=FILE (.pth or .safetensors)")
    return path, sha256_file(path)
