"""The sections of a recipe: what may be written in each, and what is checked before anything slow begins."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import UNSET
from pydantic import Field, field_validator, model_validator

from compressors.chains import check
from compressors.distil_section import Distillation
from compressors.prune_section import Prune
from compressors.sparsify_section import Sparsify
from compressors.train_section import Train
from pocketzoo.errors import BadInput
from pocketzoo.yamlfile import Section
from zoo.artifact import Preprocessing
from zoo.reference import check_name

DataKind = Literal[
    "imagenet", "image-folder", "cifar10", "cifar100", "mnist", "fashion-mnist", "idx",
    "voc", "coco", "shapes", "cityscapes", "pascal", "fashion-items",
]  # fmt: skip
TaskName = Literal["image-classification", "object-detection", "image-segmentation"]
# What each kind of data is labelled with; whole images where none is named.
LABELS_OF: dict[str, TaskName] = {
    "voc": "object-detection", "coco": "object-detection", "shapes": "object-detection",
    "cityscapes": "image-segmentation", "pascal": "image-segmentation", "fashion-items": "image-segmentation",
}  # fmt: skip


class ModelSection(Section):
    """The network: a registered name or ``module:factory``, and the factory's options."""

    architecture: str
    options: dict[str, bool | int | float | str | list[int] | list[list[list[float]]]] = Field(default_factory=dict)


class PreprocessingSection(Section):
    """How a photo becomes the input; see :class:`zoo.artifact.Preprocessing`. One mean and std: grey images.

    ``fit: stretch`` resizes width and height to ``crop`` each, and needs ``resize: null``.
    """

    resize: Annotated[int, Field(ge=1)] | None
    crop: Annotated[int, Field(ge=1, le=8192)]
    mean: Annotated[list[float], Field(min_length=1, max_length=3)]
    std: Annotated[list[float], Field(min_length=1, max_length=3)]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    fit: Literal["crop", "stretch"] = "crop"

    @property
    def channels(self) -> int:
        """Of the model's input: 1 (grey) or 3 (RGB)."""
        return len(self.mean)

    def record(self) -> Preprocessing:
        """As the artifact stores it."""
        return Preprocessing(
            resize=self.resize,
            crop=self.crop,
            mean=tuple(self.mean),
            std=tuple(self.std),
            interpolation=self.interpolation,
            fit="stretch" if self.fit == "stretch" else UNSET,
        )

    @field_validator("mean", "std")
    @classmethod
    def _grey_or_rgb(cls, value: list[float]) -> list[float]:
        if len(value) not in (1, 3):
            raise ValueError(f"one value (grey) or three (red, green, blue), found {len(value)}")
        return value

    @field_validator("mean")
    @classmethod
    def _of_shares(cls, value: list[float]) -> list[float]:
        if any(abs(number) > 1 for number in value):
            raise ValueError(f"photos are 0..1 before mean is taken off; divide mean and std by 255, found {value}")
        return value

    @field_validator("std")
    @classmethod
    def _no_zero(cls, value: list[float]) -> list[float]:
        if any(number <= 0 for number in value):
            raise ValueError(f"values are divided by std, so each must be above 0, found {value}")
        return value

    @model_validator(mode="after")
    def _same_channels(self) -> PreprocessingSection:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels and std {len(self.std)}")
        if self.fit == "stretch" and self.resize is not None:
            raise ValueError("fit: stretch brings a photo to crop x crop by itself: write resize: null")
        return self


class EvaluationSection(Section):
    """What judges the finished file. ``dataset`` and ``split`` say what it is wherever the accuracy is told.

    Without ``kind``: labelled photos in ``folder``. With one: the test split of that data set; ``limit`` takes that
    many images of it, every class alike. ``class_list`` and ``classes``: see :class:`TrainingSection`. Of data with
    boxes or masks ``split`` is also the name of the list or folder that is read.
    """

    folder: str | None = None
    kind: DataKind | None = None
    class_list: str | None = None
    classes: list[str] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    labels: Literal["names", "folders"] = "names"
    pattern: str = r"_(?P<label>\d+)\.\w+$"
    dataset: str
    split: str

    @field_validator("pattern")
    @classmethod
    def _has_label(cls, value: str) -> str:
        try:
            groups = re.compile(value).groupindex
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if "label" not in groups:
            raise ValueError(r"the pattern needs a group called label, such as '_(?P<label>\d+)\.'")
        return value


class CalibrationSection(Section):
    """Images that show the model the range of its activations.

    With ``folder``: plain photos, ``crops`` random crops of each, 0 = its centre. Without: ``samples`` images of the
    training split, as evaluation prepares them. ``noise``: that many images of nothing, for a file whose size and time
    are wanted and whose answers are not.
    """

    folder: str | None = None
    noise: Annotated[int, Field(ge=1, le=4096)] | None = None
    crops: Annotated[int, Field(ge=0, le=1024)] = 16
    scale: Annotated[list[float], Field(min_length=2, max_length=2, default_factory=lambda: [0.08, 1.0])]
    samples: Annotated[int, Field(ge=1)] = 512

    @field_validator("scale")
    @classmethod
    def _in_order(cls, value: list[float]) -> list[float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError(f"two shares of the photo's area with 0 < first <= second <= 1, found {value}")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> CalibrationSection:
        if self.folder is not None and self.noise is not None:
            raise ValueError("photos of a folder or images of noise, not both: leave folder or noise out")
        return self


Augment = Literal["none", "crop-flip", "random-resized-crop", "crop-turn", "scale-crop-flip", "distort-expand-crop"]
# Of those that not every task has.
AUGMENTS_OF: dict[str, tuple[str, ...]] = {
    "random-resized-crop": ("image-classification",),
    "crop-turn": ("object-detection", "image-segmentation"),
    "scale-crop-flip": ("image-segmentation",),
    "distort-expand-crop": ("object-detection",),
}


class TrainingSection(Section):
    """What a model learns from: the training split of a data set.

    ``held_out`` is the share of it that is never trained on: it chooses the epoch, stops early and opens accuracy
    gates, so that the evaluation data decides nothing. ``class_list``: for folders of photos, a file whose lines begin
    with the folders' names in the order of the classes; without it they are sorted. ``augment`` is
    :class:`compressors.data.batches.Augmentation`: ``crop-flip`` shifts by up to ``padding`` pixels and mirrors,
    ``random-resized-crop`` is ImageNet's; ``crop-turn``, ``scale-crop-flip`` and ``distort-expand-crop`` are for masks
    and boxes. ``distort`` varies brightness, contrast, saturation and hue of images with masks or boxes.
    ``classes`` names those of ``voc`` and ``pascal`` data that are not Pascal's own; ``split`` is the list or folder
    of data with boxes or masks that is learnt from.
    """

    kind: DataKind
    folder: str | None = None
    class_list: str | None = None
    classes: list[str] | None = None
    split: str | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    augment: Augment = "none"
    padding: Annotated[int, Field(ge=0, le=64)] = 4
    flip: bool = True
    distort: bool = False


class ScenesSection(Section):
    """Scenes that are made: ``shapes`` and ``fashion-items``, ``size`` pixels wide and high.

    Up to ``most`` things are on each. ``backgrounds`` is a folder of photos; without one they are smooth colours.
    """

    size: Annotated[int, Field(ge=64, le=2048)] = 128
    training: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    evaluation: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    most: Annotated[int, Field(ge=1, le=16)] = 3
    backgrounds: str | None = None


class DataSection(Section):
    """The data a recipe needs."""

    training: TrainingSection | None = None
    evaluation: EvaluationSection | None = None
    calibration: CalibrationSection | None = None
    scenes: ScenesSection = ScenesSection()


class Aware(Section):
    """Quantization-aware training: what is simulated while training, and for how long.

    PaddleSlim's schemes: ``weights`` abs_max (per tensor) or channel_wise_abs_max; ``activations`` abs_max (of each
    batch, also at inference) or moving_average_abs_max (learnt). PocketFlow's: min_max for both, with ``bits``.
    """

    weights: Literal["abs_max", "channel_wise_abs_max", "min_max"] = "channel_wise_abs_max"
    activations: Literal["abs_max", "moving_average_abs_max", "min_max"] = "moving_average_abs_max"
    bits: Annotated[int, Field(ge=2, le=8)] = 8
    train: Train

    @model_validator(mode="after")
    def _consistent(self) -> Aware:
        if (self.weights == "min_max") != (self.activations == "min_max"):
            raise ValueError("min_max is for weights and activations together (PocketFlow's scheme)")
        if self.bits != 8 and self.weights != "min_max":
            raise ValueError(f"the abs_max schemes have 8 bits; {self.bits} need weights and activations min_max")
        return self

    @property
    def scheme(self) -> Literal["static-int8", "dynamic-int8"]:
        """The kind of file this training prepares for."""
        return "dynamic-int8" if self.activations == "abs_max" else "static-int8"


Scheme = Literal["static-int8", "static-int8x16", "dynamic-int8", "weight-only-int8"]


class Quantize(Section):
    """Quantization of the exported file, after it was trained (or, with ``qat``, while it is).

    ``static-int8``: int8 weights and int8 activations, inputs and outputs too, ranges from calibration.
    ``static-int8x16``: int8 weights, int16 activations. ``dynamic-int8``: int8 weights, activations quantized while
    running. ``weight-only-int8``: int8 weights, float arithmetic. ``weights``: a scale for each output channel, or one
    for the tensor. ``ranges``: where activations (and for mse and octav weights, too) are clipped. ``max_ratio`` is
    the largest share of the float file's size that counts as done. ``max_drop``: percent points of top-1 the file may
    lose on the held-out split; the most sensitive layers stay in float until it holds. ``keep_float`` names such
    layers.
    """

    kind: Literal["quantize"]
    scheme: Scheme = "static-int8"
    weights: Literal["channel", "tensor"] = "channel"
    ranges: Literal["min-max", "moving-average", "mse", "octav"] = "min-max"
    max_ratio: Annotated[float, Field(gt=0, le=1)] = 0.35
    max_drop: Annotated[float, Field(ge=0, le=100)] | None = None
    keep_float: list[str] = Field(default_factory=list)
    qat: Aware | None = None

    @property
    def trains(self) -> bool:
        """Whether it trains the network."""
        return self.qat is not None

    @model_validator(mode="after")
    def _consistent(self) -> Quantize:
        if self.keep_float and self.max_drop is not None:
            raise ValueError("max_drop chooses the layers that stay in float; leave keep_float out, or max_drop")
        if self.qat is None:
            return self
        if self.keep_float:
            raise ValueError("with qat every layer is trained for int8; max_drop may keep some of them in float")
        if self.scheme != self.qat.scheme:
            raise ValueError(
                f"qat.activations {self.qat.activations} trains for scheme {self.qat.scheme}, not {self.scheme}"
            )
        wanted = "channel" if self.qat.weights == "channel_wise_abs_max" else "tensor"
        if self.weights != wanted:
            raise ValueError(f"qat.weights {self.qat.weights} has one scale per {wanted}: write weights: {wanted}")
        if self.ranges != "min-max":
            raise ValueError("with qat the ranges are learnt; leave ranges out")
        return self


Step = Annotated[Quantize | Prune | Sparsify | Distillation, Field(discriminator="kind")]


class StartSection(Section):
    """What a training begins with: a checkpoint of the same network.

    ``drop_classifier``: it may have another number of classes; its last layer is left out then.
    """

    checkpoint: str
    drop_classifier: bool = False


class Recipe(Section):
    """A whole recipe, after its parent's values were merged in."""

    name: str
    title: str
    parent: str | None = None
    task: TaskName = "image-classification"
    dataset: str | None = None
    licence: str | None = None
    source: str | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    model: ModelSection
    weights: str | None = None
    start: StartSection | None = None
    preprocessing: PreprocessingSection
    data: DataSection = DataSection()
    train: Train | None = None
    steps: list[Step] = Field(default_factory=list)

    @property
    def trains(self) -> bool:
        """Whether anything in it is trained, and so needs the training split."""
        return self.trains_float or any(step.trains for step in self.steps)

    @property
    def prunes(self) -> list[Prune]:
        """The steps that take channels out of the network."""
        return [step for step in self.steps if step.kind == "prune"]

    @property
    def sparsifies(self) -> list[Sparsify]:
        """The steps that set single weights to zero."""
        return [step for step in self.steps if step.kind == "sparsify"]

    @property
    def quantizes(self) -> list[Quantize]:
        """The steps that change the file."""
        return [step for step in self.steps if step.kind == "quantize"]

    @property
    def trains_float(self) -> bool:
        """Whether the network itself is trained; given weights are taken as they are."""
        return self.train is not None and self.weights is None

    @field_validator("name")
    @classmethod
    def _follows_grammar(cls, value: str) -> str:
        try:
            return check_name(value)
        except BadInput as error:
            raise ValueError(f"{error.what}; {error.hint}") from error

    @model_validator(mode="after")
    def _complete(self) -> Recipe:
        if self.trains and self.data.training is None:
            raise ValueError("a recipe that trains needs data.training (kind, folder)")
        if self.start is not None and self.train is None:
            raise ValueError("start says what a training begins with, and this recipe has no train section")
        if any(step.max_drop is not None for step in self.quantizes) and self.data.training is None:
            raise ValueError("max_drop is judged on the held-out part of data.training, which this recipe lacks")
        if any(step.looks for step in self.prunes) and self.data.training is None:
            raise ValueError("this pruning looks at images of data.training, which this recipe lacks")
        check(self.steps)
        return self

    @model_validator(mode="after")
    def _fits_task(self) -> Recipe:
        for key, section in (("training", self.data.training), ("evaluation", self.data.evaluation)):
            kind = section.kind if section is not None else None
            # Weights given, a dense network needs no data at all; photos by name are a classifier's.
            if section is not None and LABELS_OF.get(kind or "", "image-classification") != self.task:
                known = [name for name, task in LABELS_OF.items() if task == self.task]
                hint = f", not one of {', '.join(known)}" if known else ""
                raise ValueError(f"data.{key}: kind {kind} is not for task {self.task}{hint}")
        augment = self.data.training.augment if self.data.training is not None else "none"
        if self.task not in AUGMENTS_OF.get(augment, (self.task,)):
            raise ValueError(f"data.training: augment {augment} is not for task {self.task}")
        if self.task == "image-classification" and self.data.training is not None and self.data.training.distort:
            raise ValueError("data.training: distort is for images with boxes or masks")
        if self.task != "image-classification":
            self._dense_steps()
        return self

    def _dense_steps(self) -> None:
        for step in self.steps:
            taught = step.kind == "distil" or (step.kind != "quantize" and step.distil is not None)
            guided = step.kind == "prune" and step.criterion == "taylor"
            searched = step.kind == "sparsify" and step.ratios == "rl"
            if taught or guided or searched:
                what = "distil" if taught else "criterion taylor" if guided else "sparsify with ratios rl"
                raise ValueError(f"{what} is for image-classification: its loss is a classifier's")
        if self.task != "object-detection":
            return
        if any(how.label_smoothing for how in self._trainings()):
            raise ValueError("label_smoothing is for cross entropy over classes, and YOLOv3's loss has none")
        if self.model.options.get("decode") == "inside" and any(s.scheme == "static-int8" for s in self.quantizes):
            raise ValueError(
                "static-int8 has one scale for the whole output: boxes in pixels beside scores from 0 to 1 leave the "
                "scores one value; write model.options.decode: outside, or scheme dynamic-int8 or weight-only-int8"
            )

    def _trainings(self) -> list[Train]:
        fine = [step.finetune for step in self.prunes]
        aware = [step.qat.train for step in self.quantizes if step.qat is not None]
        found = [self.train, *fine, *(step.train for step in self.sparsifies), *aware]
        return [how for how in found if how is not None]
