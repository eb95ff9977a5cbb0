"""The stages of a recipe, each a function of its settings, its inputs' digests, package versions and code."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors.cache import Finished, Result, StageCache, code_digest
from compressors.inputs import Inputs
from compressors.progress import Progress
from compressors.recipe import Quantize, Recipe

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from compressors.evaluate import Answers

COMPARED = 8  # photos the exported file is compared with the network on
FILE = "model.tflite"
HERE = Path(__file__).parent
ARCHITECTURE_CODE = (HERE / "architectures", HERE / "checkpoint.py", HERE / "counting.py")
DATA_CODE = (HERE / "data",)
TORCH = ("torch", "numpy")
CONVERTER = ("torch", "litert-torch", "litert-converter", "ai-edge-litert")
QUANTIZER = ("ai-edge-quantizer", "ai-edge-litert", "numpy", "pillow")
RUNTIME = ("ai-edge-litert", "numpy", "pillow")


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
    _model: torch.nn.Module | None = None

    def build(self) -> Finished:
        """The network with its weights: ``model.safetensors`` and its counts."""
        from compressors import architectures

        source = architectures.source_file(self.recipe.model.architecture)
        depends = {
            "model": self.recipe.model.model_dump(),
            "weights": self.inputs.weights_sha256,
            "seed": self.recipe.seed,
            "crop": self.recipe.preprocessing.crop,
            "code": code_digest(*ARCHITECTURE_CODE, *([source] if source else [])),
            "versions": versions(TORCH),
        }

        def work(folder: Path) -> Result:
            from compressors.checkpoint import write_state
            from compressors.counting import count

            model = self._fresh_model()
            if self.inputs.weights is not None:
                from compressors.checkpoint import load_into

                load_into(model, self.inputs.weights, self.recipe.model.architecture)
            self._model = model
            size = self.recipe.preprocessing.crop
            counted = count(model, (1, 3, size, size))
            write_state(model, folder / "model.safetensors")
            return {"macs": counted.macs, "parameters": counted.parameters, "nonzeros": counted.nonzeros}

        def note(result: Result) -> str:
            return f"{result['parameters'] / 1e6:.2f} M parameters, {result['macs'] / 1e6:.1f} M MACs"

        return self._stage("build", depends, work, note)

    def export(self, built: Finished) -> Finished:
        """The network as float32 ``model.tflite``."""
        depends = {
            "model": built.key,
            "code": code_digest(HERE / "export.py"),
            "versions": versions(CONVERTER),
        }

        def work(folder: Path) -> Result:
            from compressors.export import export_tflite

            target = folder / FILE
            export_tflite(self._loaded_model(built), self.recipe.preprocessing.crop, target)
            return {"bytes": target.stat().st_size}

        return self._stage("export to .tflite", depends, work, _size_note)

    def compare(self, built: Finished, exported: Finished) -> None:
        """Check that the exported file computes what the network does, on photos where there are any."""
        photos = [photo.path for photo in self.inputs.evaluation] or list(self.inputs.calibration)
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

            for path in photos[:COMPARED]:
                self.progress.advance()
                yield centre(open_photo(path), self.recipe.preprocessing.record())
            if not photos:
                random, size = np.random.default_rng(self.recipe.seed), self.recipe.preprocessing.crop
                for _ in range(COMPARED):
                    self.progress.advance()
                    yield random.standard_normal((1, size, size, 3)).astype(np.float32)

        def work(_folder: Path) -> Result:
            from compressors.export import compare

            found = compare(self._loaded_model(built), exported.file(FILE), samples())
            return {
                "samples": found.samples,
                "what": "photos" if photos else "random inputs",
                "relative": found.relative,
                "same_top1": found.same_top1,
            }

        def note(result: Result) -> str:
            return (
                f"outputs differ by at most {result['relative']:.1e} of their range on {result['samples']} "
                f"{result['what']}, {result['same_top1']} with the same top-1"
            )

        done = self._stage(
            "compare with the network", depends, work, note, total=min(COMPARED, len(photos) or COMPARED)
        )
        self.notes.append(f"export: against the torch network, {note(done.result)}")

    def quantize(self, made: Finished, step: Quantize) -> Finished:
        """The file quantized as the step says."""
        calibrates = step.scheme == "static-int8"
        section = self.recipe.data.calibration
        photos, crops = self.inputs.calibration, section.crops if section else 0
        depends: dict[str, Any] = {
            "file": made.files[FILE],
            "step": step.model_dump(),
            "code": code_digest(HERE / "steps" / "quantize.py", *DATA_CODE),
            "versions": versions(QUANTIZER),
            "machine": platform.machine(),
        }
        if calibrates and section:
            depends["calibration"] = {
                "photos": self.inputs.calibration_sha256,
                "section": section.model_dump(exclude={"folder"}),
                "preprocessing": self.recipe.preprocessing.model_dump(),
                "seed": self.recipe.seed,
            }

        def work(folder: Path) -> Result:
            from compressors.data.preprocessing import calibration_samples
            from compressors.steps.quantize import quantize

            samples: Iterator[NDArray[np.float32]] = iter(())
            if calibrates and section:
                samples = calibration_samples(
                    photos,
                    self.recipe.preprocessing.record(),
                    crops=crops,
                    scale=(section.scale[0], section.scale[1]),
                    seed=self.recipe.seed,
                )
            target = folder / FILE
            quantize(made.file(FILE), target, step, samples, self.progress.advance)
            return {"bytes": target.stat().st_size}

        total = len(photos) * max(1, crops) if calibrates else None
        done = self._stage(f"quantize {step.scheme}", depends, work, _size_note, total=total)
        if calibrates:
            how = f"{crops} random crops each" if crops else "the centre of each"
            self.notes.append(
                f"quantize: {step.scheme}, {step.ranges} ranges over {len(photos)} photos, {how}, "
                f"seed {self.recipe.seed}"
            )
        else:
            self.notes.append(f"quantize: {step.scheme}")
        if calibrates and self.inputs.shared_photos:
            self.notes.append(
                f"warning: {self.inputs.shared_photos} calibration photos are evaluation photos, too; "
                "the accuracy is flattered"
            )
        return done

    def evaluate(self, file: Path, sha256: str) -> Answers | None:
        """The file's answers to the labelled photos; None where there are none."""
        photos = self.inputs.evaluation
        if not photos:
            self.notes.append("accuracy: not measured; the recipe was run without labelled photos")
            return None
        depends = {
            "file": sha256,
            "photos": self.inputs.evaluation_sha256,
            "labels": [photo.label for photo in photos],
            "preprocessing": self.recipe.preprocessing.model_dump(),
            "code": code_digest(HERE / "evaluate.py", *DATA_CODE),
            "versions": versions(RUNTIME),
            "machine": platform.machine(),
        }

        def work(_folder: Path) -> Result:
            from compressors.evaluate import answer

            found = answer(file, photos, self.recipe.preprocessing.record(), self.progress.advance)
            return {"labels": found.labels, "best": found.best, "classes": found.classes}

        def note(result: Result) -> str:
            right = sum(label == best[0] for label, best in zip(result["labels"], result["best"], strict=True))
            return f"top-1 right on {right} of {len(photos)} photos"

        from compressors.evaluate import Answers

        result = self._stage("evaluate the file", depends, work, note, total=len(photos)).result
        return Answers(
            labels=tuple(result["labels"]), best=tuple(tuple(b) for b in result["best"]), classes=result["classes"]
        )

    # inside

    def _stage(
        self,
        name: str,
        depends: dict[str, Any],
        work: Callable[[Path], Result],
        note: Callable[[Result], str],
        total: int | None = None,
    ) -> Finished:
        told = False

        def begin_and_work(folder: Path) -> Result:
            nonlocal told
            told = True
            self.progress.begin(f"{self.recipe.name}: {name}", total)
            return work(folder)

        done = self.cache.run(name, depends, begin_and_work)
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

    def _fresh_model(self) -> torch.nn.Module:
        import torch

        from compressors import architectures
        from compressors.quiet import quiet

        torch.manual_seed(self.recipe.seed)
        with quiet():  # a user's factory may talk, too
            return architectures.build(self.recipe.model.architecture, **self.recipe.model.options)

    def _loaded_model(self, built: Finished) -> torch.nn.Module:
        if self._model is None:
            from compressors.checkpoint import load_into

            self._model = self._fresh_model()
            load_into(self._model, built.file("model.safetensors"), self.recipe.model.architecture)
        return self._model


def _size_note(result: Result) -> str:
    return f"{result['bytes'] / 1e6:.2f} MB"


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Package -> installed version."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
