"""The accuracy of a deployed .tflite file: the file itself answers, not the network it was made from."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressors.data.dataset import Arrays, Dataset, Photos, whole_of
from compressors.data.photos import LabelledPhoto
from compressors.data.preprocessing import centre
from pocketzoo.errors import BadInput, WorkFailed
from zoo.artifact import AGREEMENT, Accuracy, Preprocessing
from zoo.proportions import wilson

KEPT = 5  # best classes kept of each answer
CHUNK = 64  # images that go to a process at once
WORTH_PROCESSES = 2000  # images; below, starting processes takes longer than they save


class FileModel:
    """A .tflite file with one float or int8 image input, run one sample at a time on all cores.

    It has one output, or ``many``, which are then in the order the network gave them in.
    """

    def __init__(self, path: Path, threads: int | None = None, *, many: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter

        from compressors.quiet import quiet

        with quiet():  # the runtime announces its delegate on stderr
            try:
                self._runtime = Interpreter(model_path=str(path), num_threads=threads or len(os.sched_getaffinity(0)))
                self._runtime.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise WorkFailed(
                    "the runtime refuses the file", where=str(path), detail=(str(error).splitlines()[0][:300],)
                ) from error
        inputs, outputs = self._runtime.get_input_details(), self._runtime.get_output_details()
        if len(inputs) != 1 or not outputs or (len(outputs) != 1 and not many):
            raise WorkFailed(
                f"{len(inputs)} inputs and {len(outputs)} outputs; an image classifier has one of each", where=str(path)
            )
        self._input, self._outputs = inputs[0], _in_order(self._runtime, outputs)
        self.shape: tuple[int, ...] = tuple(int(n) for n in self._input["shape"])

    def __call__(self, sample: NDArray[np.float32]) -> NDArray[np.float32]:
        """Real input to real output: quantized inputs and outputs are converted with the file's own scales."""
        return self.outputs(sample)[0]

    def outputs(self, sample: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Real input to all real outputs."""
        if sample.shape != self.shape:
            raise WorkFailed(f"the file takes input of shape {self.shape}, found {sample.shape}")
        self._runtime.set_tensor(self._input["index"], _quantize(sample, self._input))
        self._runtime.invoke()
        return tuple(_dequantize(self._runtime.get_tensor(one["index"]), one) for one in self._outputs)


def _in_order(runtime: Any, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A file keeps its outputs in an order of its own; its signature names them output_0, output_1, ..."""
    signatures = runtime.get_signature_list()
    if len(outputs) == 1 or len(signatures) != 1:
        return outputs
    key, signature = next(iter(signatures.items()))
    names = signature["outputs"]
    if any(not name.rpartition("_")[2].isdecimal() for name in names):
        return outputs
    details = runtime.get_signature_runner(key).get_output_details()
    by_index = {one["index"]: one for one in outputs}
    ordered = sorted(names, key=lambda name: int(name.rpartition("_")[2]))
    return [by_index[details[name]["index"]] for name in ordered]


def _quantize(real: NDArray[np.float32], tensor: dict[str, Any]) -> NDArray[np.generic]:
    dtype = np.dtype(tensor["dtype"])
    if dtype.kind == "f":
        return real
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(dtype)
    stored: NDArray[np.generic] = np.clip(np.round(real / scale) + zero_point, limits.min, limits.max).astype(dtype)
    return stored


def _dequantize(stored: NDArray[Any], tensor: dict[str, Any]) -> NDArray[np.float32]:
    if stored.dtype.kind == "f":
        return stored.astype(np.float32)
    scale, zero_point = tensor["quantization"]
    real: NDArray[np.float32] = ((stored.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return real


@dataclass(frozen=True)
class Answers:
    """What a file answered: for each photo its label and the best classes, best first."""

    labels: tuple[int, ...]
    best: tuple[tuple[int, ...], ...]
    classes: int

    def right(self, k: int) -> int:
        """Photos whose label is among the best k."""
        return sum(label in best[:k] for label, best in zip(self.labels, self.best, strict=True))


def answer(
    file: Path,
    images: Sequence[LabelledPhoto] | Dataset,
    how: Preprocessing,
    on_sample: Callable[[], None] = lambda: None,
    processes: int | None = None,
) -> Answers:
    """Ask a file about labelled images; memory does not grow with their number.

    Where quantized outputs tie, the class with the lower index comes first, as ``argmax`` has it.

    Args:
        file: a .tflite classifier.
        images: a data set, or labelled photos.
        how: how an image becomes the input.
        on_sample: called after each image.
        processes: that share the work; by default one for fewer than :data:`WORTH_PROCESSES` images, else as many as
            there are processors.

    Raises:
        BadInput: a broken photo, or a label the model has no class for.
        WorkFailed: the runtime refuses the file, or its output is not (1, classes).
    """
    dataset = Photos(tuple(images), (), file) if isinstance(images, Sequence) else images
    count = len(dataset.labels)
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if count >= WORTH_PROCESSES else 1
    starts = range(0, count, CHUNK)
    found: list[tuple[list[list[int]], int]] = []
    answers = _alone(file, dataset, how, starts) if processes == 1 else _shared(file, dataset, how, starts, processes)
    for part in answers:
        found.append(part)
        for _ in part[0]:
            on_sample()
    best = tuple(tuple(ranks) for part, _ in found for ranks in part)
    return Answers(labels=tuple(int(label) for label in dataset.labels), best=best, classes=found[0][1] if found else 0)


Part = tuple[list[list[int]], int]  # the best classes of some images, and the number of classes


def _alone(file: Path, dataset: Dataset, how: Preprocessing, starts: range) -> Iterator[Part]:
    model = FileModel(file)
    return (_ask(model, file, _part(dataset, start), how) for start in starts)


def _shared(file: Path, dataset: Dataset, how: Preprocessing, starts: range, processes: int) -> Iterator[Part]:
    """Parts go out as others come back, so that no more than two per process are in memory."""
    from concurrent.futures import Future, ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_open, initargs=(file,)) as pool:
        ahead: deque[Future[Part]] = deque()
        try:
            for start in starts:
                ahead.append(pool.submit(_ask_opened, file, _part(dataset, start), how))
                if len(ahead) >= 2 * processes:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


_opened: list[FileModel] = []  # of a worker process: its model


def _open(file: Path) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _opened.append(FileModel(file, threads=1))


def _ask_opened(file: Path, part: Arrays | Photos, how: Preprocessing) -> Part:
    return _ask(_opened[0], file, part, how)


def _part(dataset: Dataset, start: int) -> Arrays | Photos:
    """``CHUNK`` images, by themselves: what travels to another process."""
    whole, indices = whole_of(dataset)
    chosen = [int(index) for index in indices[start : start + CHUNK]]
    if isinstance(whole, Arrays):
        return Arrays(np.asarray(whole.images[chosen]), whole.labels[chosen], whole.classes, whole.where)
    if not isinstance(whole, Photos):
        raise TypeError(f"a classifier is judged by whole images, not by {type(whole).__name__}")
    return Photos(tuple(whole.photos[index] for index in chosen), whole.classes, whole.where)


def _ask(model: FileModel, file: Path, part: Arrays | Photos, how: Preprocessing) -> Part:
    best: list[list[int]] = []
    classes = 0
    for index, label in enumerate(part.labels):
        output = model(centre(part.get(index), how))
        if output.ndim != 2 or output.shape[0] != 1:
            raise WorkFailed(f"the file's output has shape {output.shape}, not (1, classes)", where=str(file))
        classes = output.shape[1]
        if label >= classes:
            raise BadInput(
                f"label {label}, but the model has {classes} classes (0 to {classes - 1})",
                where=str(part.photos[index].path if isinstance(part, Photos) else part.where),
                hint="check data.evaluation: what the file names or folders call the class must be its index",
            )
        best.append([int(i) for i in np.argsort(-output[0], kind="stable")[:KEPT]])
    return best, classes


def accuracies(answers: Answers, *, dataset: str, split: str, measured_on: str) -> tuple[Accuracy, ...]:
    """Top-1, and top-5 where there are more than five classes, in percent with a 95 % Wilson interval."""
    ranks = (1, 5) if answers.classes > 5 else (1,)
    return tuple(_share(f"top{k}", answers.right(k), len(answers.labels), dataset, split, measured_on) for k in ranks)


def agreement(answers: Answers, others: Answers, *, dataset: str, split: str, measured_on: str) -> Accuracy:
    """The photos two files give the same top-1, in percent; needs no label to be right, so it sees small damage."""
    same = sum(mine[0] == theirs[0] for mine, theirs in zip(answers.best, others.best, strict=True))
    return _share(AGREEMENT, same, len(answers.best), dataset, split, measured_on)


def _share(metric: str, count: int, of: int, dataset: str, split: str, measured_on: str) -> Accuracy:
    low, high = wilson(count, of)
    return Accuracy(
        metric=metric,
        value=round(100 * count / of, 4),
        dataset=dataset,
        split=split,
        samples=of,
        measured_on=measured_on,
        ci95=(round(100 * low, 4), round(100 * high, 4)),
    )
