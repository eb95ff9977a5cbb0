"""What detection and segmentation share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from compressors.data.dataset import Dataset, whole_of
from compressors.data.dense import Scenes, Target
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    from compressors.data.dataset import Pixels
    from compressors.sections import Recipe


def scenes_of(images: Dataset) -> Iterator[tuple[Pixels, Target]]:
    """Each image with its truth.

    Raises:
        BadInput: images with a class for the whole of each.
    """
    whole, indices = whole_of(images)
    if not isinstance(whole, Scenes):
        raise BadInput("images without boxes or masks cannot judge a network that answers for places")
    for index in indices:
        yield whole.scene(int(index))


def classes_of(recipe: Recipe) -> int:
    """How many classes the recipe's network tells apart.

    Raises:
        BadInput: its options do not say.
    """
    found = recipe.model.options.get("classes")
    if not isinstance(found, int) or found < 1:
        raise BadInput(
            f"{recipe.name}: a network for {recipe.task} needs model.options.classes",
            hint="--set model.options.classes=N",
        )
    return found
