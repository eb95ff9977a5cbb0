"""A cell and outputs for the harness's tests."""

from __future__ import annotations

import json
from typing import Any

from devices.transport import Completed
from harness.job import Cell, Protocol
from harness.runners.python import Description, PythonRunner

DESCRIPTION = Description(
    runtime="ai-edge-litert",
    runtime_version="2.3.0",
    library_sha256="b" * 64,
    abi="x86_64",
    abi_proof="ELF64 e_machine 62",
    python="3.11.2",
)
RUNNER = PythonRunner(interpreter="python3", description=DESCRIPTION)


def cell_of(**fields: Any) -> Cell:
    known: dict[str, Any] = {
        "model": "tiny-model",
        "artifact_sha256": "c" * 64,
        "device": "local",
        "device_fingerprint": "d" * 64,
        "runner": "python",
        "runner_sha256": RUNNER.record.binary_sha256,
        "abi": "x86_64",
        "threads": 1,
        "protocol": Protocol(warmup=1, runs=3, repeats=2),
    }
    return Cell(**{**known, **fields})


def answer_of(**fields: Any) -> dict[str, Any]:
    return {
        "pocketzoo_agent": 1,
        "runtime": "ai-edge-litert",
        "runtime_version": "2.3.0",
        "library_sha256": "b" * 64,
        "abi": "x86_64",
        "abi_proof": "ELF64 e_machine 62",
        "samples_ns": [10, 11, 12],
        "init_ns": 5,
        "first_ns": 20,
        "pool_threads": 1,
        "cpus_allowed": [0, 1],
        "own_cpu_ns": 30,
        "wall_ns": 33,
        "foreign_cpu_share": 0.0,
        "involuntary_switches": 0,
        "peak_memory_bytes": 1000,
        "output_sha256": "e" * 64,
        **fields,
    }


def completed(stdout: str | bytes = b"", *, exit_code: int = 0, stderr: bytes = b"") -> Completed:
    data = stdout.encode() if isinstance(stdout, str) else stdout
    return Completed(argv=("python3",), exit_code=exit_code, stdout=data, stderr=stderr, seconds=1.0)


def printed(answer: dict[str, Any]) -> str:
    return f"\n{json.dumps(answer)}\n"
