"""The stages of a `sparsify` step: the ratios, the training with growing masks, and the proof in the finished file."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

from compressors.cache import Finished, Result, code_digest
from compressors.depends import ARCHITECTURE_CODE, DATA_CODE, HERE, TORCH, versions
from compressors.distilling import DISTIL_CODE, losses_told, objective
from compressors.learning import TRAIN_CODE, budget_told, run_training, training_depends, training_note
from compressors.sparsify_section import RatioSearch, Sparsify
from compressors.stages import FILE, WEIGHTS, Stages
from pocketzoo.errors import WorkFailed
from pocketzoo.files import sha256_json

SPARSIFY_CODE = (HERE / "steps" / "sparsify", HERE / "sparsifying.py")
SEARCH_CODE = (HERE / "search", HERE / "judging.py")
TOLERANCE = 0.001  # of all weights that are to be sparse
CHECK_CODE = (HERE / "steps" / "sparsify", HERE / "steps" / "quantize")
ROLLOUTS = "rollouts.jsonl"


def sparsify(
    stages: Stages, before: Finished, step: Sparsify, teacher: tuple[Finished, Stages] | None = None
) -> Finished:
    """The network after a sparsification.

    Args:
        stages: of the recipe.
        before: the dense network.
        step: how.
        teacher: another network that teaches, and the stages of its recipe; by default the dense one does, where the
            step is taught at all.
    """
    shown, of = teacher or (before, stages)
    kept = _kept(stages, before, step)
    depends = {
        **training_depends(stages, before, step.train),
        "spec": before.result.get("spec"),
        "sparsify": step.model_dump(exclude={"train": True, "search": True, "storage": True, "distil": {"teacher"}}),
        "kept": kept,
        "teacher": shown.key if step.distil else None,
        "code": code_digest(*ARCHITECTURE_CODE, *DATA_CODE, *TRAIN_CODE, *SPARSIFY_CODE, *DISTIL_CODE),
    }

    def work(folder: Path) -> Result:
        from compressors.counting import nonzeros
        from compressors.steps.distil.objective import check
        from compressors.steps.sparsify.layers import zeros
        from compressors.steps.sparsify.masking import Growing

        taught = None
        if step.distil is not None:
            network = copy.deepcopy(of.model(shown))
            check(stages.model(before), network, stages.shape, step.distil, (stages.recipe.name, of.recipe.name))
            taught = objective(stages, network, step.distil, step.train)
        model = copy.deepcopy(stages.model(before))
        masking = Growing(kept, step.schedule)
        outcome = run_training(
            stages, model, step.train, "sparsify", depends, folder, objective=taught, masking=masking
        )
        found, total = zeros(model, list(kept))
        if abs(found / total - step.share) > TOLERANCE:
            raise WorkFailed(
                f"{100 * found / total:.3f} % of {total:,} weights are zero, and {step.sparsity:g} % were asked for",
                hint="run again with --debug, and report the network",
            )
        each = {name: zeros(model, [name]) for name in kept}
        return {
            **before.result, **outcome, "nonzeros": nonzeros(model), "sparse": list(kept), "zeros": found,
            "of": total, "layers": {name: [of, number] for name, (of, number) in each.items()},
        }  # fmt: skip

    done = stages.stage("sparsify", depends, work, _note, together=True)
    taught = ""
    if step.distil is not None:
        by = "the dense network" if teacher is None else of.recipe.name
        taught = f", taught by {by}: {losses_told(step.distil)}"
    how = step.schedule
    stages.notes.append(
        f"sparsify: ratios {step.ratios}; {_zeros_told(done.result)}; masks from {100 * how.begin:g} % to "
        f"{100 * how.end:g} % of the steps, every {how.every}; {training_note(done.result)}, "
        f"{budget_told(step.train)}{taught}"
    )
    stages.notes.append(f"sparsify: zeros {json.dumps({n: row[0] for n, row in done.result['layers'].items()})}")
    return done


def _kept(stages: Stages, before: Finished, step: Sparsify) -> dict[str, int]:
    """How many weights of each layer stay."""
    from compressors.steps.sparsify import rules
    from compressors.steps.sparsify.layers import sparse_layers

    model = copy.deepcopy(stages.model(before))
    weights = sparse_layers(model, stages.shape, step.keep)
    if step.ratios == "uniform":
        return rules.uniform(weights, step.share)
    if step.ratios == "heuristic":
        return rules.heuristic(weights, step.share)
    return _searched(stages, before, step, weights)


def _searched(stages: Stages, before: Finished, step: Sparsify, weights: dict[str, int]) -> dict[str, int]:
    training, held_out = stages.inputs.training, stages.inputs.held_out
    how = step.search or RatioSearch()
    depends: dict[str, Any] = {
        "weights": before.files[WEIGHTS],
        "spec": before.result.get("spec"),
        "model": stages.recipe.model.model_dump(),
        "search": how.model_dump(),
        "sparsity": step.sparsity,
        "layers": weights,
        "shape": stages.shape,
        "seed": stages.recipe.seed,
        "data": [training.identity if training else None, held_out.identity if held_out else None],
        "preprocessing": stages.recipe.preprocessing.model_dump(),
        "code": code_digest(*ARCHITECTURE_CODE, *DATA_CODE, *SPARSIFY_CODE, *SEARCH_CODE),
        "versions": versions(TORCH),
    }
    key = sha256_json(depends)
    own = stages.cache.root.parent / "sparsifying" / key

    def work(folder: Path) -> Result:
        from compressors.steps.sparsify.search import search

        own.mkdir(parents=True, exist_ok=True)
        model = copy.deepcopy(stages.model(before))
        found = search(stages, model, weights, step.share, how, own, key)
        shutil.copyfile(own / ROLLOUTS, folder / ROLLOUTS)
        return {
            "kept": found.kept, "accuracy": found.accuracy, "rollouts": found.rollouts, "candidates": found.candidates,
        }  # fmt: skip

    def note(result: Result) -> str:
        return (
            f"{result['rollouts']} roll-outs, {result['candidates']} candidates; the best had top-1 "
            f"{100 * result['accuracy']:.2f} % on the held-out split"
        )

    done = stages.stage("search ratios", depends, work, note)
    shutil.rmtree(own, ignore_errors=True)
    stages.notes.append(f"sparsify: {note(done.result)}")
    return {name: int(count) for name, count in done.result["kept"].items()}


def check_zeros(stages: Stages, network: Finished, exported: Finished, made: Finished) -> None:
    """See that every weight that is zero in the network is exactly zero in the finished file, and tell its size.

    Args:
        stages: of the recipe.
        network: as it was exported.
        exported: its float file.
        made: the finished file, which may be quantized.

    Raises:
        WorkFailed: a weight came back.
    """
    layers: list[str] = network.result["sparse"]
    depends = {
        "network": network.key,
        "exported": exported.files[FILE],
        "file": made.files[FILE],
        "code": code_digest(*CHECK_CODE),
    }

    def work(_folder: Path) -> Result:
        from compressors.steps.sparsify.proof import prove, sizes

        found = prove(stages.model(network), stages.shape, layers, exported.file(FILE), made.file(FILE))
        return {**found, **sizes(made.file(FILE))}

    def note(result: Result) -> str:
        share = 100 * result["zeros"] / result["weights"]
        return (
            f"{share:.2f} % of {result['weights']:,} weights in {len(layers)} layers are exactly zero in the file, "
            f"{result['file_nonzeros']:,} of its {result['file_weights']:,} weights are not; "
            f"{result['bytes']:,} bytes, {result['zlib']:,} compressed (zlib, level 9)"
        )

    done = stages.stage("check the zeros", depends, work, note)
    stages.notes.append(f"sparsity: {note(done.result)}")


def store_sparse(stages: Stages, made: Finished) -> Finished:
    """The file with its sparse 1x1 convolutions stored as sparse tensors, after seeing that it answers alike.

    Raises:
        WorkFailed: the answers differ.
    """
    depends = {
        "file": made.files[FILE],
        "shape": stages.shape,
        "code": code_digest(HERE / "steps" / "sparsify" / "encode.py"),
        "versions": versions(("ai-edge-litert", "numpy")),
    }

    def work(folder: Path) -> Result:
        from compressors.steps.sparsify.encode import encode, same_answers
        from compressors.steps.sparsify.proof import sizes

        target = folder / FILE
        encoded = encode(made.file(FILE), target)
        same_answers(made.file(FILE), target, stages.shape)
        return {**sizes(target), "before": made.file(FILE).stat().st_size, "encoded": len(encoded)}

    def note(result: Result) -> str:
        if not result["encoded"]:
            return "no 1x1 convolution has two thirds of zeros, so all are stored dense"
        return (
            f"{result['encoded']} convolutions stored as sparse tensors: {result['bytes']:,} bytes instead of "
            f"{result['before']:,}, {result['zlib']:,} compressed (zlib, level 9)"
        )

    done = stages.stage("store sparse", depends, work, note)
    stages.notes.append(f"sparsity: {note(done.result)}")
    return done if done.result["encoded"] else made


def _zeros_told(result: Result) -> str:
    share = 100 * result["zeros"] / result["of"]
    return f"{share:.3f} % of {result['of']:,} weights in {len(result['sparse'])} layers are zero"


def _note(result: Result) -> str:
    return f"{_zeros_told(result)}; {training_note(result)}"
