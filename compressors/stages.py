"""The stages of a recipe, each a function of its settings, its inputs' digests, package versions and code."""

from __future__ import annotations

import contextlib
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors import processes
from compressors.cache import Finished, Result, StageCache, code_digest
from compressors.calibration import Calibration
from compressors.depends import (
    ARCHITECTURE_CODE,
    CONVERTER,
    DATA_CODE,
    HERE,
    QUANTIZE_CODE,
    QUANTIZER,
    RUNTIME,
    TORCH,
    versions,
)
from compressors.inputs import Inputs
from compressors.progress import Progress
from compressors.recipe import UNTRAINED, Quantize, Recipe

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from compressors.evaluate import Answers
    from compressors.tasks import VisionTask

COMPARED = 8  # photos the exported file is compared with the network on
FILE = "model.tflite"
WEIGHTS = "model.safetensors"
SPEC = "channels.json"


@dataclass(frozen=True)
class StageReport:
    """A stage as it is told to the user: its name, whether it was reused, and what came of it."""

    name: str
    reused: bool
    note: str


@dataclass
class Stages:
    """The stages of one recipe. ``reports`` and ``notes`` grow with each: what to tell the user, what to record.

    ``known`` holds the keys of stages that were told already in this run, and is shared by the recipes of a chain:
    what a child has in common with its parent is not news.
    """

    recipe: Recipe
    inputs: Inputs
    progress: Progress
    cache: StageCache
    known: set[str]
    reports: list[StageReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    curves: list[Path] = field(default_factory=list)
    _models: dict[str, torch.nn.Module] = field(default_factory=dict)

    def build(self) -> Finished:
        """The network with its weights: ``model.safetensors`` and its counts."""
        from compressors import architectures

        source = architectures.source_file(self.recipe.model.architecture)
        depends = {
            "model": self.recipe.model.model_dump(),
            "weights": self.inputs.weights_sha256,
            "seed": self.recipe.seed,
            "shape": self.shape,
            "code": code_digest(*ARCHITECTURE_CODE, *([source] if source else [])),
            "versions": versions(TORCH),
        }
        start = self.recipe.start if self.recipe.trains_float else None
        if start is not None:
            depends["start"] = [self.inputs.start_sha256, start.drop_classifier]

        def work(folder: Path) -> Result:
            from compressors.checkpoint import load_into, write_state
            from compressors.counting import count
            from compressors.data.noise import noise_images
            from compressors.steps.settle import SETTLED_ON, settle

            model = self.fresh_model()
            if self.inputs.weights is not None:
                load_into(model, self.inputs.weights, self.recipe.model.architecture)
            elif start is not None and self.inputs.start is not None:
                architecture = self.recipe.model.architecture
                load_into(model, self.inputs.start, architecture, drop_classifier=start.drop_classifier)
            elif self.inputs.weights_sha256 == UNTRAINED:
                settle(model, noise_images(self.recipe.preprocessing.record(), SETTLED_ON, self.recipe.seed))
            counted = count(model, self.shape)
            write_state(model, folder / WEIGHTS)
            return {"macs": counted.macs, "parameters": counted.parameters, "nonzeros": counted.nonzeros}

        def note(result: Result) -> str:
            return f"{result['parameters'] / 1e6:.2f} M parameters, {result['macs'] / 1e6:.1f} M MACs"

        return self.stage("build", depends, work, note)

    def export(self, built: Finished, name: str = "export to .tflite") -> Finished:
        """The network as float32 ``model.tflite``."""
        depends = {
            "model": built.key,
            "code": code_digest(HERE / "export.py"),
            "versions": versions(CONVERTER),
        }

        def work(folder: Path) -> Result:
            from compressors.export import export_tflite

            target = folder / FILE
            _, channels, size, _ = self.shape
            export_tflite(self.model(built), size, target, channels, self.task.image_outputs)
            return {"bytes": target.stat().st_size}

        return self.stage(name, depends, work, size_note)

    def compare(self, built: Finished, exported: Finished) -> None:
        """Check that the exported file computes what the network does, on photos where there are any."""
        shown = self.inputs.judging or self.inputs.calibrating
        photos = [] if shown is not None else list(self.inputs.calibration)
        count = min(COMPARED, len(shown.labels) if shown is not None else len(photos) or COMPARED)
        how = self.recipe.preprocessing.record()
        depends = {
            "model": built.key,
            "file": exported.files[FILE],
            "photos": self.inputs.evaluation_sha256 or self.inputs.calibration_sha256,
            "preprocessing": self.recipe.preprocessing.model_dump(),
            "code": code_digest(HERE / "export.py", HERE / "evaluate.py", *DATA_CODE),
            "versions": versions((*TORCH, *RUNTIME)),
        }

        def samples() -> Iterator[NDArray[np.float32]]:
            import numpy as np

            from compressors.data.photos import open_photo
            from compressors.data.preprocessing import centre

            random = np.random.default_rng(self.recipe.seed)
            for index in range(count):
                self.progress.advance()
                if shown is not None:
                    yield centre(shown.get(index), how)
                elif photos:
                    yield centre(open_photo(photos[index]), how)
                else:
                    _, channels, size, _ = self.shape
                    yield random.standard_normal((1, size, size, channels)).astype(np.float32)

        def work(_folder: Path) -> Result:
            from compressors.export import compare

            found = compare(self.model(built), exported.file(FILE), samples(), self.task.image_outputs)
            return {
                "samples": found.samples,
                "what": "photos"
                if photos or self.inputs.evaluation
                else "images"
                if shown is not None
                else "random inputs",
                "relative": found.relative,
                "same_top1": found.same_top1,
            }

        classifies = self.recipe.task == "image-classification"

        def note(result: Result) -> str:
            return (
                f"outputs differ by at most {result['relative']:.1e} of their range on {result['samples']} "
                f"{result['what']}" + (f", {result['same_top1']} with the same top-1" if classifies else "")
            )

        done = self.stage("compare with the network", depends, work, note, total=count)
        self.notes.append(f"export: against the torch network, {note(done.result)}")

    def quantize(self, built: Finished | None, made: Finished, step: Quantize) -> Finished:
        """The file quantized as the step says, after its training.

        Args:
            built: its network, by whose names layers are called; None: by those of their outputs in the file.
            made: the float file.
            step: what to do.
        """
        calibrates = step.scheme.startswith("static")
        gate = step.max_drop is not None or bool(step.keep_float)
        depends: dict[str, Any] = {
            "file": made.files[FILE],
            "step": step.model_dump(),
            "code": code_digest(*QUANTIZE_CODE, *DATA_CODE),
            "versions": versions(QUANTIZER),
            "machine": platform.machine(),
        }
        if calibrates:
            depends["calibration"] = self.calibration.identity()
        if gate:
            depends["gate"] = [
                built.key if built else None,
                self.inputs.held_out.identity if self.inputs.held_out else None,
            ]

        def work(folder: Path) -> Result:
            from compressors.steps.quantize import quantize
            from compressors.steps.quantize.layers import quantize_gated

            target = folder / FILE
            if not gate:
                quantize(made.file(FILE), target, step, self.calibration.images(), self.progress.advance)
                return {"bytes": target.stat().st_size, "gate": None}
            told = quantize_gated(self, built, made.file(FILE), target, step)
            return {"bytes": target.stat().st_size, "gate": told}

        total = self.calibration.count() if calibrates else None
        done = self.stage(f"quantize {step.scheme}", depends, work, size_note, total=total)
        granularity = "" if step.weights == "channel" else ", one scale per weight tensor"
        if calibrates:
            self.notes.append(
                f"quantize: {step.scheme}{granularity}, {step.ranges} ranges over {self.calibration.told()}"
            )
        else:
            self.notes.append(f"quantize: {step.scheme}{granularity}")
        if done.result["gate"]:
            self.notes.append(done.result["gate"])
        if calibrates:
            self.warn_of_shared_photos()
        return done

    def warn_of_shared_photos(self) -> None:
        """Note it where calibration photos are evaluation photos, too."""
        if self.inputs.shared_photos:
            self.notes.append(
                f"warning: {self.inputs.shared_photos} calibration photos are evaluation photos, too; "
                "the accuracy is flattered"
            )

    @cached_property
    def calibration(self) -> Calibration:
        """What ranges are taken from."""
        return Calibration(self.recipe, self.inputs)

    @cached_property
    def task(self) -> VisionTask:
        """What the network is for."""
        from compressors.tasks import task_of

        return task_of(self.recipe)

    def evaluate(self, file: Path, sha256: str, name: str = "evaluate the file") -> Answers | None:
        """The file's answers to the labelled photos; None where there are none."""
        judging = self.inputs.judging
        if judging is None:
            self.notes.append("accuracy: not measured; the recipe was run without labelled photos")
            return None
        count = len(judging.labels)
        depends = {
            "file": sha256,
            "photos": self.inputs.evaluation_sha256,
            "labels": judging.labels.tolist(),
            "preprocessing": self.recipe.preprocessing.model_dump(),
            "code": code_digest(HERE / "evaluate.py", *DATA_CODE),
            "versions": versions(RUNTIME),
            "machine": platform.machine(),
        }

        def work(_folder: Path) -> Result:
            from compressors.evaluate import answer

            found = answer(file, judging, self.recipe.preprocessing.record(), self.progress.advance)
            return {"labels": found.labels, "best": found.best, "classes": found.classes}

        def note(result: Result) -> str:
            right = sum(label == best[0] for label, best in zip(result["labels"], result["best"], strict=True))
            return f"top-1 right on {right} of {count} {'photos' if self.inputs.evaluation else 'images'}"

        from compressors.evaluate import Answers

        result = self.stage(name, depends, work, note, total=count).result
        return Answers(
            labels=tuple(result["labels"]), best=tuple(tuple(b) for b in result["best"]), classes=result["classes"]
        )

    def stage(
        self,
        name: str,
        depends: dict[str, Any],
        work: Callable[[Path], Result],
        note: Callable[[Result], str],
        total: int | None = None,
        *,
        together: bool = False,
    ) -> Finished:
        """Find or make a finished stage, and tell of it.

        Args:
            name: as it is told, and part of the key.
            depends: JSON values that say all the result depends on.
            work: makes it, in the folder it is given.
            note: what came of it, in a few words.
            total: samples that will be seen; None where ``work`` tells its own progress or there is none.
            together: it trains, so that all processes of a run take part in it; else the main one makes it.
        """
        told = False

        def begin_and_work(folder: Path) -> Result:
            nonlocal told
            told = True
            self.progress.begin(f"{self.recipe.name}: {name}", total)
            return work(folder)

        def waiting() -> None:
            self.progress.begin(f"{self.recipe.name}: {name}: another process does the same; waiting for it")

        if together:
            done = self._together(name, depends, begin_and_work, waiting)
        else:
            done = processes.first(lambda: self.cache.run(name, depends, begin_and_work, waiting))
        text = note(done.result)
        if done.damaged:
            text += " (what the cache held was damaged and is made anew)"
        if done.key not in self.known:
            self.known.add(done.key)
            if not told:
                self.progress.begin(f"{self.recipe.name}: {name}")
            self.progress.end(f"reused: {text}" if done.reused else text)
            self.reports.append(StageReport(name=name, reused=done.reused, note=text))
        return done

    def _together(
        self, name: str, depends: dict[str, Any], work: Callable[[Path], Result], waiting: Callable[[], None]
    ) -> Finished:
        """A stage all processes take part in; the main one's result is what counts and is kept."""
        if processes.count() == 1:
            return self.cache.run(name, depends, work, waiting)
        done: Finished | None = None
        alone = self.cache.alone(name, depends, waiting) if processes.is_main() else contextlib.nullcontext()
        with alone:
            finished = processes.agreed(self.cache.find(name, depends) is not None)
            if not finished and processes.is_main():
                done = self.cache.make(name, depends, work)
            elif not finished:
                with tempfile.TemporaryDirectory() as folder:
                    work(Path(folder))
        processes.agreed(None)  # only now is it there for all
        done = done or self.cache.find(name, depends)
        if done is None:
            raise processes.not_shared(str(self.cache.root))
        return done

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one input as torch has it: (1, C, H, W)."""
        size = self.recipe.preprocessing.crop
        return 1, self.recipe.preprocessing.channels, size, size

    def fresh_model(self) -> torch.nn.Module:
        """The network with the weights its factory and the seed give it."""
        import torch

        from compressors import architectures
        from compressors.quiet import quiet

        torch.manual_seed(self.recipe.seed)
        with quiet():  # a user's factory may talk, too
            return architectures.build(self.recipe.model.architecture, **self.recipe.model.options)

    def model(self, made: Finished) -> torch.nn.Module:
        """The network with a finished stage's weights, in evaluation mode; batch norm folded where the stage says."""
        if made.key not in self._models:
            import torch

            from compressors.checkpoint import load_into

            model = self.fresh_model()
            if "spec" in made.result:
                from compressors.steps.prune.spec import reshape

                model = reshape(model, {name: tuple(row) for name, row in made.result["spec"].items()})
            if made.result.get("folded"):
                from compressors.steps.quantize.aware import fold, layers

                fold(model, layers(model, torch.zeros(self.shape)))
            load_into(model, made.file(WEIGHTS), self.recipe.model.architecture)
            self._models = {made.key: model.eval()}  # one at a time: a large network need not be there twice
        return self._models[made.key]


def size_note(result: Result) -> str:
    return f"{result['bytes'] / 1e6:.2f} MB"
