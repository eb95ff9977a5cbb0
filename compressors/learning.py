"""The stages that train: the network itself, and the network with fake quantization in it.

A training keeps its checkpoint under the state folder, by all that decides its result, until its stage is finished: a
run that was killed goes on where it was.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors import processes
from compressors.cache import Finished, Result, code_digest
from compressors.depends import ARCHITECTURE_CODE, DATA_CODE, HERE, QUANTIZE_CODE, QUANTIZER, TORCH, versions
from compressors.sections import Aware, Quantize
from compressors.stages import FILE, WEIGHTS, Stages
from compressors.train_section import Train
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_json

if TYPE_CHECKING:
    import torch

    from compressors.train.task import Masking, Objective, Outcome, Regulariser, Task

TRAIN_CODE = (HERE / "train", HERE / "tasks", HERE / "dense", HERE / "steps" / "sparsify" / "masking.py")
TRAINERS = (*TORCH, "accelerate")
LOG = "log.jsonl"


def train(stages: Stages, built: Finished) -> Finished:
    """The network trained as the recipe's ``train`` section says: its weights and the log of the training."""
    how = stages.recipe.train
    if how is None:
        raise ValueError("the recipe does not train")
    depends = {**training_depends(stages, built, how), "code": code_digest(*ARCHITECTURE_CODE, *DATA_CODE, *TRAIN_CODE)}

    def work(folder: Path) -> Result:
        import copy

        from compressors.counting import nonzeros

        model = copy.deepcopy(stages.model(built))
        outcome = run_training(stages, model, how, "train", depends, folder)
        return {**built.result, **outcome, "nonzeros": nonzeros(model)}

    done = stages.stage("train", depends, work, training_note, together=True)
    stages.notes.append(f"train: {training_note(done.result)}, {budget_told(how)}, seed {stages.recipe.seed}")
    return done


def aware(stages: Stages, trained: Finished, step: Quantize) -> Finished:
    """The network trained on with fake quantization: the float weights to export, and the learnt ranges."""
    how = step.qat
    if how is None:
        raise ValueError("the step does not train")
    depends = {
        **training_depends(stages, trained, how.train),
        "qat": how.model_dump(exclude={"train": {"checkpoint_steps"}}),
        "code": code_digest(*ARCHITECTURE_CODE, *DATA_CODE, *TRAIN_CODE, *QUANTIZE_CODE),
    }

    def work(folder: Path) -> Result:
        import copy

        import torch

        from compressors.steps.quantize.aware import dead_channels, deploy, prepare, ranges

        model = copy.deepcopy(stages.model(trained))
        names = prepare(model, torch.zeros(stages.shape), how)
        outcome = run_training(
            stages, model, how.train, "train with fake quantization", depends, folder, masking=held(trained)
        )
        learnt, dead = ranges(model, names), dead_channels(model)
        deploy(model, names)
        from compressors.checkpoint import write_state

        write_state(model, folder / WEIGHTS)
        return {**trained.result, **outcome, "folded": True, "layers": names, "ranges": learnt, "dead": dead}

    done = stages.stage("train with fake quantization", depends, work, training_note, together=True)
    stages.notes.append(
        f"quantization-aware training: weights {how.weights}, activations {how.activations}, {how.bits} bits; "
        f"{training_note(done.result)}, {budget_told(how.train)}"
    )
    if done.result["dead"]:
        stages.notes.append(
            f"{done.result['dead']} channels with a variance below batch norm's epsilon are constants; "
            "their weights were set to 0, so that they do not take the range of the others"
        )
    stages.notes += _differences(how)
    return done


def quantize_aware(stages: Stages, learnt: Finished, exported: Finished, step: Quantize, exact: Finished) -> Finished:
    """The file whose scales are the learnt ranges.

    Args:
        stages: of the recipe.
        learnt: from :func:`aware`.
        exported: its float file.
        step: the step.
        exact: the float file of the network before, which a gate compares with.
    """
    depends: dict[str, Any] = {
        "file": exported.files[FILE],
        "learnt": learnt.key,
        "step": step.model_dump(exclude={"qat": {"train"}}),
        "calibration": stages.calibration.identity(),
        "code": code_digest(*QUANTIZE_CODE, *DATA_CODE),
        "versions": versions(QUANTIZER),
        "gate": exact.files[FILE] if step.max_drop is not None else None,
    }
    static = step.scheme.startswith("static")

    def work(folder: Path) -> Result:
        from compressors.steps.quantize.gate import told as told_of_gate
        from compressors.steps.quantize.layers import held_out_metric, probes
        from compressors.steps.quantize.learnt import Gate, quantize_learnt

        model, names = stages.model(learnt), learnt.result["layers"]
        target = folder / FILE
        gate = None
        if step.max_drop is not None:
            gate = Gate(
                exact_file=exact.file(FILE),
                judge=lambda file: held_out_metric(stages, file),
                probes=probes(stages),
                say=stages.progress.say,
                metric=stages.task.metric,
            )
        told = quantize_learnt(
            exported.file(FILE),
            target,
            step,
            {name: (low, high) for name, (low, high) in learnt.result["ranges"].items()},
            {name: model.get_submodule(name).get_parameter("weight").detach().numpy() for name in names},
            stages.calibration.images(),
            stages.progress.advance,
            gate,
        )
        return {
            "gate": told_of_gate(told.gate, len(names)) if told.gate is not None else None,
            "bytes": target.stat().st_size,
            "learnt": told.learnt,
            "calibrated": told.calibrated,
            "widened": told.widened,
        }

    def note(result: Result) -> str:
        size = f"{result['bytes'] / 1e6:.2f} MB"
        return f"{size}, {result['learnt']} learnt ranges found in the file" if static else size

    total = stages.calibration.count() if static else None
    done = stages.stage(f"quantize {step.scheme} as learnt", depends, work, note, total=total)
    if static:
        widened = (
            f"; {done.result['widened']} shared by layers that learnt different ones" if done.result["widened"] else ""
        )
        stages.notes.append(
            f"quantize: {step.scheme}, scales of {done.result['learnt']} activations are the learnt ranges"
            f"{widened}; {done.result['calibrated']} that no layer reads were calibrated on {stages.calibration.told()}"
        )
        stages.warn_of_shared_photos()
    else:
        stages.notes.append(f"quantize: {step.scheme}")
    if done.result["gate"]:
        stages.notes.append(done.result["gate"])
    return done


def _differences(how: Aware) -> list[str]:
    """Where TFLite has no equivalent of what was trained, and the nearest was exported."""
    notes = []
    if how.activations == "abs_max":
        notes.append(
            "abs_max activations have no static equivalent in TFLite: exported with int8 weights and activations that "
            "the runtime quantizes while running (dynamic range), whose ranges are its own"
        )
    if how.weights == "min_max":
        notes.append(
            f"min_max weights have an offset, TFLite's have none: the weights on their trained grid of {2**how.bits} "
            "values were quantized again to int8 with zero point 0"
        )
    if how.activations == "min_max" and how.bits != 8:
        notes.append(
            f"activations were trained with {how.bits} bits; TFLite computes with 8, so the file rounds more finely"
        )
    return notes


def training_depends(stages: Stages, before: Finished, how: Train) -> dict[str, Any]:
    """All that decides a training's result but its code."""
    section = stages.recipe.data.training
    training, held_out = stages.inputs.training, stages.inputs.held_out
    if section is None or training is None or held_out is None:
        raise BadInput(
            f"{stages.recipe.name} trains, but has no training data", hint="--set data.training.folder=FOLDER"
        )
    return {
        "weights": before.files[WEIGHTS],
        "model": stages.recipe.model.model_dump(),
        "train": how.model_dump(exclude={"checkpoint_steps"}),
        "training": training.identity,
        "held_out": held_out.identity,
        "augment": section.model_dump(include={"augment", "padding", "flip", "distort"}),
        "preprocessing": stages.recipe.preprocessing.model_dump(),
        "seed": stages.recipe.seed,
        "versions": versions(TRAINERS),
        **({"zeros": before.result["sparse"]} if "sparse" in before.result else {}),
    }


def held(before: Finished) -> Masking | None:
    """What keeps the zeros of a network that a `sparsify` step has made sparse; None for a dense one."""
    from compressors.steps.sparsify.masking import Held

    return Held(before.result["sparse"]) if "sparse" in before.result else None


def run_training(
    stages: Stages,
    model: torch.nn.Module,
    how: Train,
    title: str,
    depends: dict[str, Any],
    folder: Path,
    *,
    objective: Objective | None = None,
    regulariser: Regulariser | None = None,
    masking: Masking | None = None,
) -> Result:
    """Train, in a folder of the training's own; its weights and log go into ``folder``."""
    from compressors.data.batches import Augmentation
    from compressors.train.loop import train as run
    from compressors.train.task import Task

    section, inputs = stages.recipe.data.training, stages.inputs
    if section is None or inputs.training is None or inputs.held_out is None:
        raise ValueError("no training data")
    key = sha256_json(depends)
    own = stages.cache.root.parent / "training" / key
    task: Task = Task(
        title=f"{stages.recipe.name}: {title}",
        training=inputs.training,
        held_out=inputs.held_out,
        preprocessing=stages.recipe.preprocessing.record(),
        how=how,
        seed=stages.recipe.seed,
        augmentation=Augmentation(section.augment, section.padding, section.flip, distort=section.distort),
        identity=key,
        objective=objective,
        regulariser=regulariser,
        kind=stages.task,
        masking=masking,
    )
    outcome: Outcome = run(model, task, own, stages.progress)
    from compressors.checkpoint import write_state

    write_state(model, folder / WEIGHTS)
    if processes.is_main():
        shutil.copyfile(own / LOG, folder / LOG)
        shutil.rmtree(own)
    return {
        "epochs": outcome.epochs,
        "kept": outcome.kept,
        "accuracy": outcome.accuracy,
        "last_accuracy": outcome.last_accuracy,
        "metric": stages.task.metric,
        "loss": outcome.loss,
        "steps": outcome.steps,
        "processes": processes.count(),
    }


def training_note(result: Result) -> str:
    """What came of a training, in a few words."""
    return (
        f"{result['epochs']} epochs, {result['steps']} steps; epoch {result['kept']} kept with "
        f"{result.get('metric', 'top-1')} {result['accuracy']:.2f} % on the held-out split"
        + (f", {result['last_accuracy']:.2f} % after the last" if result["kept"] != result["epochs"] else "")
        + (f", {result['processes']} processes" if result["processes"] > 1 else "")
    )


def budget_told(how: Train) -> str:
    """A training's settings, in a few words."""
    return f"batch {how.batch}, {how.optimizer}, learning rate {how.lr:g} {how.schedule}, {how.precision}"
