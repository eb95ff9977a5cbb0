"""Adding a model file to the store: what ``zoo add`` and the Python API do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from pocketzoo.errors import BadInput
from zoo.artifact import Parent
from zoo.foreign import describe, published_accuracy
from zoo.reference import LATEST, check_tag
from zoo.store import Entry, Store


def add_file(
    file: Path,
    name: str | None = None,
    *,
    store: Store | None = None,
    tag: str = LATEST,
    parent: str | None = None,
    relation: str = "derived",
    licence: str | None = None,
    source: str | None = None,
    beside: Sequence[Path] = (),
    task: str | None = None,
    dataset: str | None = None,
    published: Sequence[str] = (),
    samples: int | None = None,
) -> Entry:
    """Inspect a model file and add it.

    Args:
        file: .tflite, .onnx, .safetensors, or a program of torch or TensorRT.
        name: the model's name; default: the file's name in lower case.
        store: default: the local zoo.
        tag: the tag that shall point to it.
        parent: reference of the entry it was made from.
        relation: what it is to its parent.
        beside: further files of the entry.
        task: e.g. ``image-classification``; a parent's is taken over.
        dataset: ``NAME`` or ``NAME/SPLIT``; a parent's is taken over.
        published: accuracies as a publication gives them, ``METRIC=PERCENT``; need ``dataset`` and ``samples``.
        samples: how many samples they were taken on.

    Returns:
        The entry as stored.

    Raises:
        BadInput: see :func:`zoo.foreign.describe`; no such parent; a published accuracy that does not say on what.
    """
    store = store or Store()
    check_tag(tag)
    made_from = None
    if parent:
        origin = store.get(parent).artifact
        made_from = Parent(digest=origin.digest, name=origin.name, relation=relation)
        task, dataset = task or origin.task, dataset or origin.dataset
    data_name, _, split = (dataset or "").partition("/")
    artifact = describe(
        file, name or file.stem.lower(), beside=beside, parent=made_from, licence=licence, source=source, task=task,
        dataset=data_name or None,
    )  # fmt: skip
    if published:
        if not data_name or samples is None:
            raise BadInput(
                "a published accuracy says on what: the data set and the number of samples",
                hint="--published top1=70.9 --dataset imagenet-1k/val --samples 50000",
            )
        accuracy = tuple(
            published_accuracy(text, data_name, split or "unknown", samples, artifact.digest) for text in published
        )
        artifact = msgspec.structs.replace(artifact, accuracy=accuracy)
    places = {artifact.files[0].name: file, **{path.name: path for path in beside}}
    return store.add(artifact, places, tags=(tag,))
