"""The ``benchmark_model`` runner: TFLite's native tool, or LiteRT's of the same name, on phones and boards.

The tool prints figures and no samples, so each repeat holds what it reported. Its counts are minimums and its time
limits end a run early; the flags here take both out of its hands, and what really ran is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devices import elf
from devices.facts import DeviceFacts
from devices.session import Session
from devices.transport import Completed
from harness.job import Cell
from harness.plan import parse_cpus
from harness.registry import Registry
from harness.runner import Runner, RunnerFailed
from harness.runners.benchmark_output import Output, Tool, flags_of, parse_output, tool_of
from harness.runners.prepared import Prepared, Setting
from pocketzoo.errors import BadInput
from zoo.measurement import Repeat, RunnerRecord

NAME = "benchmark_model"
PROBE_DEADLINE_S = 60.0
# The session's deadline ends a repeat that takes too long; the tool's own limit would cut it short without an error.
MAX_SECS = 1_000_000
SETTINGS = (Setting("xnnpack", ("on", "off")),)
RUNTIMES: Mapping[Tool, str] = {"tflite": "TensorFlow Lite benchmark_model", "litert": "LiteRT benchmark_model"}

# Prints the CPUs this process may use, then becomes the tool: what the kernel granted, not what was asked for.
_PROVE = (
    'while read -r key value; do case "$key" in Cpus_allowed_list:) echo "$key $value";; esac; done '
    '</proc/self/status 2>/dev/null; exec "$@"'
)
# $1: a name. Prints its path, its digest and its first bytes; exit 3 where there is none.
_FIND = (
    'p=$(command -v "$1") || exit 3; r=$(readlink -f "$p" 2>/dev/null) || r=$p; '
    'echo "path $p"; echo "sha256 $(sha256sum <"$r")"; echo "head $(dd if="$r" bs=64 count=1 2>/dev/null | '
    "od -An -v -tx1 | tr -d ' \\n')\""
)
_HAS_TASKSET = "command -v taskset >/dev/null 2>&1"


@dataclass(frozen=True)
class BenchmarkModel:
    """The tool, built for one ABI, on one device.

    Args:
        abi: what the binary is built for.
        digest: its SHA-256.
        tool: which of the two tools it is.
        flags: the flags its usage text lists; empty where it printed none.
        local: the registered file; None where the binary was on the device already.
        abi_proof: how the ABI is known; None where the binary is a script.
    """

    abi: str
    digest: str
    tool: Tool
    flags: frozenset[str] = frozenset()
    local: Path | None = None
    abi_proof: str | None = None

    @property
    def record(self) -> RunnerRecord:
        """The tool does not say its version: the digest is all there is."""
        return RunnerRecord(
            name=NAME,
            version=f"sha256:{self.digest[:12]}",
            binary_sha256=self.digest,
            runtime=RUNTIMES[self.tool],
        )

    def files(self) -> Mapping[str, Path]:
        """The binary, where it is registered here."""
        return {} if self.local is None else {self.digest: self.local}

    def argv(self, cell: Cell, model: str, placed: Mapping[str, str]) -> list[str]:
        """The command of one repeat: exactly so many runs, on these CPUs.

        Raises:
            RunnerFailed: a setting this build has no flag for.
        """
        # A bare hexadecimal mask is what util-linux, toybox and busybox all take; only some take a list.
        pin = [] if cell.cpus is None else ["taskset", f"{sum(1 << cpu for cpu in cell.cpus):x}"]
        argv = [*pin, "sh", "-c", _PROVE, "sh", placed[self.digest], f"--graph={model}"]
        argv += [f"--num_threads={cell.threads}", f"--num_runs={cell.protocol.runs}", "--min_secs=0"]
        argv += [f"--warmup_runs={cell.protocol.warmup}", "--warmup_min_secs=0", f"--max_secs={MAX_SECS}"]
        wanted = dict(cell.options).get("xnnpack")
        if wanted is not None and (self.tool == "litert" or (self.flags and "use_xnnpack" not in self.flags)):
            raise RunnerFailed("this build of benchmark_model has no --use_xnnpack; leave --option xnnpack out")
        if wanted is not None or "use_xnnpack" in self.flags:
            argv.append(f"--use_xnnpack={'false' if wanted == 'off' else 'true'}")
        return argv

    def parse(self, cell: Cell, done: Completed) -> Repeat:
        """One repeat; refuses a run that was not the one asked for (counts, CPUs, flags, delegate, tool)."""
        text = "\n".join(part.decode("utf-8", "replace") for part in (done.stdout, done.stderr))
        if not done.ok:
            how = f"signal {done.exit_code - 128}" if done.exit_code > 128 else f"exit code {done.exit_code}"
            tail = tuple(line.strip()[:200] for line in text.splitlines() if line.strip())[-3:]
            raise RunnerFailed(f"benchmark_model ended with {how}", detail=tail)
        output = parse_output(text)
        cpus = _cpus(output)
        self._check(cell, output, cpus)
        return Repeat(
            samples_ns=(),
            reported=output.runs,
            delegate=output.delegate,
            init_ns=output.init_ns,
            first_ns=output.first_ns,
            cpus_allowed=cpus,
            # How many threads it started it does not say; more than there are CPUs cannot have run at once.
            threads_actual=len(cpus) if cpus and len(cpus) < cell.threads else None,
            peak_memory_bytes=output.peak_memory_bytes,
            abi_proof=self.abi_proof,
        )

    def _check(self, cell: Cell, output: Output, cpus: tuple[int, ...] | None) -> None:
        if output.unconsumed:
            raise RunnerFailed(f"this build does not know {', '.join(output.unconsumed)}, so it ran something else")
        if output.tool != self.tool:
            raise RunnerFailed(f"{RUNTIMES[output.tool]} answered, not {RUNTIMES[self.tool]} as when it was asked")
        if (output.warmup_runs, output.runs.count) != (cell.protocol.warmup, cell.protocol.runs):
            asked = f"{cell.protocol.warmup} warm-up and {cell.protocol.runs} measured runs were asked for"
            raise RunnerFailed(f"{asked}, {output.warmup_runs} and {output.runs.count} ran")
        if cell.cpus is not None and cpus != cell.cpus:
            where = f"on CPUs {output.cpus}" if cpus else "where nobody can tell"
            raise RunnerFailed(f"it ran {where}, not on {cell.affinity}")
        wanted = dict(cell.options).get("xnnpack")
        applied = output.delegate is not None and output.delegate.startswith("xnnpack")
        if wanted == "on" and not applied:
            raise RunnerFailed("XNNPACK was asked for, and the tool does not say that it was applied")
        if wanted == "off" and applied:
            raise RunnerFailed(f"no XNNPACK was asked for, and the tool used it: {output.delegate}")


def prepare(session: Session, facts: DeviceFacts, *, registry: Registry | None = None) -> Prepared:
    """Registered binaries, one for each ABI of the device; where none is registered, the one on the device.

    Raises:
        BadInput: there is none of either.
        RunnerFailed: what is there is not benchmark_model.
    """
    known = registry or Registry()
    abis = [abi for abi in facts.abis if abi != "cuda"]
    runners: dict[str, Runner] = {}
    placed: dict[str, str] = {}
    missing: dict[str, str] = {}
    for abi in abis:
        binary = known.newest(NAME, abi)
        if binary is None:
            missing[abi] = f"no benchmark_model for {abi} is registered: harness runner add PATH --abi {abi}"
            continue
        path = known.path(binary)
        there = session.push({binary.sha256: path})
        placed.update(there)
        runners[abi] = _probed(session, there[binary.sha256], abi, binary.sha256, path)
    if not runners:
        found = _on_device(session, abis)
        if found is not None:
            runners[found.abi] = found
            placed[found.digest] = NAME
            missing.pop(found.abi, None)
    if not runners:
        raise BadInput(
            f"{facts.name} has no benchmark_model, and none is registered for {' or '.join(abis) or 'its ABI'}",
            detail=('TensorFlow\'s page "Performance measurement" links builds for armv7 and armv8 (Android, Linux)',),
            hint=f"harness runner add PATH --abi {abis[0] if abis else 'armv8'}",
        )
    pinned = session.run(["sh", "-c", _HAS_TASKSET], deadline_s=PROBE_DEADLINE_S).ok
    return Prepared(
        runners=runners,
        placed=placed,
        settings=SETTINGS,
        missing=missing,
        unpinned=None if pinned else f"{facts.name} has no taskset, so benchmark_model cannot be pinned",
    )


def _probed(session: Session, path: str, abi: str, digest: str, local: Path | None) -> BenchmarkModel:
    proof = f"the binary sha256:{digest[:12]} is an ELF for {abi}" if local else None
    done = session.run([path, "--help"], deadline_s=PROBE_DEADLINE_S)
    usage = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
    tool = tool_of(usage)
    if tool is None:
        said = tuple(line.strip()[:200] for line in usage.splitlines() if line.strip())[-3:]
        raise RunnerFailed(f"{Path(path).name} does not answer as benchmark_model (exit {done.exit_code})", detail=said)
    return BenchmarkModel(abi=abi, digest=digest, tool=tool, flags=flags_of(usage), local=local, abi_proof=proof)


def _on_device(session: Session, abis: list[str]) -> BenchmarkModel | None:
    done = session.run(["sh", "-c", _FIND, "sh", NAME], deadline_s=PROBE_DEADLINE_S)
    if not done.ok:
        return None
    said = dict(
        line.split(" ", 1) for line in done.stdout.decode("utf-8", "replace").splitlines() if " " in line.strip()
    )
    digest = said.get("sha256", "").split(" ")[0]
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise RunnerFailed("the benchmark_model on the device cannot be read, so it cannot be named by its SHA-256")
    head = said.get("head", "")
    built_for = elf.abi_of_header(bytes.fromhex(head)) if re.fullmatch(r"(?:[0-9a-f]{2}){20,64}", head) else None
    abi = built_for or (abis[0] if abis else None)  # a script runs as whatever its interpreter is
    if abi is None:
        return None
    runner = _probed(session, NAME, abi, digest, None)
    if built_for is None:
        return runner
    proof = f"the binary sha256:{digest[:12]} on the device is an ELF for {abi}"
    return BenchmarkModel(abi=abi, digest=digest, tool=runner.tool, flags=runner.flags, abi_proof=proof)


def _cpus(output: Output) -> tuple[int, ...] | None:
    if output.cpus is None:
        return None
    try:
        return parse_cpus(output.cpus)
    except BadInput:
        return None
