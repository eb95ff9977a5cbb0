"""The files a recipe works on, found and identified before anything slow begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compressors.data.photos import LabelledPhoto, fingerprint, labelled_photos, list_photos
from compressors.recipe import AS_BUILT, Loaded, Recipe
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_file


@dataclass(frozen=True)
class Inputs:
    """A recipe's files with the SHA-256 of their contents; empty where the recipe has none.

    ``shared_photos`` counts the calibration photos that are evaluation photos, too: they flatter the accuracy.
    """

    weights: Path | None = None
    weights_sha256: str = AS_BUILT
    evaluation: tuple[LabelledPhoto, ...] = ()
    evaluation_sha256: str = ""
    calibration: tuple[Path, ...] = ()
    calibration_sha256: str = ""
    identities: dict[str, str] = field(default_factory=dict)
    shared_photos: int = 0


def gather(loaded: Loaded) -> Inputs:
    """Find and hash a recipe's files.

    Raises:
        BadInput: weights or a folder that are not given or not there, with the ``--set`` that gives them.
    """
    recipe = loaded.recipe
    identities: dict[str, str] = {}
    weights, weights_sha256 = _weights(recipe, loaded.path)
    if weights is not None:
        identities["weights"] = f"sha256:{weights_sha256}"

    evaluation: tuple[LabelledPhoto, ...] = ()
    evaluation_sha256 = ""
    section = recipe.data.evaluation
    if section is not None and section.folder is not None:
        folder = Path(section.folder)
        evaluation = tuple(labelled_photos(folder, section.labels, section.pattern, "data.evaluation"))
        evaluation_sha256 = fingerprint(folder, [photo.path for photo in evaluation])
        identities["data.evaluation.folder"] = f"sha256:{evaluation_sha256}"

    calibration: tuple[Path, ...] = ()
    calibration_sha256 = ""
    if needs_calibration(recipe):
        if recipe.data.calibration is None or recipe.data.calibration.folder is None:
            raise BadInput(
                f"{recipe.name} needs photos to calibrate on: natural ones, not those it is judged on",
                where=str(loaded.path),
                hint="--set data.calibration.folder=FOLDER",
            )
        folder = Path(recipe.data.calibration.folder)
        calibration = tuple(list_photos(folder, "data.calibration.folder"))
        calibration_sha256 = fingerprint(folder, calibration)
        identities["data.calibration.folder"] = f"sha256:{calibration_sha256}"
    return Inputs(
        weights=weights,
        weights_sha256=weights_sha256,
        evaluation=evaluation,
        evaluation_sha256=evaluation_sha256,
        calibration=calibration,
        calibration_sha256=calibration_sha256,
        identities=identities,
        shared_photos=_shared([photo.path for photo in evaluation], calibration),
    )


def needs_calibration(recipe: Recipe) -> bool:
    """Whether a step looks at calibration photos."""
    return any(step.kind == "quantize" and step.scheme == "static-int8" for step in recipe.steps)


def _shared(evaluation: Sequence[Path], calibration: Sequence[Path]) -> int:
    sizes = {path.stat().st_size for path in calibration}
    known = {sha256_file(path) for path in evaluation if path.stat().st_size in sizes}
    return sum(sha256_file(path) in known for path in calibration) if known else 0


def _weights(recipe: Recipe, where: Path) -> tuple[Path | None, str]:
    if recipe.weights is None:
        raise BadInput(
            f"{recipe.name} needs weights, and the recipe gives none",
            where=str(where),
            hint=f"--set weights=FILE (.pth or .safetensors), or --set weights={AS_BUILT} for untrained ones",
        )
    if recipe.weights == AS_BUILT:
        return None, AS_BUILT
    path = Path(recipe.weights)
    if not path.is_file():
        raise BadInput("no such weights file", where=str(path), hint="--set weights=FILE (.pth or .safetensors)")
    return path, sha256_file(path)
