"""The stage of a `distil` step, and what the other steps that are taught share with it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors.cache import Finished, Result, code_digest
from compressors.depends import ARCHITECTURE_CODE, DATA_CODE, HERE, TORCH, versions
from compressors.distil_section import Distillation, Losses
from compressors.judging import HeldOut
from compressors.learning import TRAIN_CODE, budget_told, held, run_training, training_depends, training_note
from compressors.stages import WEIGHTS, Stages

if TYPE_CHECKING:
    from compressors.steps.distil.objective import Objective
    from compressors.train_section import Train

DISTIL_CODE = (HERE / "steps" / "distil", HERE / "distilling.py")


def distil(stages: Stages, before: Finished, step: Distillation, teacher: Finished, of: Stages) -> Finished:
    """The network after a training with a teacher.

    Args:
        stages: of the student's recipe.
        before: the student.
        step: how.
        teacher: the network that teaches.
        of: the stages of its recipe.
    """
    if step.scratch:
        before = _untrained(stages)
    depends = {
        **training_depends(stages, before, step.train),
        "spec": before.result.get("spec"),
        "distil": step.model_dump(exclude={"teacher", "train"}),
        "teacher": teacher.key,
        "code": code_digest(*ARCHITECTURE_CODE, *DATA_CODE, *TRAIN_CODE, *DISTIL_CODE),
    }

    def work(folder: Path) -> Result:
        from compressors.counting import nonzeros
        from compressors.steps.distil.objective import check

        model, shown = copy.deepcopy(stages.model(before)), copy.deepcopy(of.model(teacher))
        check(model, shown, stages.shape, step, (stages.recipe.name, of.recipe.name))
        right = HeldOut(stages)(shown)
        taught = objective(stages, shown, step, step.train)
        outcome = run_training(
            stages, model, step.train, "distil", depends, folder, objective=taught, masking=held(before)
        )
        return {
            **before.result, **outcome, "nonzeros": nonzeros(model),
            "teacher_accuracy": right,
        }  # fmt: skip

    done = stages.stage("distil", depends, work, _note, together=True)
    begins = ", from untrained weights" if step.scratch else ""
    stages.notes.append(
        f"distil: teacher {of.recipe.name} (top-1 {done.result['teacher_accuracy']:.2f} % on the held-out split), "
        f"{losses_told(step)}{begins}; {training_note(done.result)}, {budget_told(step.train)}"
    )
    stages.notes.append(f"distil: {cache_told(stages, step.train)}")
    return done


def objective(stages: Stages, teacher: Any, losses: Losses, train: Train) -> Objective:
    """The loss of a training with a teacher, which remembers the teacher's answers where images come again."""
    from compressors.steps.distil.objective import Objective

    return Objective(teacher, losses, train, remember=_come_again(stages, train))


def losses_told(losses: Losses) -> str:
    """For notes: what is learnt."""
    parts = [f"{losses.hard:g} x cross entropy with the labels"] if losses.hard else []
    if losses.soft is not None:
        parts.append(f"{losses.soft.weight:g} x cross entropy softened by temperature {losses.soft.temperature:g}")
    if losses.l2 is not None:
        parts.append(f"{losses.l2:g} x L2 of the outputs")
    if losses.fsp is not None:
        pairs = ", ".join(f"{'-'.join(pair.teacher)} for {'-'.join(pair.student)}" for pair in losses.fsp.pairs)
        parts.append(f"{losses.fsp.weight:g} x FSP of {pairs}")
    return " + ".join(parts)


def _come_again(stages: Stages, train: Train) -> bool:
    """Whether a training sees the same images, to the pixel, in every epoch."""
    section = stages.recipe.data.training
    return train.epochs > 1 and section is not None and section.augment == "none"


def cache_told(stages: Stages, train: Train) -> str:
    """For notes: whether the teacher's answers were kept, and why not."""
    section = stages.recipe.data.training
    if _come_again(stages, train):
        return "images come again unchanged in every epoch, so the teacher answered each once"
    if train.epochs == 1:
        return "every image was seen once, so the teacher's answers were not kept"
    augment = section.augment if section is not None else "none"
    return f"augmentation {augment} changes the images in every epoch, so the teacher's answers were not kept"


def _untrained(stages: Stages) -> Finished:
    """The network with the weights that its factory and the seed give it."""
    depends = {
        "model": stages.recipe.model.model_dump(),
        "seed": stages.recipe.seed,
        "shape": stages.shape,
        "code": code_digest(*ARCHITECTURE_CODE),
        "versions": versions(TORCH),
    }

    def work(folder: Path) -> Result:
        from compressors.checkpoint import write_state
        from compressors.counting import count

        model = stages.fresh_model()
        counted = count(model, stages.shape)
        write_state(model, folder / WEIGHTS)
        return {"macs": counted.macs, "parameters": counted.parameters, "nonzeros": counted.nonzeros}

    return stages.stage(
        "build untrained", depends, work, lambda result: f"{result['parameters'] / 1e6:.2f} M parameters"
    )


def _note(result: Result) -> str:
    return f"{training_note(result)}; the teacher has {result['teacher_accuracy']:.2f} %"
