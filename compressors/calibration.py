"""The images that ranges are taken from: photos of a folder, a part of the training split, or noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compressors.inputs import Inputs
from compressors.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Calibration:
    """Of one recipe with its inputs."""

    recipe: Recipe
    inputs: Inputs

    def identity(self) -> dict[str, Any]:
        """All that decides the calibration images."""
        section = self.recipe.data.calibration
        return {
            "images": self.inputs.calibration_sha256,
            "section": section.model_dump(exclude={"folder"}) if section else None,
            "preprocessing": self.recipe.preprocessing.model_dump(),
            "seed": self.recipe.seed,
        }

    def count(self) -> int:
        """How many calibration images there are."""
        if self.inputs.calibrating is not None:
            return len(self.inputs.calibrating.labels)
        section = self.recipe.data.calibration
        if section is not None and section.noise is not None:
            return section.noise
        return len(self.inputs.calibration) * max(1, section.crops if section else 0)

    def told(self) -> str:
        """For notes: what was calibrated on."""
        if self.inputs.calibrating is not None:
            return f"{self.count()} images of the training split, seed {self.recipe.seed}"
        section = self.recipe.data.calibration
        if section is not None and section.noise is not None:
            return f"{section.noise} images of noise, seed {self.recipe.seed}, which are not what photos would give"
        crops = section.crops if section else 0
        how = f"{crops} random crops each" if crops else "the centre of each"
        return f"{len(self.inputs.calibration)} photos, {how}, seed {self.recipe.seed}"

    def images(self) -> Iterator[NDArray[np.float32]]:
        """The calibration images as model inputs, one at a time."""
        from compressors.data.noise import noise_images
        from compressors.data.preprocessing import calibration_samples, centre

        how, section = self.recipe.preprocessing.record(), self.recipe.data.calibration
        if self.inputs.calibrating is not None:
            shown = self.inputs.calibrating
            return (centre(shown.get(index), how) for index in range(len(shown.labels)))
        if section is None:
            return iter(())
        if section.noise is not None:
            return noise_images(how, section.noise, self.recipe.seed)
        return calibration_samples(
            self.inputs.calibration,
            how,
            crops=section.crops,
            scale=(section.scale[0], section.scale[1]),
            seed=self.recipe.seed,
        )
