"""A recipe's steps in a few words, for lists, checks and tables."""

from __future__ import annotations

from compressors.sections import Recipe, Step


def told(step: Step) -> str:
    """A step: ``prune ddpg-amc, MACs -50 %``."""
    match step.kind:
        case "quantize":
            return f"quantize {step.scheme}" + (", trained for it" if step.trains else "")
        case "prune":
            if step.target is None:
                return f"prune {step.protocol}"
            what = "MACs" if step.target.kind == "macs" else "parameters"
            return f"prune {step.protocol}, {what} -{100 * (1 - step.target.stays):.4g} %"
        case "sparsify":
            return f"sparsify {step.sparsity:g} % {step.ratios}"
        case "distil":
            teacher = step.teacher
            return f"distil from {(teacher.recipe or teacher.architecture) if teacher else ''}".rstrip()
    raise AssertionError(step)  # what a recipe may say, the sections say


def steps_told(recipe: Recipe) -> str:
    """All steps of a recipe's own, in their order."""
    return "; ".join(map(told, recipe.steps))
