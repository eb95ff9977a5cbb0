"""A cell of a campaign and the key that ties its number to file, runner binary, flags and device."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from pocketzoo.decodable import decodable
from pocketzoo.files import sha256_bytes
from zoo.artifact import Format, Name, Sha256
from zoo.measurement import Metric
from zoo.timings import threads_text


class Protocol(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often: warm-up runs, measured runs, and repeats, each repeat a process of its own.

    The default is AMC's: 100 warm-up, 200 runs, 3 repeats.
    """

    warmup: Annotated[int, Meta(ge=0, le=1_000_000)] = 100
    runs: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    repeats: Annotated[int, Meta(ge=1, le=1000)] = 3


class Cell(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number to measure: a model on a device under one ABI with so many threads.

    ``options`` are settings of the runner, sorted by name; a runner refuses those it does not have. ``format`` is the
    file's, which has no ending in the store; the digest in the key stands for it.
    """

    model: Name
    artifact_sha256: Sha256
    device: str
    device_fingerprint: Sha256
    runner: str
    runner_sha256: Sha256
    abi: str
    threads: Annotated[int, Meta(ge=1)]
    cpus: tuple[int, ...] | None = None
    seed: int = 0
    protocol: Protocol = Protocol()
    options: tuple[tuple[str, str], ...] = ()
    format: Format = "tflite"
    metric: Metric = "latency"

    @property
    def affinity(self) -> str | None:
        """The CPUs it is pinned to, as ``0,1``; None where the kernel may place it anywhere."""
        return None if self.cpus is None else ",".join(str(cpu) for cpu in self.cpus)

    @property
    def key(self) -> str:
        """The job key. Two cells with one key are the same measurement: names of model and device are not in it."""
        parts: dict[str, object] = {
            "artifact": self.artifact_sha256,
            "runner": [self.runner, self.runner_sha256],
            "flags": {"seed": self.seed},
            "abi": self.abi,
            "threads": self.threads,
            "affinity": self.affinity,
            "device": self.device_fingerprint,
            "protocol": self.protocol,
        }
        if self.options:  # a cell without options keeps the key it had before there were any
            parts["options"] = self.options
        if self.metric != "latency":  # which had keys before there was another
            parts["metric"] = self.metric
        return sha256_bytes(msgspec.json.encode(parts, order="deterministic"))

    @property
    def label(self) -> str:
        """The cell in a line of talk."""
        setting = "".join(f", {name}={value}" for name, value in self.options)
        what = "" if self.metric == "latency" else f", {self.metric}"
        return f"{self.model} on {self.device}, {self.abi}, {threads_text(self.threads)}{setting}{what}"


decodable(Protocol, Cell)
