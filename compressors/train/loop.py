"""The training loop, on Hugging Face accelerate: a CPU, a GPU, or several by ``accelerate launch``.

The same seed, data, settings and number of threads give the same weights, also when the training was killed and
resumed: the order of an epoch depends on (seed, epoch), augmentation on (seed, epoch, index), dropout on (seed, step),
and a checkpoint holds the rest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from compressors import processes
from compressors.data.batches import Batch, Loader
from compressors.quiet import quiet
from compressors.train import checkpoint, log
from compressors.train.checkpoint import Position
from compressors.train.schedule import learning_rate
from compressors.train.task import Outcome, Task
from compressors.train_section import Train
from pocketzoo.errors import BadInput, WorkFailed

if TYPE_CHECKING:
    from compressors.progress import Progress

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
LOOKED_AT = 20  # steps between looks at the loss: each look waits for the device

__all__ = ["CHECKPOINT", "LOG", "Outcome", "Task", "train"]


def train(model: nn.Module, task: Task, folder: Path, progress: Progress) -> Outcome:
    """Train a network in place; it is left on the CPU in evaluation mode with the kept epoch's weights.

    Args:
        model: takes (n, C, H, W), gives (n, classes).
        task: what and how.
        folder: keeps the checkpoint and ``log.jsonl``; a training that was killed goes on from what it holds.
        progress: one advance for each step, a line for each epoch.

    Raises:
        BadInput: a batch larger than the data or not divisible among the processes; a checkpoint of other settings.
        WorkFailed: the loss became NaN or infinite; the step is named, the last good checkpoint stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return _Loop(model, task, folder, progress).run()


class _Loop:
    def __init__(self, model: nn.Module, task: Task, folder: Path, progress: Progress) -> None:
        if processes.by_itself():
            raise WorkFailed(
                f"{task.title}: this stage trains in one process, and {processes.count()} were started",
                hint="run it without accelerate launch",
            )
        how = task.how
        self.task, self.how, self.progress = task, how, progress
        self.checkpoint, self.log = folder / CHECKPOINT, folder / LOG
        self.bare = model
        with quiet():
            self.accelerator = _accelerator(how)
        world = self.accelerator.num_processes
        images = len(task.training.labels)
        if images < how.batch:
            raise BadInput(
                f"a batch of {how.batch} from {images} training images",
                hint=f"--set train.batch={max(1, images // 4)}, or give more data",
            )
        if how.batch % world:
            raise BadInput(f"a batch of {how.batch} cannot be shared by {world} processes", hint="--set train.batch=N")
        self.loader = Loader(
            task.training,
            task.preprocessing,
            how.batch // world,
            seed=task.seed,
            augmentation=task.augmentation,
            shuffle=True,
            drop_last=True,
            process=self.accelerator.process_index,
            processes=world,
        )
        self.per_epoch = len(self.loader)
        if self.accelerator.device.type == "cuda":
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = self.accelerator.prepare_model(model)
        self.optimizer = _optimizer(self.model, how)
        self.position = Position(settings=task.settings)
        self.masking, self.sparse = task.masking, True
        self.ema: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.more: dict[str, Tensor] = {}

    def run(self) -> Outcome:
        resumed = self._restore()
        if self.masking is not None:
            self.masking.begin(self.bare, self.how.epochs * self.per_epoch, self.more)
        if processes.agreed(self.position.step) != self.position.step:
            raise processes.not_shared(str(self.checkpoint))
        if self.how.ema is not None and not self.ema:
            self.ema = _copy(self.bare.state_dict())
        at, total = self.position, self.how.epochs * self.per_epoch
        self.progress.begin(self.task.title, total)
        if resumed is not None:
            self.progress.say(f"goes on after step {resumed} of {total}")
            for _ in range(resumed):
                self.progress.advance()
        patience = self.how.early_stop or self.how.epochs
        while at.epoch < self.how.epochs and (not at.best_epoch or at.epoch - at.best_epoch < patience):
            self._epoch()
        if self.how.keep == "best":
            self.bare.load_state_dict(self.best)
        elif self.ema:
            self.bare.load_state_dict(self.ema)
        self.bare.to("cpu")
        self.bare.eval()
        kept = at.best_epoch if self.how.keep == "best" else at.epoch
        return Outcome(
            epochs=at.epoch,
            steps=at.step,
            kept=kept,
            accuracy=at.accuracy[kept - 1],
            last_accuracy=at.accuracy[-1],
            loss=at.loss[-1],
            resumed_at=resumed,
        )

    def _epoch(self) -> None:
        at, how = self.position, self.how
        number = at.epoch
        self.model.train()
        done = at.step - number * self.per_epoch
        watch = _Watch(self)
        for inputs, labels in self._tensors(self.loader.epoch(number, start=done)):
            rate = learning_rate(how, at.step, self.per_epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            seeds = np.random.SeedSequence([self.task.seed, at.step, self.accelerator.process_index])
            torch.manual_seed(int(seeds.generate_state(1)[0]))
            self.optimizer.zero_grad(set_to_none=True)
            with self.accelerator.autocast():
                loss = self._loss(inputs, labels)
            self.accelerator.backward(loss)
            if self.task.regulariser is not None:
                self.task.regulariser.after_backward(self.bare)
            if self.masking is not None:
                self.masking.after_backward(self.bare)
            self.optimizer.step()
            if self.masking is not None:
                self.sparse = self.masking.after_step(self.bare, self.optimizer, at.step + 1)
            if how.ema is not None:
                _average(self.ema, self.bare.state_dict(), how.ema)
            at.step += 1
            done += 1
            watch.see(loss, rate)
            self.progress.advance()
            if at.step % how.checkpoint_steps == 0 and done < self.per_epoch:
                watch.look()
                self._save(watch.partial)
        watch.look()
        self._finish_epoch(watch)

    def _finish_epoch(self, watch: _Watch) -> None:
        at = self.position
        if self.accelerator.num_processes > 1:
            # Batch norm's statistics and learnt ranges are each process's own; the first one's count.
            for state in (*self.bare.buffers(), *self.ema.values()):
                torch.distributed.broadcast(state, 0)
        with self._averaged():
            accuracy = self._judge()
        if self.task.regulariser is not None:
            self.task.regulariser.after_epoch(self.bare)
        at.epoch += 1
        at.loss.append(watch.mean)
        at.accuracy.append(accuracy)
        if self.sparse and (not at.best_epoch or accuracy > at.accuracy[at.best_epoch - 1]):
            at.best_epoch = at.epoch
            self.best = _copy(self.ema or self.bare.state_dict())
        if self.accelerator.is_main_process:
            log.append(
                self.log,
                kind="epoch",
                step=at.step,
                epoch=at.epoch,
                loss=watch.mean,
                lr=watch.rate,
                accuracy=accuracy,
                images_per_s=watch.speed,
            )
        self._save([])
        self.progress.say(
            f"epoch {at.epoch} of {self.how.epochs}: loss {watch.mean:.4f}, held-out {self.task.kind.metric} "
            f"{accuracy:.2f} %, "
            f"{watch.speed:.0f} images/s"
        )

    def _loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        if self.task.objective is not None:
            return self.task.objective(self.model, inputs, labels)
        return self.task.kind.loss(self.model(inputs), labels, self.how.label_smoothing)

    def _tensors(self, made: Iterator[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches on the device; the next one is made while one is used."""
        device = self.accelerator.device
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            ahead = pool.submit(next, made, None)
            while (batch := ahead.result()) is not None:
                ahead = pool.submit(next, made, None)
                inputs = _in_torchs_order(torch.from_numpy(batch.images), device)
                yield inputs.to(device, non_blocking=True), torch.from_numpy(batch.labels).to(device, non_blocking=True)

    def _judge(self) -> float:
        """The task's metric in percent on the held-out split, which every process takes a share of."""
        from accelerate.utils import gather_object

        self.model.eval()
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        kind = self.task.kind
        tally = kind.tally()
        whole = Loader(self.task.held_out, self.task.preprocessing, kind.judged_at_once)
        mine = (batch for number, batch in enumerate(whole.epoch(0)) if number % world == rank)
        with torch.no_grad():
            for inputs, labels in self._tensors(mine):
                # The network itself, not its distributed wrapper: shares of different length must not wait for another.
                tally.see(self.bare(inputs), labels)
        parts: list[Any] = [tally.parts()]
        return kind.percent(gather_object(parts) if world > 1 else parts)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones, where there are any."""
        if not self.ema:
            yield
            return
        trained = _copy(self.bare.state_dict())
        self.bare.load_state_dict(self.ema)
        try:
            yield
        finally:
            self.bare.load_state_dict(trained)

    def _save(self, partial: list[float]) -> None:
        if self.accelerator.is_main_process:
            # The losses of an epoch that is not finished travel along, so that its mean is the same after a resume.
            at = replace(self.position, loss=[*self.position.loss, *partial])
            regulariser = self.task.regulariser
            more = regulariser.state() if regulariser is not None else {}
            if self.masking is not None:
                more = {**more, **self.masking.state()}
            slots = self.optimizer.state_dict()
            checkpoint.save(self.checkpoint, at, self.bare.state_dict(), slots, self.ema, self.best, more)

    def _restore(self) -> int | None:
        found = checkpoint.load(self.checkpoint, self.task.settings)
        if found is None:
            if self.accelerator.is_main_process:
                self.log.unlink(missing_ok=True)
            return None
        self.position, model, slots, self.ema, self.best, self.more = found
        if self.task.regulariser is not None:
            self.task.regulariser.restore(self.more)
        self.bare.load_state_dict(model)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        device = self.accelerator.device
        self.ema = {name: value.to(device) for name, value in self.ema.items()}
        if self.accelerator.is_main_process:
            log.cut(self.log, self.position.step)
        return self.position.step


class _Watch:
    """The losses of an epoch: looked at now and then, because each look waits for the device."""

    def __init__(self, loop: _Loop) -> None:
        self.loop = loop
        self.waiting: list[Tensor] = []
        epochs = loop.position.epoch
        self.partial = loop.position.loss[epochs:]
        del loop.position.loss[epochs:]
        self.seen, self.rate = 0, 0.0
        self.since = self.began = time.monotonic()

    @property
    def mean(self) -> float:
        """Of the epoch so far."""
        return math.fsum(self.partial) / len(self.partial)

    @property
    def speed(self) -> float:
        """Images per second of the epoch so far."""
        return self.seen * self.loop.how.batch / max(1e-9, time.monotonic() - self.began)

    def see(self, loss: Tensor, rate: float) -> None:
        """A step was made."""
        self.waiting.append(loss.detach())
        self.rate = rate
        self.seen += 1
        if len(self.waiting) >= LOOKED_AT:
            self.look()

    def look(self) -> None:
        """Check and log the losses since the last look.

        Raises:
            WorkFailed: one of them is NaN or infinite.
        """
        if not self.waiting:
            return
        loop = self.loop
        losses: Any = torch.stack(self.waiting).float()
        if loop.accelerator.num_processes > 1:
            # The mean of all, so that all of them stop at the same step if one breaks.
            losses = loop.accelerator.reduce(losses, "mean")
        found = losses.cpu().tolist()
        step = loop.position.step
        for index, value in enumerate(found):
            if not math.isfinite(value):
                if not loop.accelerator.is_main_process:
                    raise SystemExit(1)  # the main process tells
                bad = step - len(found) + index + 1
                good = loop.checkpoint
                raise WorkFailed(
                    f"the loss became {value} at step {bad} (epoch {loop.position.epoch + 1})",
                    detail=(f"learning rate {learning_rate(loop.how, bad - 1, loop.per_epoch):g}",),
                    where=f"last good checkpoint: {good}" if good.is_file() else None,
                    hint=f"a smaller train.lr (now {loop.how.lr:g}), or a longer train.warmup_epochs",
                )
        self.partial += found
        if loop.accelerator.is_main_process:
            seconds = max(1e-9, time.monotonic() - self.since)
            log.append(
                loop.log,
                kind="steps",
                step=step,
                epoch=loop.position.epoch + 1,
                loss=math.fsum(found) / len(found),
                lr=self.rate,
                images_per_s=len(found) * loop.how.batch / seconds,
            )
        self.waiting, self.since = [], time.monotonic()


def _in_torchs_order(images: Tensor, device: torch.device) -> Tensor:
    """(n, H, W, C) as (n, C, H, W), the same memory: channels last, which GPUs and oneDNN compute photos fastest in.

    Grey images are both layouts at once. On a processor the small networks they are for are faster in torch's own
    (docs/decisions/0226).
    """
    if images.shape[3] == 1 and device.type == "cpu":
        return images.reshape(images.shape[0], 1, *images.shape[1:3])
    return images.permute(0, 3, 1, 2)


def _accelerator(how: Train) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # The state is one for the process and remembers the precision of the first training; a recipe may have two.
    AcceleratorState._reset_state()
    if processes.count() > 1:
        processes.join()
    return Accelerator(
        mixed_precision="bf16" if how.precision == "bfloat16" else "no", cpu=not torch.cuda.is_available()
    )


def _optimizer(model: nn.Module, how: Train) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if how.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=how.lr, betas=(how.momentum, 0.999), weight_decay=how.weight_decay)
    return torch.optim.SGD(
        parameters, lr=how.lr, momentum=how.momentum, nesterov=how.nesterov, weight_decay=how.weight_decay
    )


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


def _average(ema: dict[str, Tensor], state: dict[str, Tensor], decay: float) -> None:
    for name, value in state.items():
        if value.is_floating_point():
            ema[name].lerp_(value.detach(), 1 - decay)
        else:
            ema[name].copy_(value)
