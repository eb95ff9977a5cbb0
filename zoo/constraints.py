"""What somebody needs of a model, as a record and as the one text that names it. Pure."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput

Prefer = Literal["accuracy", "latency", "size"]
PREFERENCES: tuple[Prefer, ...] = ("accuracy", "latency", "size")
FORMATS = ("tflite", "onnx", "safetensors", "torchscript", "pt2", "tensorrt")
MOST_THREADS = 1024
_METRIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}")


class Constraints(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model must be. Everything that is None or empty asks for nothing.

    Args:
        device: it was measured there; a name, as measurements bear it.
        fingerprint: and exactly on this one; set where the name means this machine, never by a person.
        max_latency_ms: milliseconds.
        threads: measured with so many.
        abi: measured under this one.
        affinity: measured pinned like this.
        options: measured with these settings of the runner.
        max_size_mb: all files together, in 1,000,000 bytes.
        minimum: metric and its least value, in the metric's own unit (percent for top1).
        maximum: metric and its largest value, for metrics of which less is better.
        dataset: accuracies were measured on ``DATA`` or ``DATA/SPLIT``.
        format: the file's.
        prefer: what decides among those that fit.
        allow_published: figures that somebody published and nobody measured here count too.
    """

    device: str | None = None
    fingerprint: str | None = None
    max_latency_ms: float | None = None
    threads: int | None = None
    abi: str | None = None
    affinity: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    max_size_mb: float | None = None
    minimum: tuple[tuple[str, float], ...] = ()
    maximum: tuple[tuple[str, float], ...] = ()
    dataset: str | None = None
    format: str | None = None
    prefer: Prefer = "accuracy"
    allow_published: bool = False

    @property
    def asks(self) -> bool:
        """Whether anything is asked for at all; to prefer something is to ask."""
        return msgspec.structs.replace(self, allow_published=False) != Constraints()


decodable(Constraints)


def check_constraints(wanted: Constraints) -> Constraints:
    """The constraints with metrics sorted, where they make sense.

    Raises:
        BadInput: a limit that is no positive number, or what is asked of a device without naming one.
    """
    for option, value in (("--max-latency-ms", wanted.max_latency_ms), ("--max-size-mb", wanted.max_size_mb)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise BadInput(f"{option} takes a number greater than 0, not {value:g}")
    for option, pairs in (("--min", wanted.minimum), ("--max", wanted.maximum)):
        for metric, value in pairs:
            if not _METRIC.fullmatch(metric) or not math.isfinite(value):
                raise BadInput(f"{option} takes METRIC=NUMBER, not {metric}={value:g}", hint=f"{option} top1=70")
        names = [metric for metric, _ in pairs]
        if len(set(names)) != len(names):
            raise BadInput(f"{option} names a metric twice: {', '.join(names)}")
    if wanted.threads is not None and not 1 <= wanted.threads <= MOST_THREADS:
        raise BadInput(f"--threads takes 1 to {MOST_THREADS}, not {wanted.threads}")
    if wanted.format is not None and wanted.format not in FORMATS:
        raise BadInput(f"no format {wanted.format!r}", hint=f"one of {', '.join(FORMATS)}")
    if wanted.device is None:
        needs = {
            "--max-latency-ms": wanted.max_latency_ms is not None,
            "--threads": wanted.threads is not None,
            "--abi": wanted.abi is not None,
            "--affinity": wanted.affinity is not None,
            "--option": bool(wanted.options),
            "--prefer latency": wanted.prefer == "latency",
        }
        asked = [option for option, given in needs.items() if given]
        if asked:
            raise BadInput(
                f"{asked[0]} needs --device: a latency is one of a device",
                hint="add --device local, or another name that `devices list` prints",
            )
    return msgspec.structs.replace(
        wanted,
        minimum=tuple(sorted(wanted.minimum)),
        maximum=tuple(sorted(wanted.maximum)),
        options=tuple(sorted(wanted.options)),
    )


def parse_limits(texts: Iterable[str], option: str) -> tuple[tuple[str, float], ...]:
    """``mAP=25.5`` as a metric and its limit.

    Raises:
        BadInput: not METRIC=NUMBER.
    """
    found = []
    for text in texts:
        metric, equals, number = text.partition("=")
        try:
            value = float(number) if equals and _METRIC.fullmatch(metric) else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadInput(f"{option} takes METRIC=NUMBER, not {text!r}", hint=f"{option} top1=70")
        found.append((metric, value))
    return tuple(found)


def parse_settings(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """``batch=8`` as a setting of a runner.

    Raises:
        BadInput: not NAME=VALUE, or a name twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found:
            raise BadInput(f"--option takes NAME=VALUE, each name once, not {text!r}", hint="--option batch=1")
        found[name] = value
    return tuple(sorted(found.items()))


def number_text(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def as_options(wanted: Constraints) -> str:
    """The options that ask for this, in one order and spelling: what a lock file knows a query by."""
    words: list[str] = []

    def add(option: str, value: object) -> None:
        words.extend((option, number_text(value) if isinstance(value, float) else str(value)))

    pairs: list[tuple[str, object | None]] = [
        ("--device", wanted.device),
        ("--max-latency-ms", wanted.max_latency_ms),
        ("--threads", wanted.threads),
        ("--abi", wanted.abi),
        ("--affinity", wanted.affinity),
        *(("--option", f"{name}={value}") for name, value in sorted(wanted.options)),
        # top1 has an option of its own, which is how people write it.
        *(
            ("--min-top1", value) if metric == "top1" else ("--min", f"{metric}={number_text(value)}")
            for metric, value in sorted(wanted.minimum)
        ),
        *(("--max", f"{metric}={number_text(value)}") for metric, value in sorted(wanted.maximum)),
        ("--dataset", wanted.dataset),
        ("--max-size-mb", wanted.max_size_mb),
        ("--format", wanted.format),
        ("--prefer", wanted.prefer if wanted.prefer != "accuracy" else None),
    ]
    for option, value in pairs:
        if value is not None:
            add(option, value)
    if wanted.allow_published:
        words.append("--allow-published")
    return shlex.join(words)


def query_text(reference: str, wanted: Constraints) -> str:
    """A query in its canonical text: ``mobilenetv1 --device kirin970 --max-latency-ms 20``."""
    return f"{reference} {as_options(wanted)}".rstrip()
