"""The network a search by latency works on: trained, traced, exported, and taken apart into what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.search.parts import Parts, read_parts
from compressors.stages import FILE, Stages
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_json

if TYPE_CHECKING:
    import torch

    from compressors.cache import Finished, StageCache
    from compressors.progress import Progress
    from compressors.recipe import Loaded
    from compressors.steps.prune.structure import Structure


@dataclass
class Subject:
    """A recipe's network and everything a search asks of it.

    Args:
        stages: of the recipe.
        trained: its finished network.
        model: that network; not changed.
        structure: of it.
        file: its float32 .tflite.
        parts: the operators of that file.
        keep: layers whose channels stay.
    """

    stages: Stages
    trained: Finished
    model: torch.nn.Module
    structure: Structure
    file: Path
    parts: Parts
    keep: tuple[str, ...] = ()
    _scores: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Of the recipe."""
        return self.stages.recipe.name

    @cached_property
    def full(self) -> dict[str, int]:
        """Every group with all of its channels; also those that cannot be pruned, which predictions ask for."""
        return {group.name: group.channels for group in self.structure.groups}

    def counts(self, kept: Mapping[str, int]) -> dict[str, int]:
        """Every group: as kept, or whole."""
        return {**self.full, **kept}

    @cached_property
    def identity(self) -> str:
        """What decides a network besides its channels."""
        recipe = self.stages.recipe
        said = [self.trained.files["model.safetensors"], recipe.model.model_dump(), self.stages.shape, self.keep]
        return sha256_json(said)

    def pruned(self, kept: Mapping[str, int], criterion: str = "l1") -> torch.nn.Module:
        """A copy with these counts, the least important channels gone."""
        from compressors.steps.prune.criteria import choose, importance
        from compressors.steps.prune.structure import remove

        counts = {name: n for name, n in kept.items() if n != self.full[name]}
        if not counts:
            return self.model
        if criterion not in self._scores:
            self._scores[criterion] = importance(self.model, self.structure, criterion, None, self.stages.recipe.seed)
        removed = choose(self._scores[criterion], counts, structure=self.structure)
        return remove(self.model, self.structure.shape, removed, self.structure)

    def export(self, kept: Mapping[str, int], folder: Path) -> Path:
        """The file of the pruned network, held against what its channels say of it.

        Raises:
            WorkFailed: its operators are not those that were looked up.
        """
        from compressors.export import export_tflite

        if all(kept[name] == self.full[name] for name in kept):
            return self.file
        network = self.pruned(kept)
        _, channels, size, _ = self.stages.shape
        path = folder / f"{sha256_json(dict(kept))[:16]}.tflite"
        export_tflite(network, size, path, channels)
        self._check(path, kept)
        return path

    def _check(self, path: Path, kept: Mapping[str, int]) -> None:
        from compressors.counting import file_macs
        from zoo import tflite

        counts = self.counts(kept)
        expected = sum(part.geometry.macs(*part.at(counts)) for part in self.parts.parts)
        found = file_macs(tflite.inspect(path))
        if found != expected:
            raise WorkFailed(
                f"the pruned file computes {found:,} MACs, and the table was asked for {expected:,}"
                if found is not None
                else "the pruned file's shapes are not known before it runs",
                where=str(path),
                hint="report the network: how its channels depend on each other is not understood",
            )


def subject_of(
    loaded: Loaded, progress: Progress, keep: Sequence[str] = (), cache: StageCache | None = None
) -> Subject:
    """Build and train the network of a recipe (or take it out of the cache), and take it apart.

    Raises:
        BadInput: files the recipe needs are missing, or it compresses already.
        WorkFailed: it cannot be traced, or nothing of it can be pruned.
    """
    from compressors.cache import StageCache as Cache
    from compressors.inputs import gather
    from compressors.learning import train
    from compressors.steps.prune.structure import trace
    from compressors.steps.quantize.layers import nodes_of
    from pocketzoo.home import home

    if loaded.recipe.task != "image-classification":
        raise BadInput(
            f"{loaded.recipe.name} is for {loaded.recipe.task}, and this search weighs latency against top-1",
            where=str(loaded.path),
            hint="a prune step with protocol sensitivity or ddpg-amc judges by the task's own metric",
        )
    if loaded.recipe.steps:
        raise BadInput(
            f"{loaded.recipe.name} has steps of its own; a search begins with the network as it was trained",
            where=str(loaded.path),
            hint=f"--model {loaded.parent.recipe.name if loaded.parent else 'a recipe without steps'}",
        )
    section = loaded.recipe.data.training
    inputs = gather(loaded, judged=section is not None and section.folder is not None)
    stages = Stages(loaded.recipe, inputs, progress, cache or Cache(home() / "cache" / "compress"), set())
    trained = stages.build()
    if loaded.recipe.trains_float:
        trained = train(stages, trained)
    exported = stages.export(trained)
    model = stages.model(trained)
    structure = trace(model, stages.shape, keep)
    _ = structure.prunable  # an error where there is none
    file = exported.file(FILE)
    nodes = nodes_of(model, stages.shape, file)
    parts = read_parts(
        file,
        {node.outputs[0]: layer for layer, node in nodes.items()},
        {layer: group.name for group in structure.groups for layer in group.outputs},
        {group.name: group.channels for group in structure.groups},
    )
    return Subject(stages, trained, model, structure, file, parts, tuple(keep))
