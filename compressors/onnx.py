"""The network as .onnx, beside the .tflite, and the proof that it computes the same. Needs the extra ``onnx``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from compressors.cache import Finished, Result, code_digest
from compressors.culprit import culprit
from compressors.depends import HERE, TORCH, versions
from compressors.export import LARGEST_DIFFERENCE, Difference, reason_of
from compressors.quiet import quiet
from compressors.stages import COMPARED, Stages, size_note
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

ONNX = "model.onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_extra() -> None:
    """Raises:
    BadInput: a package of the extra is missing, with the command that installs it.
    """
    from importlib.util import find_spec

    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise BadInput(f"export to .onnx needs {', '.join(missing)}", hint="pip install 'pocketzoo[onnx]'")


def export_onnx(model: torch.nn.Module, shape: tuple[int, int, int, int], target: Path) -> dict[str, int]:
    """Convert to float32 .onnx with the input as torch has it, (1, C, H, W).

    Returns:
        Operator -> how often.

    Raises:
        BadInput: the extra is missing.
        WorkFailed: the converter fails (the module is named where torch tells), or the result needs operators of
            another domain than ONNX's own.
    """
    check_extra()
    import onnx
    import torch

    with quiet() as noise:
        try:
            program = torch.onnx.export(model.eval(), (torch.zeros(shape),), dynamo=True)
            if program is None:
                raise RuntimeError("the exporter gave nothing")
            made = program.model_proto
            content: bytes = made.SerializeToString()
            onnx.checker.check_model(made)
        except (KeyboardInterrupt, MemoryError, PocketzooError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            cause = error.__cause__ or error  # torch's own error says at which of its steps, the cause says why
            raise WorkFailed(
                "the network cannot be converted to .onnx",
                detail=(reason_of(cause), *(culprit(error, model, torch.zeros(shape)) or noise.tail(2))),
                hint="replace the operation named above in the network, or run again with --debug",
            ) from error
    foreign = sorted(
        {f"{node.domain}.{node.op_type}" for node in made.graph.node if node.domain not in ("", "ai.onnx")}
    )
    if foreign:
        raise WorkFailed(f"the converted file needs operators that are not ONNX's own: {', '.join(foreign)}")
    target.write_bytes(content)
    return dict(sorted(Counter(node.op_type for node in made.graph.node).items()))


def compare_onnx(model: torch.nn.Module, file: Path, samples: Iterable[NDArray[np.float32]]) -> Difference:
    """Run a network and its .onnx file on the same inputs, (1, H, W, C) each.

    Raises:
        WorkFailed: they differ by more than :data:`compressors.export.LARGEST_DIFFERENCE` of an output's range.
    """
    import numpy as np
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    count, largest, relative, same = 0, 0.0, 0.0, 0
    ranges: list[tuple[float, float]] = []
    apart: list[float] = []
    for sample in samples:
        inputs = np.ascontiguousarray(sample.transpose(0, 3, 1, 2))
        with torch.no_grad():
            answer = model(torch.from_numpy(inputs))
        expected = [one.numpy() for one in ([answer] if isinstance(answer, torch.Tensor) else answer)]
        got = [np.asarray(one) for one in session.run(None, {name: inputs})]
        if [one.shape for one in got] != [one.shape for one in expected] or not all(
            np.isfinite(one).all() for one in got
        ):
            shapes = [", ".join(str(one.shape) for one in outputs) for outputs in (got, expected)]
            raise WorkFailed(f"the .onnx file answers with shape {shapes[0]} or NaN, the network with {shapes[1]}")
        if not count:
            ranges, apart = [(np.inf, -np.inf)] * len(got), [0.0] * len(got)
        count += 1
        same += int(expected[0].argmax() == got[0].argmax())
        for place, (one, other) in enumerate(zip(expected, got, strict=True)):
            apart[place] = max(apart[place], float(np.abs(one - other).max()))
            low, high = ranges[place]
            ranges[place] = (min(low, float(one.min())), max(high, float(one.max())))
    for difference, (low, high) in zip(apart, ranges, strict=True):
        largest = max(largest, difference)
        relative = max(relative, difference / (high - low) if high > low else difference)
    if relative > LARGEST_DIFFERENCE:
        raise WorkFailed(f"the .onnx file does not compute what the network does: {relative:.2%} of the range apart")
    return Difference(samples=count, largest=largest, relative=relative, same_top1=same)


def stage(stages: Stages, built: Finished) -> Finished:
    """The network as float32 ``model.onnx``, held against the network."""
    depends = {
        "model": built.key,
        "seed": stages.recipe.seed,
        "code": code_digest(HERE / "onnx.py"),
        "versions": versions((*TORCH, "onnx", "onnxscript", "onnxruntime")),
    }

    def work(folder: Path) -> Result:
        import numpy as np

        _, channels, size, _ = stages.shape
        random = np.random.default_rng(stages.recipe.seed)
        samples = (random.standard_normal((1, size, size, channels)).astype(np.float32) for _ in range(COMPARED))
        target = folder / ONNX
        operators = export_onnx(stages.model(built), stages.shape, target)
        found = compare_onnx(stages.model(built), target, samples)
        return {"bytes": target.stat().st_size, "operators": operators, "relative": found.relative}

    def note(result: Result) -> str:
        apart = f"outputs differ by at most {result['relative']:.1e} of their range on {COMPARED} random inputs"
        return f"{size_note(result)}, {sum(result['operators'].values())} operators; {apart}"

    return stages.stage("export to .onnx", depends, work, note)
