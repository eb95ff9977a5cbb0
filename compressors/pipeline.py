"""From a recipe to artifacts: build, export, check, step by step, evaluate.

A recipe with a parent is run after its parent, on the same cache, so what both share is done once and the parent is
an artifact of its own.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.cache import StageCache
from compressors.inputs import Inputs, gather
from compressors.learning import aware, quantize_aware, train
from compressors.progress import Progress
from compressors.pruning import check_file, prune
from compressors.recipe import Loaded, Recipe, digest_of, text_of
from compressors.stages import FILE, StageReport, Stages, versions
from pocketzoo import __version__
from pocketzoo.home import home
from zoo import tflite
from zoo.artifact import Accuracy, Artifact, FileRecord, Parent, RecipeRecord

if TYPE_CHECKING:
    from compressors.evaluate import Answers

RECORDED = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "numpy", "pillow", "safetensors")
RECORDED_TRAINING = ("accelerate",)
RECORDED_PRUNING = ("torch-pruning",)
RELATIONS = {"prune": "pruned", "quantize": "quantized"}


@dataclass(frozen=True)
class Product:
    """A finished model: its record, its file, the stages that made it, and its float network as .onnx if asked for."""

    artifact: Artifact
    file: Path
    stages: tuple[StageReport, ...]
    onnx: Path | None = None


def compress(
    loaded: Loaded, progress: Progress, cache: StageCache | None = None, *, onnx: bool = False
) -> list[Product]:
    """Run a recipe and those it descends from.

    Args:
        loaded: from :func:`compressors.recipe.load`.
        progress: told about every stage.
        cache: where finished stages are kept; by default in the state folder.

        onnx: also export the network of the recipe asked for to .onnx, in float; after quantization-aware training
            the trained-on network.

    Returns:
        One product for each recipe of the chain, the root first, the recipe asked for last.

    Raises:
        BadInput: files that are missing or are not what the recipe says.
        WorkFailed: a stage failed, or did not do what it was asked to.
    """
    cache = cache or StageCache(home() / "cache" / "compress")
    chain = loaded.chain
    inputs = [gather(link) for link in chain]  # all of it before the first slow stage
    products: list[Product] = []
    answers: Answers | None = None
    known: set[str] = set()
    for link, found in zip(chain, inputs, strict=True):
        stages = Stages(link.recipe, found, progress, cache, known)
        product, answers = _make(
            link, found, stages, products[-1] if products else None, answers, onnx=onnx and link is loaded
        )
        products.append(product)
    return products


def _make(
    loaded: Loaded,
    inputs: Inputs,
    stages: Stages,
    parent: Product | None,
    parents_answers: Answers | None,
    *,
    onnx: bool,
) -> tuple[Product, Answers | None]:
    from compressors.counting import file_macs

    recipe = loaded.recipe
    trained = built = stages.build()
    if recipe.trains_float:
        trained = train(stages, built)
    pruned = trained
    for pruning in recipe.prunes:
        pruned = prune(stages, pruned, pruning, trained)
    made = stages.export(pruned)
    stages.compare(pruned, made)
    if recipe.prunes:
        check_file(stages, pruned, made, trained)
    network = pruned
    for step in recipe.quantizes:
        if step.qat is None:
            made = stages.quantize(pruned, made, step)
        else:
            network = learnt = aware(stages, pruned, step)
            exported = stages.export(learnt, "export what was learnt")
            stages.compare(learnt, exported)
            made = quantize_aware(stages, learnt, exported, step, made)
    file, sha256 = made.file(FILE), made.files[FILE]
    answers = stages.evaluate(file, sha256)
    beside: Path | None = None
    if onnx:
        from compressors import onnx as to_onnx

        beside = to_onnx.stage(stages, network).file(to_onnx.ONNX)
    facts = tflite.inspect(file)
    text = text_of(recipe, inputs.identities)
    name = recipe.name
    artifact = Artifact(
        name=name,
        variant=_variant(name, parent),
        format="tflite",
        files=(FileRecord(name=f"{name}.tflite", sha256=sha256, size=file.stat().st_size),),
        inputs=facts.inputs,
        outputs=facts.outputs,
        operators=facts.operator_counts,
        task=recipe.task,
        dataset=recipe.dataset,
        preprocessing=recipe.preprocessing.record(),
        accuracy=_accuracy(recipe, answers, parents_answers, sha256),
        macs=file_macs(facts),
        parameters=pruned.result["parameters"],
        nonzeros=pruned.result["nonzeros"],
        parent=_parent(loaded, parent),
        recipe=RecipeRecord(name=name, digest=digest_of(text), text=text),
        versions={
            "pocketzoo": __version__,
            "python": platform.python_version(),
            **versions(
                RECORDED + (RECORDED_TRAINING if recipe.trains else ()) + (RECORDED_PRUNING if recipe.prunes else ())
            ),
        },
        seed=recipe.seed,
        licence=recipe.licence,
        source=recipe.source,
        notes=tuple(stages.notes),
        created=made.made,
    )
    return Product(artifact=artifact, file=file, stages=tuple(stages.reports), onnx=beside), answers


def _accuracy(recipe: Recipe, answers: Answers | None, parents: Answers | None, sha256: str) -> tuple[Accuracy, ...]:
    section = recipe.data.evaluation
    if answers is None or section is None:
        return ()
    from compressors.evaluate import accuracies, agreement

    where = {"dataset": section.dataset, "split": section.split, "measured_on": sha256}
    found = accuracies(answers, **where)
    # The same photos in the same order, else there is nothing to compare.
    if parents is not None and parents.labels == answers.labels:
        found = (*found, agreement(answers, parents, **where))
    return found


def _parent(loaded: Loaded, parent: Product | None) -> Parent | None:
    if parent is None:
        return None
    own = loaded.recipe.steps[len(loaded.recipe.steps) - loaded.own_steps :]
    relation = "-".join(dict.fromkeys(RELATIONS[step.kind] for step in own)) or "same-steps"
    return Parent(digest=parent.artifact.digest, name=parent.artifact.name, relation=relation)


def _variant(name: str, parent: Product | None) -> str | None:
    """What the name adds to its parent's: ``quant`` for mobilenetv2-quant; None for a name of its own."""
    if parent is None or not name.startswith(parent.artifact.name + "-"):
        return None
    own = name.removeprefix(parent.artifact.name + "-")
    return f"{parent.artifact.variant}-{own}" if parent.artifact.variant else own
