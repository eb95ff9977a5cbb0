"""What the host computes from a model and a seeded input: the same agent in a process of its own, kept by content."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from devices.transport import Completed
from harness.agents import tflite_agent
from harness.outputs import Outputs, reported
from pocketzoo.errors import BadInput
from pocketzoo.files import sha256_bytes, sha256_file, write_atomically
from pocketzoo.home import home

AGENT = Path(tflite_agent.__file__)
DEADLINE_S = 600.0


class Kept:
    """Outputs on disk: of the host by file, seed and runtime; of devices by the digest of what came out.

    A repeat in the results holds only its output's digest; what a device printed is kept here before the repeat is
    stored, so that an interrupted campaign can still check it.

    Args:
        folder: default ``outputs`` in the state folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else home() / "outputs"
        self._runtime: str | None = None

    def put(self, outputs: Outputs) -> None:
        """Keep what a device printed."""
        path = self._device(outputs.output_sha256)
        if not path.exists():
            write_atomically(path, msgspec.json.encode(outputs))

    def get(self, output_sha256: str) -> Outputs | None:
        """What a device printed under that digest; None where it is not kept, or damaged."""
        return _read(self._device(output_sha256))

    def host(self, model: Path, artifact_sha256: str, seed: int) -> Outputs | str:
        """What the host computes.

        Args:
            model: the file.
            artifact_sha256: its artifact.
            seed: of the input.

        Returns:
            The outputs, or the reason there are none.
        """
        if self._runtime is None:
            self._runtime = _runtime()
        key = sha256_bytes(f"2\n{artifact_sha256}\n{seed}\n{self._runtime}".encode())
        path = self.folder / "host" / f"{key}.json"
        known = _read(path)
        if known is not None:
            return known
        found = _run(model, seed)
        if isinstance(found, Outputs):
            found = msgspec.structs.replace(found, rounds=_rounds(model))
            write_atomically(path, msgspec.json.encode(found))
        return found

    def _device(self, output_sha256: str) -> Path:
        return self.folder / "device" / f"{output_sha256}.json"


def _run(model: Path, seed: int) -> Outputs | str:
    argv = [sys.executable, str(AGENT), "--model", str(model), "--threads", "1", "--warmup", "0", "--runs", "1"]
    try:
        done = subprocess.run(
            [*argv, "--seed", str(seed)], capture_output=True, check=False, timeout=DEADLINE_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"the host did not compute it within {DEADLINE_S:g} s"
    answer = Completed(argv=tuple(argv), exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr, seconds=0.0)
    found = reported(answer) if done.returncode == 0 else None
    return found if found is not None else f"the host cannot run it: {_why(answer)}"


def _rounds(model: Path) -> bool:
    """Whether values are rounded to integers inside the network, also where its inputs and outputs are float."""
    from zoo.tflite import inspect

    try:
        operators = inspect(model).operators
    except BadInput:  # the runtime takes files that the inspection does not understand; then nothing is assumed
        return False
    whole = {"int8", "uint8", "int16"}
    return any(whole & {*operator.input_dtypes, *operator.output_dtypes} for operator in operators)


def _why(done: Completed) -> str:
    for line in reversed(done.stdout.splitlines()):
        try:
            return str(msgspec.json.decode(line)["error"])[:300]
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError):
            continue
    return f"exit code {done.exit_code}"


def _runtime() -> str:
    """Names the host's runtime and agent: where one of them changes, the host computes anew."""
    import importlib.metadata

    versions = []
    for name in ("ai-edge-litert", "tflite-runtime", "numpy"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "\n".join([sha256_file(AGENT), *versions])


def _read(path: Path) -> Outputs | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Outputs)
    except (OSError, msgspec.DecodeError):
        return None
