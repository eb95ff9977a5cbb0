"""Which cells a request means, and which of them cannot run and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from devices.facts import DeviceFacts
from harness.job import Cell, Protocol
from pocketzoo.errors import BadInput
from zoo.artifact import Artifact
from zoo.measurement import RunnerRecord

THREADS = (1, 2, 4)
MOST_THREADS = 1024


@dataclass(frozen=True)
class Impossible:
    """A cell that was asked for and cannot run, with the reason."""

    model: str
    device: str
    abi: str
    threads: int
    reason: str


@dataclass(frozen=True)
class Plan:
    """The cells of one device, in the order of the request, and what of the request cannot run."""

    cells: tuple[Cell, ...]
    impossible: tuple[Impossible, ...]


def make_plan(
    artifacts: Sequence[Artifact],
    facts: DeviceFacts,
    runner: RunnerRecord,
    *,
    runner_abi: str | None,
    abis: Sequence[str] = (),
    threads: Sequence[int] = THREADS,
    cpus: tuple[int, ...] | None = None,
    protocol: Protocol | None = None,
) -> Plan:
    """The cells model x ABI x threads of one device.

    Args:
        artifacts: the models.
        facts: the device, as probed.
        runner: what would measure there.
        runner_abi: the ABI the runner's binary has on the device.
        abis: only these; where empty, what the runner runs as.
        threads: thread counts; more than the device has cores is measured and judged, not refused.
        cpus: pin to these CPUs; None leaves the placing to the kernel.
        protocol: warm-up, runs, repeats.
    """
    cells, impossible = [], []
    wanted = tuple(dict.fromkeys(abis)) or ((runner_abi,) if runner_abi else facts.abis[:1])
    for artifact in artifacts:
        for abi in wanted:
            for count in dict.fromkeys(threads):
                reason = _why_not(artifact, facts, runner, runner_abi, abi, cpus)
                if reason:
                    impossible.append(Impossible(artifact.name, facts.name, abi, count, reason))
                    continue
                cells.append(
                    Cell(
                        model=artifact.name,
                        artifact_sha256=artifact.digest,
                        device=facts.name,
                        device_fingerprint=facts.fingerprint,
                        runner=runner.name,
                        runner_sha256=runner.binary_sha256,
                        abi=abi,
                        threads=count,
                        cpus=cpus,
                        protocol=protocol or Protocol(),
                    )
                )
    return Plan(tuple(cells), tuple(impossible))


def _why_not(
    artifact: Artifact,
    facts: DeviceFacts,
    runner: RunnerRecord,
    runner_abi: str | None,
    abi: str,
    cpus: tuple[int, ...] | None,
) -> str | None:
    if artifact.format != "tflite":
        return f"the {runner.name} runner runs .tflite files, this is {artifact.format}"
    if facts.abis and abi not in facts.abis:
        return f"{facts.name} runs {', '.join(facts.abis)}"
    if runner_abi is not None and abi != runner_abi:
        return f"the {runner.name} runner on {facts.name} is built for {runner_abi}"
    if cpus and facts.cores is not None and max(cpus) >= facts.cores:
        return f"{facts.name} has CPUs 0 to {facts.cores - 1}"
    return None


def parse_threads(text: str) -> tuple[int, ...]:
    """``1,2,4`` as numbers.

    Raises:
        BadInput: not positive whole numbers separated by commas.
    """
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or not all(1 <= count <= MOST_THREADS for count in counts):
        raise BadInput(
            f"not thread counts: {text!r}", hint="write numbers of 1 or more with commas, e.g. --threads 1,2,4"
        )
    return tuple(dict.fromkeys(counts))


def parse_cpus(text: str) -> tuple[int, ...]:
    """``0,1`` or ``4-7`` as CPU numbers, sorted.

    Raises:
        BadInput: not such a list.
    """
    found: set[int] = set()
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            low, high = int(first), int(last if dash else first)
            if not 0 <= low <= high < MOST_THREADS:
                raise ValueError(part)
            found.update(range(low, high + 1))
    except ValueError as error:
        raise BadInput(f"not a list of CPUs: {text!r}", hint="write e.g. --cpus 0,1 or --cpus 4-7") from error
    return tuple(sorted(found))
