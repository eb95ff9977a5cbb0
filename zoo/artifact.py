"""An artifact: one deployable model, what is known of it, and where it came from.

Schema history
    1  first, formats tflite, onnx and safetensors; since then also torchscript, pt2, tensorrt and program, and bounds
       on lengths and numbers that no model reaches
    2  grey inputs: one number of ``mean`` and ``std`` for each channel of the preprocessing
       since then also ``fit``: photos stretched to the input, as detectors take them. Where they are cropped it is not
       written, so that older readers read what they always read
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pocketzoo.decodable import decodable

SCHEMA = 2

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(?:(?:[._]|-+)[a-z0-9]+)*\Z", max_length=128)]
# A file's name inside an artifact: one plain component. No separators, no leading dot: it cannot leave its folder.
FILE_NAME = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
FileName = Annotated[str, Meta(pattern=rf"^{FILE_NAME}\Z", max_length=200)]
# Untrusted numbers and texts are bounded, so that no sum, database column or terminal meets one that no model has.
Size = Annotated[int, Meta(ge=0, le=1 << 50)]
Signed = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)]
Count = Annotated[int, Meta(ge=0, le=1 << 62)]
Line = Annotated[str, Meta(max_length=4_000)]
Text = Annotated[str, Meta(max_length=1 << 20)]
# torchscript: torch.jit.save; pt2: torch.export.save; tensorrt: an engine, which runs on the GPU model it was built on;
# program: no model but a runner, which a farm brings to its hosts.
Format = Literal["tflite", "onnx", "safetensors", "torchscript", "pt2", "tensorrt", "program"]


class FileRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of an artifact: its name, SHA-256 and size in bytes."""

    name: FileName
    sha256: Sha256
    size: Size


class Quantization(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Affine quantization of a tensor: ``real = scale * (stored - zero_point)``; several scales: per channel."""

    scales: Annotated[tuple[float, ...], Meta(max_length=200_000)]
    zero_points: Annotated[tuple[Signed, ...], Meta(max_length=200_000)]
    axis: Signed | None = None


class TensorSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input or output: name, shape (-1 where it is dynamic), dtype in numpy's spelling, quantization if any."""

    name: Line
    shape: Annotated[tuple[Signed, ...], Meta(max_length=1_000)]
    dtype: Line
    quantization: Quantization | None = None


# The metric that says how often a file answers as its parent does; another parent is another question, so it ranks
# nothing and no gate holds it.
AGREEMENT = "agreement-with-parent"


class Accuracy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric measured on a file: ``value`` in percent, on ``samples`` samples of ``dataset``/``split``.

    ``measured_on`` is the SHA-256 of the file that computed the answers. ``provenance`` tells what was measured
    here from what a publication says.
    """

    metric: Line
    value: float
    dataset: Line
    split: Line
    samples: Annotated[int, Meta(ge=1, le=1 << 50)]
    measured_on: Sha256
    provenance: Literal["measured", "published"] = "measured"
    ci95: tuple[float, float] | None = None


class Parent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an artifact was made from: the parent's digest and name, and the relation (quantized, pruned, ...)."""

    digest: Sha256
    name: Name
    relation: Line


class RecipeRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The recipe that made an artifact: its name, its full text after ``--set``, and the digest of that text."""

    name: Line
    digest: Sha256
    text: Text


class Preprocessing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a photo becomes the model's input.

    Resize the shorter side to ``resize`` pixels (None: no resize), crop the centre ``crop`` x ``crop`` (what lies
    outside the photo is black), scale to 0..1, subtract ``mean`` and divide by ``std`` per RGB channel; one number of
    each where the input is grey. ``fit`` stretch: instead of both, width and height are each resized to ``crop``.
    ``layout`` is the order of the input's axes.
    """

    resize: Count | None
    crop: Count
    mean: Annotated[tuple[float, ...], Meta(min_length=1, max_length=3)]
    std: Annotated[tuple[float, ...], Meta(min_length=1, max_length=3)]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    fit: Literal["crop", "stretch"] | UnsetType = UNSET
    layout: Literal["NHWC", "NCHW"] = "NHWC"

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise ValueError(f"mean and std have 1 or 3 numbers each, found {len(self.mean)} and {len(self.std)}")
        if self.fit == "stretch" and self.resize is not None:
            raise ValueError("a photo that is stretched to the input is not resized before")

    @property
    def channels(self) -> int:
        """Of the input: 1 grey, 3 RGB."""
        return len(self.mean)


class Artifact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model as the zoo holds it.

    The digest of an artifact is the SHA-256 of its first file, the one that runs: the number that ties a file, its
    accuracy and its latencies together, and what ``sha256sum`` prints for a pulled file.
    """

    schema: int = SCHEMA
    name: Name
    variant: Line | None = None
    format: Format
    files: Annotated[tuple[FileRecord, ...], Meta(min_length=1, max_length=1_000)]
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    operators: dict[Line, Count] = {}
    task: Line | None = None
    dataset: Line | None = None
    preprocessing: Preprocessing | None = None
    accuracy: tuple[Accuracy, ...] = ()
    macs: Count | None = None
    parameters: Count | None = None
    nonzeros: Count | None = None
    parent: Parent | None = None
    recipe: RecipeRecord | None = None
    versions: dict[Line, Line] = {}
    seed: Signed | None = None
    licence: Line | None = None
    source: Line | None = None
    notes: Annotated[tuple[Text, ...], Meta(max_length=1_000)] = ()
    created: Line | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the file that runs."""
        return self.files[0].sha256

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def metric(self, name: str) -> Accuracy | None:
        """The accuracy by this metric, measured before published; None where there is none."""
        found = [entry for entry in self.accuracy if entry.metric == name]
        return min(found, key=lambda entry: entry.provenance != "measured", default=None)


decodable(FileRecord, Quantization, TensorSpec, Accuracy, Parent, RecipeRecord, Preprocessing, Artifact)


def encode(record: Struct) -> bytes:
    """The canonical JSON of a record: keys sorted, indented, ending in a newline, so equal records are equal bytes.

    A record made in memory may hold 2 where a field is a float, and one that was read holds 2.0; both are written as
    what is read back.
    """
    as_read = msgspec.json.decode(msgspec.json.encode(record), type=type(record))
    return msgspec.json.format(msgspec.json.encode(as_read, order="deterministic"), indent=2) + b"\n"
