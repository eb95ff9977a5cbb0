"""The learning rate at a step: a pure function, so that a resumed training has the same one."""

from __future__ import annotations

import math

from compressors.train_section import Train

POWER = 0.9


def learning_rate(how: Train, step: int, steps_per_epoch: int) -> float:
    """The learning rate that step number ``step`` (from 0) is made with.

    Linear warm-up (Goyal et al., 2017, arXiv:1706.02677, section 2.2) from lr/steps to lr, then by ``how.schedule``.
    Cosine goes to 0 over what is left (Loshchilov and Hutter, 2017, arXiv:1608.03983, without restarts), and so does
    poly, with a power of 0.9 (Chen et al., 2017, arXiv:1706.05587, section 4.1).
    """
    warmup = round(how.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return how.lr * (step + 1) / warmup
    if how.schedule == "constant":
        return how.lr
    if how.schedule == "step":
        passed = sum(step >= round(milestone * steps_per_epoch) for milestone in how.milestones)
        return how.lr * how.gamma**passed
    total = how.epochs * steps_per_epoch
    share = (step - warmup) / max(1, total - warmup)
    if how.schedule == "poly":
        return how.lr * math.pow(max(0.0, 1 - share), POWER)
    return how.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
