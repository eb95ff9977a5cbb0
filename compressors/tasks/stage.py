"""The stage that judges the finished file of a detector or a segmentation."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors.cache import Result, code_digest
from compressors.depends import DATA_CODE, HERE, RUNTIME, TASK_CODE, versions
from compressors.stages import Stages

if TYPE_CHECKING:
    from compressors.tasks import Judged

ANSWERS = "answers.npz"


def judge(stages: Stages, file: Path, sha256: str, name: str = "evaluate the file") -> Judged | None:
    """What the file answers to the images that judge it; None where there are none."""
    import numpy as np

    images: Any = stages.inputs.judging
    if images is None:
        stages.notes.append("accuracy: not measured; the recipe was run without images to judge it by")
        return None
    task: Any = stages.task
    how = stages.recipe.preprocessing.record()
    depends = {
        "file": sha256,
        "images": stages.inputs.evaluation_sha256,
        "task": repr(task),
        "preprocessing": stages.recipe.preprocessing.model_dump(),
        "code": code_digest(HERE / "evaluate.py", *DATA_CODE, *TASK_CODE),
        "versions": versions((*RUNTIME, "pycocotools")),
        "machine": platform.machine(),
    }

    def work(folder: Path) -> Result:
        found = task.answers(file, images, how, stages.progress.advance)
        np.savez_compressed(folder / ANSWERS, **found.arrays())
        return {"summary": found.summary()}

    done = stages.stage(name, depends, work, lambda result: str(result["summary"]), total=len(images.labels))
    with np.load(done.file(ANSWERS), allow_pickle=False) as kept:
        found: Judged = task.restored(dict(kept))
    return found
