"""Which cells a request means, and which of them cannot run and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    runners: Mapping[str, RunnerRecord],
    *,
    formats: Sequence[str] = ("tflite",),
    missing: Mapping[str, str] | None = None,
    unpinned: str | None = None,
    options: tuple[tuple[str, str], ...] = (),
    abis: Sequence[str] = (),
    threads: Sequence[int] = THREADS,
    cpus: tuple[int, ...] | None = None,
    protocol: Protocol | None = None,
) -> Plan:
    """The cells model x ABI x threads of one device.

    Args:
        artifacts: the models.
        facts: the device, as probed.
        runners: what would measure there, by ABI.
        formats: the artifact formats these take.
        missing: ABI -> why there is no runner for it.
        unpinned: why nothing can be pinned to CPUs there; None where it can.
        options: settings of the runner, checked.
        abis: only these; where empty, what the runners run as.
        threads: thread counts; more than the device has cores is measured and judged, not refused. A GPU (ABI
            ``cuda``) is measured once, with the first: threads of the host do not run it.
        cpus: pin to these CPUs; None leaves the placing to the kernel.
        protocol: warm-up, runs, repeats.
    """
    cells, impossible = [], []
    wanted = tuple(dict.fromkeys(abis)) or tuple(runners)
    for artifact in artifacts:
        for abi in wanted:
            reason = _why_not(artifact, facts, runners, formats, missing or {}, abi)
            reason = reason or (unpinned if cpus else None) or _no_such_cpu(facts, cpus)
            for count in list(dict.fromkeys(threads))[: 1 if abi == "cuda" else None]:
                if reason:
                    impossible.append(Impossible(artifact.name, facts.name, abi, count, reason))
                    continue
                runner = runners[abi]
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
                        options=options,
                        format=artifact.format,
                    )
                )
    return Plan(tuple(cells), tuple(impossible))


def _why_not(
    artifact: Artifact,
    facts: DeviceFacts,
    runners: Mapping[str, RunnerRecord],
    formats: Sequence[str],
    missing: Mapping[str, str],
    abi: str,
) -> str | None:
    name = next((runner.name for runner in runners.values()), "device's")
    if artifact.format == "safetensors":
        return "a .safetensors file holds weights and no program: nothing can run it"
    if artifact.format not in formats:
        return f"the {name} runner runs {' and '.join(f'.{f}' for f in formats)} files, this is {artifact.format}"
    if facts.abis and abi not in facts.abis:
        return f"{facts.name} runs {', '.join(facts.abis)}"
    if abi in runners:
        return None
    return missing.get(abi) or f"the {name} runner on {facts.name} is built for {', '.join(runners)}"


def _no_such_cpu(facts: DeviceFacts, cpus: tuple[int, ...] | None) -> str | None:
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
