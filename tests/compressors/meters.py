"""A device that is only pretended: it knows what it is asked for by the files' bytes, and refuses everything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devices.facts import DeviceFacts
from pocketzoo.errors import PocketzooError
from pocketzoo.files import sha256_bytes
from zoo.measurement import Measurement, RunnerRecord, Summary, Verdict, VerdictName
from zoo.meter import Batch, Identity, Piece

IDENTITY = Identity(
    device="pretended", fingerprint="f" * 64, abi="armv8", threads=1, metric="latency", options=(), runner="python",
    runner_sha256="a" * 64, provenance="hardware", formats=("tflite",),
)  # fmt: skip


class PretendedMeter:
    """Implements :class:`zoo.meter.Meter`.

    Args:
        cost: milliseconds of a piece.
        verdict: of a piece, by how often it was measured before.
        fails_after: pieces after which the device is lost, and how.
    """

    def __init__(
        self,
        cost: Callable[[Piece], float],
        verdict: Callable[[Piece, int], VerdictName] = lambda _piece, _before: "valid",
        fails_after: tuple[int, PocketzooError] | None = None,
    ) -> None:
        self._cost, self._verdict, self.fails_after = cost, verdict, fails_after
        self.known: dict[str, Measurement] = {}
        self.measured: list[str] = []

    def identify(self) -> Identity:
        return IDENTITY

    def measure(self, pieces: Sequence[Piece], *, fresh: bool = False) -> Batch:
        found, reused = {}, set()
        for piece in pieces:
            content = piece.file.read_bytes()
            assert sha256_bytes(content) == piece.sha256, "a file that is not what it is called"
            if not fresh and piece.sha256 in self.known:
                found[piece.sha256] = self.known[piece.sha256]
                reused.add(piece.sha256)
                continue
            if self.fails_after is not None and len(self.measured) >= self.fails_after[0]:
                return Batch(found, frozenset(reused), (), self.fails_after[1])
            before = self.measured.count(piece.name)
            self.measured.append(piece.name)
            found[piece.sha256] = self.known[piece.sha256] = self._measurement(piece, before)
        return Batch(found, frozenset(reused))

    def _measurement(self, piece: Piece, before: int) -> Measurement:
        value = self._cost(piece)
        return Measurement(
            job_key=piece.sha256,
            artifact_sha256=piece.sha256,
            model=piece.name,
            device=DeviceFacts(name=IDENTITY.device, fingerprint=IDENTITY.fingerprint),
            runner=RunnerRecord(name="python", version="1", binary_sha256="a" * 64),
            abi="armv8",
            threads_requested=1,
            threads_actual=1,
            warmup=piece.warmup,
            runs=piece.runs,
            repeats=(),
            summary=Summary(
                median_ms=value, mean_ms=value, p90_ms=value, p99_ms=value, min_ms=value, max_ms=value, std_ms=0.0,
                mad_ms=0.0, ci95_ms=(value * 0.99, value * 1.01), repeat_medians_ms=(value,),
            ),
            verdict=Verdict(name=self._verdict(piece, before)),
            provenance="hardware",
            time="2026-01-01T00:00:00.000+00:00",
        )  # fmt: skip
