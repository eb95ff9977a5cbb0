"""From a recipe to artifacts: build, export, check, step by step, evaluate.

A recipe with a parent is run after its parent, on the same cache, so what both share is done once and the parent is
an artifact of its own.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from compressors import processes
from compressors.cache import Finished, StageCache
from compressors.depends import versions
from compressors.distilling import distil
from compressors.given import Given
from compressors.inputs import Inputs, gather
from compressors.learning import aware, quantize_aware, train
from compressors.progress import Progress
from compressors.pruning import check_file, prune
from compressors.recipe import Loaded, Recipe, digest_of, text_of
from compressors.sparsifying import check_zeros, sparsify, store_sparse
from compressors.stages import FILE, StageReport, Stages
from compressors.taking import take
from compressors.teacher import Teacher, gather_teachers
from pocketzoo import __version__
from pocketzoo.errors import BadInput
from pocketzoo.home import home
from zoo import tflite
from zoo.artifact import AGREEMENT, Accuracy, Artifact, FileRecord, Parent, RecipeRecord

if TYPE_CHECKING:
    from compressors.evaluate import Answers
    from compressors.tasks import Judged

RECORDED = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "numpy", "pillow", "safetensors")
RECORDED_TRAINING = ("accelerate",)
RECORDED_PRUNING = ("torch-pruning",)
RELATIONS = {"prune": "pruned", "sparsify": "sparsified", "distil": "distilled", "quantize": "quantized"}


@dataclass(frozen=True)
class Product:
    """A finished model: its record, its file, the stages that made it, and its float network as .onnx if asked for.

    ``curves`` are the files of its searches that reports draw; ``given`` is the entry of the zoo it was
    made from, where a recipe began with one.
    """

    artifact: Artifact
    file: Path
    stages: tuple[StageReport, ...]
    onnx: Path | None = None
    curves: tuple[Path, ...] = ()
    given: Artifact | None = None


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
    for link in chain:
        if link.recipe.task != "image-classification" and link.given is None:
            from compressors.tasks import task_of

            task_of(link.recipe)  # refuses an input or options that the task has no use for
    # All of it before the first slow stage.
    inputs = processes.first(lambda: [gather(link) for link in chain])
    teachers = processes.first(lambda: [gather_teachers(*link) for link in zip(chain, inputs, strict=True)])
    products: list[Product] = []
    answers: Answers | Judged | None = None
    judged_by = ""
    known: set[str] = set()
    for link, found, shown in zip(chain, inputs, teachers, strict=True):
        # Other images, or in another order: there is nothing to compare.
        if found.evaluation_sha256 != judged_by:
            answers, judged_by = None, found.evaluation_sha256
        stages = Stages(link.recipe, found, progress, cache, known, notes=[*link.notes, *found.remarks])
        product, answers = _make(
            link, found, stages, shown, products[-1] if products else None, answers, onnx=onnx and link is loaded
        )
        products.append(product)
    return products


def _make(
    loaded: Loaded,
    inputs: Inputs,
    stages: Stages,
    teachers: Mapping[int, Teacher],
    parent: Product | None,
    parents_answers: Answers | Judged | None,
    *,
    onnx: bool,
) -> tuple[Product, Answers | Judged | None]:
    recipe = loaded.recipe
    if loaded.given is not None:
        return _from_file(loaded, loaded.given, inputs, stages, parent, parents_answers, onnx=onnx)
    trained, pruned = network(stages, teachers)
    exported = made = stages.export(pruned)
    stages.compare(pruned, made)
    if recipe.prunes:
        check_file(stages, pruned, made, trained)
    final = pruned
    for step in recipe.quantizes:
        if step.qat is None:
            made = stages.quantize(pruned, made, step)
        else:
            final = learnt = aware(stages, pruned, step)
            exported = stages.export(learnt, "export what was learnt")
            stages.compare(learnt, exported)
            made = quantize_aware(stages, learnt, exported, step, made)
    if "sparse" in final.result:
        check_zeros(stages, final, exported, made)
        if any(step.storage == "sparse" for step in recipe.sparsifies):
            made = store_sparse(stages, made)
    file, sha256 = made.file(FILE), made.files[FILE]
    answers = evaluate(stages, file, sha256)
    beside: Path | None = None
    if onnx:
        from compressors import onnx as to_onnx

        beside = to_onnx.stage(stages, final).file(to_onnx.ONNX)
    artifact = _record(
        loaded,
        inputs,
        stages,
        made,
        source=parent.artifact if parent else None,
        accuracy=_accuracy(recipe, answers, parents_answers, sha256),
        parameters=pruned.result["parameters"],
        nonzeros=pruned.result["nonzeros"],
    )
    return Product(
        artifact=artifact, file=file, stages=tuple(stages.reports), onnx=beside, curves=tuple(stages.curves)
    ), answers


def network(stages: Stages, teachers: Mapping[int, Teacher]) -> tuple[Finished, Finished]:
    """The network of a recipe as it is trained, and as its steps leave it.

    Args:
        stages: of the recipe.
        teachers: by the number of the step that they teach in.
    """
    recipe = stages.recipe
    trained = stages.build()
    if recipe.trains_float:
        trained = train(stages, trained)
    made = whole = trained  # whole: what teaches while channels go
    for number, step in enumerate(recipe.steps):
        if step.kind == "prune":
            made = prune(stages, made, step, whole)
        elif step.kind == "sparsify":
            made = sparsify(stages, made, step, _taught(stages, teachers.get(number)))
        elif step.kind == "distil":
            teacher = _taught(stages, teachers.get(number))
            if teacher is None:
                raise ValueError("a distil step without its teacher")
            made = whole = distil(stages, made, step, *teacher)
    return trained, made


def _taught(stages: Stages, teacher: Teacher | None) -> tuple[Finished, Stages] | None:
    """A teacher's network, trained now where it is not in the cache, and the stages of its recipe."""
    if teacher is None:
        return None
    own = Stages(teacher.recipe, teacher.inputs, stages.progress, stages.cache, stages.known)
    _, made = network(own, teacher.teachers)
    stages.reports += own.reports
    return made, own


def _from_file(
    loaded: Loaded,
    given: Given,
    inputs: Inputs,
    stages: Stages,
    parent: Product | None,
    parents_answers: Answers | Judged | None,
    *,
    onnx: bool,
) -> tuple[Product, Answers | Judged | None]:
    """The steps of a recipe on a file out of the zoo; without a network nothing is built, trained or exported."""
    if onnx:
        raise BadInput(f"{given.reference} is a file; there is no network to export to .onnx", hint="leave --onnx out")
    before = made = take(stages, given)
    for step in loaded.recipe.quantizes:
        made = stages.quantize(None, made, step)
    if parent is None:
        parents_answers = evaluate(stages, before.file(FILE), before.files[FILE], "evaluate the file it is made from")
    answers = evaluate(stages, made.file(FILE), made.files[FILE])
    artifact = _record(
        loaded,
        inputs,
        stages,
        made,
        source=parent.artifact if parent else given.artifact,
        accuracy=_accuracy(loaded.recipe, answers, parents_answers, made.files[FILE]),
        parameters=given.artifact.parameters,
        nonzeros=given.artifact.nonzeros,
    )
    made_from = given.artifact if parent is None else None
    product = Product(
        artifact=artifact, file=made.file(FILE), stages=tuple(stages.reports), given=made_from,
        curves=tuple(stages.curves),
    )  # fmt: skip
    return product, answers


def _record(
    loaded: Loaded,
    inputs: Inputs,
    stages: Stages,
    made: Finished,
    *,
    source: Artifact | None,
    accuracy: tuple[Accuracy, ...],
    parameters: int | None,
    nonzeros: int | None,
) -> Artifact:
    from compressors.counting import file_macs

    recipe = loaded.recipe
    file, sha256 = made.file(FILE), made.files[FILE]
    facts = tflite.inspect(file)
    text = text_of(recipe, inputs.identities)
    name = recipe.name
    return Artifact(
        name=name,
        variant=_variant(name, source),
        format="tflite",
        files=(FileRecord(name=f"{name}.tflite", sha256=sha256, size=file.stat().st_size),),
        inputs=facts.inputs,
        outputs=facts.outputs,
        operators=facts.operator_counts,
        task=recipe.task,
        dataset=recipe.dataset,
        preprocessing=recipe.preprocessing.record(),
        accuracy=accuracy,
        macs=file_macs(facts),
        parameters=parameters,
        nonzeros=nonzeros,
        parent=_parent(loaded, source, inputs),
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


def evaluate(stages: Stages, file: Path, sha256: str, name: str = "evaluate the file") -> Answers | Judged | None:
    """What a file answers to the images that judge it; None where there are none."""
    if stages.recipe.task == "image-classification":
        return stages.evaluate(file, sha256, name)
    from compressors.tasks.stage import judge

    return judge(stages, file, sha256, name)


def _accuracy(
    recipe: Recipe, answers: Answers | Judged | None, parents: Answers | Judged | None, sha256: str
) -> tuple[Accuracy, ...]:
    section = recipe.data.evaluation
    if answers is None or section is None:
        return ()
    from compressors.evaluate import Answers, accuracies, agreement

    where = {"dataset": section.dataset, "split": section.split, "measured_on": sha256}
    if isinstance(answers, Answers):
        found = accuracies(answers, **where)
        return (*found, agreement(answers, parents, **where)) if isinstance(parents, Answers) else found
    found = answers.accuracies(**where)
    alike = answers.alike(parents) if type(parents) is type(answers) else None
    if alike is None:
        return found
    value, interval = alike
    told = msgspec.structs.replace(found[0], metric=AGREEMENT, value=round(value, 4), ci95=interval)
    return (*found, told)


def _parent(loaded: Loaded, source: Artifact | None, inputs: Inputs) -> Parent | None:
    if source is None:
        if inputs.origin is None:
            return None
        # A checkpoint of the zoo: the file is its export, or that of what was trained on from it.
        relation = "exported" if loaded.recipe.weights is not None else "trained"
        return Parent(digest=inputs.origin.artifact.digest, name=inputs.origin.artifact.name, relation=relation)
    own = loaded.recipe.steps[len(loaded.recipe.steps) - loaded.own_steps :]
    relation = "-".join(dict.fromkeys(RELATIONS[step.kind] for step in own)) or "same-steps"
    return Parent(digest=source.digest, name=source.name, relation=relation)


def _variant(name: str, source: Artifact | None) -> str | None:
    """What the name adds to its parent's: ``quant`` for mobilenetv2-quant; None for a name of its own."""
    if source is None or not name.startswith(source.name + "-"):
        return None
    own = name.removeprefix(source.name + "-")
    return f"{source.variant}-{own}" if source.variant else own
