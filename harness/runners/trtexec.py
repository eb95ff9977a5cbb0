"""The ``trtexec`` runner: TensorRT's own tool on a host with an NVIDIA GPU, every query's time in nanoseconds.

``--warmUp`` counts milliseconds and the log's summary leaves out what began inside them, so counts there are not ours
to set. Instead trtexec warms up not at all, runs warm-up and measured queries in one, exports the time of each, and the
first ones are left out here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devices.facts import DeviceFacts
from devices.session import Session
from devices.transport import Completed
from harness.job import Cell
from harness.runner import RunnerFailed
from harness.runners.prepared import Prepared, Setting
from harness.runners.trtexec_output import Span, parse_log, parse_times, version_of
from pocketzoo.errors import BadInput
from zoo.measurement import Repeat, RunnerRecord

NAME = "trtexec"
PROBE_DEADLINE_S = 120.0
FORMATS = ("onnx", "tensorrt")
SETTINGS = (
    Setting("precision", ("fp32", "tf32", "fp16", "int8", "best"), "fp32"),
    Setting("graph", ("on", "off"), "off"),
    Setting("span", ("latency", "compute"), "latency"),
    Setting("batch", ("1", "8", "64"), "1", r"[1-9][0-9]{0,4}"),
    Setting(
        "shapes",
        ("input:1x3x224x224",),
        "",
        r"[A-Za-z0-9_./-]{1,100}:[0-9x]{1,60}(,[A-Za-z0-9_./-]{1,100}:[0-9x]{1,60}){0,9}",
    ),
)
# TensorRT's packages do not put it into PATH.
PLACES = ("trtexec", "/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
_MARK = "@@ exported times"
# Runs "$@" with its times exported to a file of its own, then prints that file.
_EXPORT = (
    "d=$(mktemp -d) || exit 125; trap 'rm -rf \"$d\"' EXIT; "
    '"$@" --exportTimes="$d/times.json" 2>&1; code=$?; '
    f'echo; echo "{_MARK}"; cat "$d/times.json" 2>/dev/null; exit $code'
)
_FIND = (
    'for p in "$@"; do f=$(command -v "$p" 2>/dev/null) || continue; '
    'r=$(readlink -f "$f" 2>/dev/null) || r=$f; echo "path $f"; echo "sha256 $(sha256sum <"$r")"; exit 0; done; exit 3'
)


@dataclass(frozen=True)
class Trtexec:
    """trtexec on one host.

    Args:
        path: where it is there.
        digest: SHA-256 of the binary. TensorRT's libraries are not in it; their version is.
        version: as its header says it.
        gpu: what the device calls its GPU.
    """

    path: str
    digest: str
    version: str
    gpu: str

    @property
    def record(self) -> RunnerRecord:
        """Binary, TensorRT's version, and the GPU."""
        return RunnerRecord(
            name=NAME,
            version=self.version,
            binary_sha256=self.digest,
            runtime=f"TensorRT {self.version} on {self.gpu}",
            delegate="tensorrt",
        )

    def files(self) -> Mapping[str, Path]:
        """Nothing: it comes with TensorRT."""
        return {}

    def argv(self, cell: Cell, model: str, placed: Mapping[str, str]) -> list[str]:
        """The command of one repeat. An .onnx file is built into an engine first; an engine is loaded."""
        options = dict(cell.options)
        loads = cell.format == "tensorrt"
        argv = ["sh", "-c", _EXPORT, "sh", placed[self.digest], f"--{'loadEngine' if loads else 'onnx'}={model}"]
        precision = options.get("precision", "fp32")
        if not loads:
            argv += {"fp32": ["--noTF32"], "tf32": []}.get(precision, [f"--{precision}"])
        if options.get("shapes"):
            argv.append(f"--shapes={options['shapes']}")
        if options.get("graph") == "on":
            argv.append("--useCudaGraph")
        queries = cell.protocol.warmup + cell.protocol.runs
        return [*argv, "--warmUp=0", "--duration=0", f"--iterations={queries}", f"--avgRuns={cell.protocol.runs}"]

    def parse(self, cell: Cell, done: Completed) -> Repeat:
        """One repeat; refuses a run that failed, was another version, or gave too few times."""
        log_text, mark, times_text = done.stdout.decode("utf-8", "replace").partition(f"\n{_MARK}\n")
        log = parse_log(log_text)
        if not done.ok or not mark or not times_text.strip():
            raise RunnerFailed(f"trtexec exported no times (exit code {done.exit_code})")
        if log.version is not None and log.version != self.version:
            raise RunnerFailed(f"TensorRT {log.version} answered, not {self.version} as when it was asked")
        span: Span = "compute" if dict(cell.options).get("span") == "compute" else "latency"
        times = parse_times(times_text, span=span)
        wanted = cell.protocol.warmup + cell.protocol.runs
        if len(times) < wanted:
            raise RunnerFailed(f"{len(times)} queries were timed instead of {wanted}")
        return Repeat(
            samples_ns=times[cell.protocol.warmup : wanted],
            first_ns=times[0],
            delegate="tensorrt",
            threads_actual=cell.threads,
            abi_proof=f"TensorRT {self.version} ran on {self.gpu}",
        )


def prepare(session: Session, facts: DeviceFacts) -> Prepared:
    """Find trtexec on the host and ask its version.

    Raises:
        BadInput: the host has no GPU that nvidia-smi lists, or no trtexec.
        RunnerFailed: what is there is not trtexec.
    """
    if "cuda" not in facts.abis:
        raise BadInput(
            f"{facts.name} has no GPU that nvidia-smi lists, and trtexec runs on nothing else",
            hint=f"devices show {facts.name}",
        )
    done = session.run(["sh", "-c", _FIND, "sh", *PLACES], deadline_s=PROBE_DEADLINE_S)
    text = done.stdout.decode("utf-8", "replace")
    path, digest = (
        re.search(r"^path (/.*)$", text, re.MULTILINE),
        re.search(r"^sha256 ([0-9a-f]{64})\b", text, re.MULTILINE),
    )
    if not done.ok or path is None or digest is None:
        raise BadInput(
            f"{facts.name} has no trtexec",
            detail=(f"looked for: {', '.join(PLACES)}",),
            hint="install TensorRT's tools there, or put trtexec into the PATH of a login",
        )
    asked = session.run([path[1], "--help"], deadline_s=PROBE_DEADLINE_S)
    help_text = (asked.stdout + b"\n" + asked.stderr).decode("utf-8", "replace")
    version = version_of(help_text)
    if "TensorRT.trtexec" not in help_text and "--exportTimes" not in help_text:
        raise RunnerFailed(f"{path[1]} does not answer as trtexec (exit {asked.exit_code})")
    gpu = facts.properties.get("gpu") or facts.abi_proofs.get("cuda", "an NVIDIA GPU").removeprefix("nvidia-smi lists ")
    runner = Trtexec(path=path[1], digest=digest[1], version=version or "of no named version", gpu=gpu)
    return Prepared(
        runners={"cuda": runner},
        placed={digest[1]: path[1]},
        formats=FORMATS,
        settings=SETTINGS,
        unpinned="trtexec measures a GPU; CPUs to pin to do not apply",
    )
