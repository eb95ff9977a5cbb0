"""The stage that begins with a file out of the zoo.

By itself, because who reads recipes (:mod:`compressors.given`) needs nothing of what runs them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from compressors.cache import Finished, Result
from compressors.given import PREFIX, Given
from compressors.stages import FILE, Stages, size_note
from pocketzoo.errors import WorkFailed
from pocketzoo.files import sha256_file


def take(stages: Stages, given: Given) -> Finished:
    """The stage that a network's build, training and export are for others: the file, as the zoo has it."""

    def work(folder: Path) -> Result:
        target = folder / FILE
        shutil.copyfile(given.file, target)
        if sha256_file(target) != given.artifact.digest:
            raise WorkFailed(
                f"the stored file of {given.artifact.name} is damaged",
                where=str(given.file),
                hint=f"zoo verify {given.artifact.name}",
            )
        return {"bytes": target.stat().st_size}

    done = stages.stage("take from the zoo", {"file": given.artifact.digest}, work, size_note)
    stages.notes.append(f"made from {given.reference.removeprefix(PREFIX)}, taken as it is")
    return done
