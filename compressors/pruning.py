"""The stages of a `prune` step: sparse learning, the pruning itself, fine-tuning.

What an unfinished pruning has done already (trainings, measured curves, searches) lies under the state folder, by all
that decides its result, until its stage is finished: a run that was killed goes on where it was.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors.cache import Finished, Result, code_digest
from compressors.depends import ARCHITECTURE_CODE, DATA_CODE, HERE, TORCH, versions
from compressors.distil_section import Losses, Soft
from compressors.distilling import DISTIL_CODE, objective
from compressors.judging import HeldOut, training_batches
from compressors.learning import TRAIN_CODE, budget_told, held, run_training, training_depends, training_note
from compressors.prune_section import Distil, Prune
from compressors.stages import FILE, SPEC, WEIGHTS, Stages
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_bytes, sha256_json, write_atomically

if TYPE_CHECKING:
    import torch

    from compressors.search.problem import Problem, Solution, Target
    from compressors.steps.prune.structure import Structure
    from compressors.train_section import Train

PRUNE_CODE = (HERE / "steps" / "prune", HERE / "search", HERE / "pruning.py")
FOUND = ("sensitivity.json", "rollouts.jsonl")
PRUNERS = (*TORCH, "torch-pruning")


def prune(stages: Stages, before: Finished, step: Prune, teacher: Finished) -> Finished:
    """The network after a whole step.

    Args:
        stages: of the recipe.
        before: the network to prune.
        step: how.
        teacher: the unpruned network, which teaches where the step distils.
    """
    if step.sparse is not None:
        before = _sparse(stages, before, step)
    pruned = _prune(stages, before, step)
    return _finetune(stages, pruned, step, teacher) if step.finetune is not None else pruned


def check_file(stages: Stages, network: Finished, exported: Finished, unpruned: Finished) -> None:
    """See that the file of a pruned network is as much smaller as the network is.

    Raises:
        WorkFailed: it computes more than the network, or no less than the unpruned one.
    """
    from compressors.counting import file_macs
    from zoo import tflite

    found, wanted = file_macs(tflite.inspect(exported.file(FILE))), network.result["macs"]
    if found is None or found == wanted:
        return
    if found >= unpruned.result["macs"] or found > 1.01 * wanted:
        raise WorkFailed(
            f"the pruned network has {wanted / 1e6:.3f} M MACs and its file {found / 1e6:.3f} M",
            where=str(exported.file(FILE)),
            hint="the converter added work; run again with --debug, and report the network",
        )
    stages.notes.append(f"the file computes {found / 1e6:.3f} M MACs where the network has {wanted / 1e6:.3f} M")


def _sparse(stages: Stages, before: Finished, step: Prune) -> Finished:
    how = step.sparse
    if how is None:
        raise ValueError("the step has no sparse section")
    depends = {
        **training_depends(stages, before, how.train),
        "sparse": how.model_dump(exclude={"train"}),
        "keep": [step.keep, step.prunable],
        "code": code_digest(*ARCHITECTURE_CODE, *DATA_CODE, *TRAIN_CODE, *PRUNE_CODE, *DISTIL_CODE),
    }

    def work(folder: Path) -> Result:
        from compressors.counting import nonzeros
        from compressors.steps.prune.sparse import GroupRegulariser
        from compressors.steps.prune.structure import trace

        model = copy.deepcopy(stages.model(before))
        regulariser = GroupRegulariser(trace(model, stages.shape, kept_layers(step, model)), how)
        outcome = run_training(
            stages, model, how.train, "sparse learning", depends, folder, regulariser=regulariser, masking=held(before)
        )
        return {**before.result, **outcome, "nonzeros": nonzeros(model)}

    done = stages.stage("sparse learning", depends, work, training_note, together=True)
    stages.notes.append(
        f"sparse learning: {how.regulariser}, strength {how.reg:g}; {training_note(done.result)}, "
        f"{budget_told(how.train)}"
    )
    return done


def _prune(stages: Stages, before: Finished, step: Prune) -> Finished:
    training, held_out = stages.inputs.training, stages.inputs.held_out
    depends: dict[str, Any] = {
        "weights": before.files[WEIGHTS],
        "spec": before.result.get("spec"),
        "sparse": before.result.get("sparse"),
        "model": stages.recipe.model.model_dump(),
        "step": step.model_dump(exclude={"sparse", "finetune", "distil"}),
        "shape": stages.shape,
        "seed": stages.recipe.seed,
        "data": [training.identity if training else None, held_out.identity if held_out else None],
        "preprocessing": stages.recipe.preprocessing.model_dump(),
        "code": code_digest(*ARCHITECTURE_CODE, *PRUNE_CODE),
        "versions": versions(PRUNERS),
    }
    within = step.finetune or step.search.between
    if step.protocol not in ("uniform", "global", "channels") and within is not None:  # may train within
        depends["finetune"] = training_depends(stages, before, within)
        depends["distil"] = step.distil.model_dump() if step.distil else None
        depends["training code"] = code_digest(*DATA_CODE, *TRAIN_CODE, *DISTIL_CODE)
    key = sha256_json(depends)
    own = stages.cache.root.parent / "pruning" / key

    def work(folder: Path) -> Result:
        from compressors.checkpoint import write_state
        from compressors.counting import nonzeros
        from compressors.search.problem import protocol
        from compressors.steps.prune.spec import write_spec

        own.mkdir(parents=True, exist_ok=True)
        problem = _problem(stages, before, step, own, key)
        solution = protocol(step.protocol)(problem)
        network = _solved(problem, solution)
        result = _verified(problem, network, solution)
        write_state(network, folder / WEIGHTS)
        write_spec(network, folder / SPEC)
        if stages.inputs.held_out is not None:
            result["accuracy_before_training"] = problem.evaluate(network)
            result["metric"] = stages.task.metric
        for path in sorted(path for path in own.rglob("*") if path.name in FOUND):
            # Curves and roll-outs outlive the search: reports draw them. A step's folder becomes part of the name.
            shutil.copyfile(path, folder / "-".join(path.relative_to(own).parts))
        if "sparse" in before.result:  # its zeros are held while it is trained on
            result["sparse"] = before.result["sparse"]
        return {**result, "nonzeros": nonzeros(network)}

    done = stages.stage(f"prune {step.protocol}", depends, work, _prune_note)
    stages.curves += [done.file(name) for name in sorted(done.files) if name.endswith("sensitivity.json")]
    shutil.rmtree(own, ignore_errors=True)  # not before the stage is kept: a kill in between must lose nothing
    criterion = (
        "" if step.protocol == "channels" or step.protocol.startswith("ddpg") else f", criterion {step.criterion}"
    )
    rounded = f", multiples of {step.round_to}" if step.round_to > 1 else ""
    stages.notes.append(f"prune: protocol {step.protocol}{criterion}{rounded}; {_prune_note(done.result)}")
    stages.notes += [f"prune: {note}" for note in done.result["notes"]]
    stages.notes.append(f"prune: channels {json.dumps(done.result['kept'])}")
    return done


def _finetune(stages: Stages, pruned: Finished, step: Prune, teacher: Finished) -> Finished:
    how = step.finetune
    if how is None:
        raise ValueError("the step has no finetune section")
    depends = {
        **training_depends(stages, pruned, how),
        "spec": pruned.result["spec"],
        "distil": [step.distil.model_dump(), teacher.key] if step.distil else None,
        "code": code_digest(*ARCHITECTURE_CODE, *DATA_CODE, *TRAIN_CODE, *PRUNE_CODE, *DISTIL_CODE),
    }

    def work(folder: Path) -> Result:
        from compressors.counting import nonzeros

        taught = objective(stages, stages.model(teacher), losses_of(step.distil), how) if step.distil else None
        model = copy.deepcopy(stages.model(pruned))
        outcome = run_training(stages, model, how, "fine-tune", depends, folder, objective=taught, masking=held(pruned))
        return {**pruned.result, **outcome, "nonzeros": nonzeros(model)}

    done = stages.stage("fine-tune", depends, work, training_note, together=True)
    taught = f", taught by the unpruned network at temperature {step.distil.temperature:g}" if step.distil else ""
    stages.notes.append(f"fine-tune: {training_note(done.result)}, {budget_told(how)}{taught}")
    return done


def losses_of(how: Distil) -> Losses:
    """What a fine-tuning with a teacher learns: PocketFlow's two cross entropies."""
    return Losses(soft=Soft(temperature=how.temperature, weight=how.weight))


def kept_layers(step: Prune, model: torch.nn.Module) -> list[str]:
    """The step's own names and patterns, and the layers of its published set."""
    from compressors.steps.prune.layers import WEIGHTED
    from compressors.steps.prune.sets import kept_by

    if step.prunable is None:
        return step.keep
    names = [name for name, module in model.named_modules() if isinstance(module, WEIGHTED)]
    return [*step.keep, *kept_by(step.prunable, names)]


def _problem(stages: Stages, before: Finished, step: Prune, own: Path, key: str) -> Problem:
    from compressors.search.problem import Problem
    from compressors.steps.prune.structure import trace

    model = copy.deepcopy(stages.model(before))
    keep = kept_layers(step, model)
    structure = trace(model, stages.shape, keep)
    _ = structure.prunable  # an error where there is none
    evaluate = HeldOut(stages)
    target = target_of(step, structure)

    def train(model: torch.nn.Module, title: str, how: Train | None = None) -> float:
        plan = how or step.finetune
        if plan is None:
            raise BadInput(
                f"protocol {step.protocol} trains and needs a finetune section", hint="finetune: {epochs: 1, lr: 0.01}"
            )
        return _train_within(stages, before, own, key, model, title, plan, step)

    def batches(size: int, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return training_batches(stages, size, count)

    return Problem(
        model=model,
        structure=structure,
        target=target,
        criterion=step.criterion,
        round_to=step.round_to,
        evaluate=evaluate,
        batches=batches,
        train=train,
        seed=stages.recipe.seed,
        progress=stages.progress,
        folder=own,
        options=step.model_copy(update={"keep": keep}),
        shape=stages.shape,
    )


def target_of(step: Prune, structure: Structure) -> Target:
    """The step's target for a network; protocol channels has the unpruned cost as its own."""
    from compressors.search.problem import Target

    kind = step.target.kind if step.target else "macs"
    base = structure.macs({}) if kind == "macs" else structure.parameters({})
    return Target(kind=kind, base=base, limit=base * (step.target.stays if step.target else 1.0))


def _solved(problem: Problem, solution: Solution) -> torch.nn.Module:
    """The pruned network of a solution."""
    from compressors.steps.prune.criteria import choose
    from compressors.steps.prune.structure import remove

    if solution.network is not None:
        return solution.network
    removed = solution.removed
    if removed is None:
        full = problem.structure.full()
        counts = {name: number for name, number in solution.kept.items() if number != full[name]}
        removed = choose(problem.importance(), counts, structure=problem.structure) if counts else {}
    return remove(problem.model, problem.structure.shape, removed, problem.structure)


def _verified(problem: Problem, network: torch.nn.Module, solution: Solution) -> Result:
    """What the pruned network is, after checking that it is smaller and what the target says.

    Raises:
        WorkFailed: nothing was removed, or the target is missed by more than 1 %.
    """
    from compressors.counting import count
    from compressors.search.problem import TOLERANCE
    from compressors.steps.prune.spec import spec_of

    counted, structure, target = count(network, problem.structure.shape), problem.structure, problem.target
    macs, parameters = structure.macs({}), structure.parameters({})
    kept = {group.name: solution.kept.get(group.name, group.channels) for group in structure.prunable}
    if counted.parameters >= parameters or counted.macs > macs:
        raise WorkFailed("nothing was removed: the pruned network is as large as before")
    if problem.options.target is not None:
        found = counted.macs if target.kind == "macs" else counted.parameters
        off = (found - target.limit) / target.base
        if abs(off) > TOLERANCE:
            raise WorkFailed(
                f"the target {target.told()} was missed: -{100 * (1 - found / target.base):.2f} % came out",
                hint="a smaller round_to, or another protocol",
            )
    return {
        "macs": counted.macs,
        "parameters": counted.parameters,
        "base_macs": macs,
        "base_parameters": parameters,
        "kept": kept,
        "spec": {name: list(channels) for name, channels in spec_of(network).items()},
        "notes": list(solution.notes),
    }


def _train_within(
    stages: Stages,
    before: Finished,
    own: Path,
    key: str,
    network: torch.nn.Module,
    title: str,
    how: Train,
    step: Prune,
) -> float:
    """A training inside a protocol; its result is kept beside the protocol's own state until the stage is finished."""
    from safetensors.torch import load_file

    from compressors.checkpoint import write_state
    from compressors.steps.prune.spec import spec_of

    state = b"".join(value.detach().cpu().contiguous().numpy().tobytes() for value in network.state_dict().values())
    depends = {
        **training_depends(stages, before, how),
        "within": key,
        "title": title,
        "weights": sha256_bytes(state),
        "spec": {name: list(channels) for name, channels in spec_of(network).items()},
    }
    place = own / f"training-{sha256_json(depends)[:24]}"
    weights, told = place.with_suffix(".safetensors"), place.with_suffix(".json")
    if not told.is_file():  # written last
        making = own / ".training"
        making.mkdir(exist_ok=True)
        taught = objective(stages, stages.model(before), losses_of(step.distil), how) if step.distil else None
        outcome = run_training(stages, network, how, title, depends, making, objective=taught, masking=held(before))
        write_state(network, making / "done.safetensors")
        (making / "done.safetensors").replace(weights)
        write_atomically(told, json.dumps(outcome).encode())
        shutil.rmtree(making)
    network.load_state_dict(load_file(weights))
    network.eval()
    return float(json.loads(told.read_text())["accuracy"])


def _prune_note(result: Result) -> str:
    macs, base = result["macs"], result["base_macs"]
    text = (
        f"{macs / 1e6:.2f} M of {base / 1e6:.2f} M MACs stay (-{100 * (1 - macs / base):.2f} %, {base / macs:.2f}x), "
        f"{result['parameters'] / 1e6:.3f} M of {result['base_parameters'] / 1e6:.3f} M parameters"
    )
    if "accuracy_before_training" in result:
        text += (
            f"; held-out {result.get('metric', 'top-1')} {result['accuracy_before_training']:.2f} % before any training"
        )
    return text
