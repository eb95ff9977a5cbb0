"""The latency test of Torch-Pruning: a network pruned step by step, and what every step takes on a device.

``latency.py`` of github.com/VainF/Torch-Pruning prunes all layers alike, by 1/20 of their channels in each of 20 steps,
and prints MACs, parameters and latency. The same is done here with the harness in place of its CUDA-only loop. Its
published run is titled ResNet-50; its figures (11.58 G MACs, 60.19 M parameters) are those of ResNet-152.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressors.search.lookup import COUNTED
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_file
from zoo.measurement import Measurement
from zoo.meter import Identity, Meter, Piece, figure

if TYPE_CHECKING:
    import torch

    from compressors.steps.prune.structure import Structure

PROGRAMS = ("pt2", "tflite")
"""What can be exported, the program of torch first: it takes batches."""


@dataclass(frozen=True)
class Step:
    """A step: MACs and parameters of one sample's network, and its measurement.

    ``value``, ``low`` and ``high`` are milliseconds of a batch, or instructions.
    """

    number: int
    macs: int
    parameters: int
    channels: Mapping[str, int]
    measurement: Measurement
    value: float
    low: float
    high: float

    def record(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "step": self.number,
            "macs": self.macs,
            "parameters": self.parameters,
            "value": self.value,
            "interval": [self.low, self.high],
            "verdict": self.measurement.verdict.name,
            "reason": self.measurement.verdict.reason,
            "channels": dict(self.channels),
            "file_sha256": self.measurement.artifact_sha256,
            "job_key": self.measurement.job_key,
        }


def program_of(identity: Identity, batch: int) -> str:
    """What to export for a device.

    Raises:
        BadInput: its runner takes neither, or none with such a batch.
    """
    found = next((form for form in PROGRAMS if form in identity.formats), None)
    if found is None:
        raise BadInput(
            f"the {identity.runner} runner on {identity.device} runs {', '.join(identity.formats) or 'nothing known'}; "
            f"networks are exported as {' and '.join(PROGRAMS)}",
            hint="devices list",
        )
    if found == "tflite" and batch != 1:
        raise BadInput(
            f"a .tflite file is exported for one sample, not for a batch of {batch}",
            hint="--batch 1, or a device whose runner is torch",
        )
    return found


def counts_at(structure: Structure, share: float) -> dict[str, int]:
    """What every prunable group keeps when ``share`` of its channels is gone, at least one."""
    from compressors.steps.prune.criteria import kept_of

    return {
        group.name: kept_of(group.channels, min(share, 1 - 1e-9), 1, group.multiple) for group in structure.prunable
    }


def curve(
    model: torch.nn.Module,
    shape: tuple[int, int, int, int],
    meter: Meter,
    *,
    name: str,
    steps: int = 20,
    batch: int = 1,
    warmup: int = 10,
    runs: int = 50,
    repeats: int = 3,
    say: Callable[[str], None] = lambda _text: None,
) -> list[Step]:
    """Prune, export and measure; all steps are measured in blocks, so that drift hits them alike.

    Args:
        model: the unpruned network; not changed.
        shape: (1, C, H, W) of one sample.
        meter: measures.
        name: of the network.
        steps: in how many equal steps all channels go; the last leaves one of each group.
        batch: samples at once.
        warmup: runs before those that count.
        runs: of each process.
        repeats: processes.
        say: told what is made.

    Raises:
        BadInput: the device cannot be measured so.
        DeviceUnavailable: it was lost; what was measured is known when it is asked again.
        WorkFailed: a step cannot be exported or measured.
    """
    from compressors.steps.prune.criteria import choose, importance
    from compressors.steps.prune.structure import remove, trace

    identity = meter.identify()
    form = program_of(identity, batch)
    if identity.metric == "instructions":
        warmup, runs, repeats = COUNTED
    structure = trace(model, shape)
    full = structure.full()
    scores = importance(model, structure, "random", None, 0)
    made: list[tuple[int, dict[str, int], Piece]] = []
    with tempfile.TemporaryDirectory(prefix="pocketzoo-curve-") as folder:
        for number in range(steps + 1):
            counts = counts_at(structure, number / steps)
            fewer = {group: kept for group, kept in counts.items() if kept != full[group]}
            gone = choose(scores, fewer, structure=structure) if fewer else {}
            network = remove(model, shape, gone, structure) if fewer else model
            path = Path(folder) / f"{name}-step{number:02d}.{form}"
            _export(network, shape, batch, path, form)
            say(
                f"step {number} of {steps}: {structure.macs(counts) / 1e9:.4g} G MACs, "
                f"{structure.parameters(counts) / 1e6:.4g} M parameters"
            )
            piece = Piece(path, sha256_file(path), path.stem, warmup, runs, repeats, checked=form == "tflite")
            made.append((number, counts, piece))
        result = meter.measure([piece for _, _, piece in made])
    if result.error is not None:
        raise result.error
    found = []
    for number, counts, piece in made:
        m = result.measurements.get(piece.sha256)
        values = figure(m) if m is not None else None
        if m is None or values is None:
            why = (m.error or m.verdict.reason) if m is not None else "; ".join(result.impossible)
            raise WorkFailed(f"step {number} cannot be measured on {identity.device}: {why or 'no number'}")
        found.append(Step(number, structure.macs(counts), structure.parameters(counts), counts, m, *values))
    return found


def _export(model: torch.nn.Module, shape: tuple[int, int, int, int], batch: int, path: Path, form: str) -> None:
    if form == "tflite":
        from compressors.export import export_tflite

        export_tflite(model, shape[2], path, shape[1])
        return
    import torch

    from compressors.quiet import quiet

    with quiet(), torch.no_grad():
        torch.export.save(torch.export.export(model.eval(), (torch.zeros(batch, *shape[1:]),)), path)


def text_of(steps: list[Step], unit: str, batch: int) -> str:
    """The curve as a table, speed-ups against the first step."""
    from tabulate import tabulate

    base = steps[0]
    rows = [
        [
            each.number,
            f"{each.macs / 1e9:.4f}",
            f"{each.parameters / 1e6:.4f}",
            f"{each.value:.4g}",
            f"{each.low:.4g} to {each.high:.4g}",
            f"{base.macs / max(1, each.macs):.2f}",
            f"{base.value / each.value:.2f}",
            each.measurement.verdict.name,
        ]
        for each in steps
    ]
    what = unit if batch == 1 else f"{unit} of {batch} samples"
    headers = ["step", "G MACs", "M parameters", what, "95% interval", "MACs ÷", f"{unit} ÷", "verdict"]
    return tabulate(rows, headers=headers, disable_numparse=True)
