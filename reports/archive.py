"""Where raw samples and earlier rounds are read from when a page needs them; records in memory need neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pocketzoo.command import say
from pocketzoo.errors import PocketzooError
from zoo.measurement import Measurement
from zoo.past import Past

if TYPE_CHECKING:
    from harness.results import Results


class Archive(Protocol):
    """What a report reads only for the pages it writes."""

    def whole(self, cells: Sequence[Measurement]) -> Iterator[Measurement]:
        """These cells with every raw sample, in their order."""
        ...

    def history(self, job_keys: Sequence[str]) -> dict[str, tuple[Past, ...]]:
        """Every stored round of these job keys, oldest first."""
        ...

    def rounds(self) -> dict[str, int]:
        """How many rounds are stored of each job key: cheap, however many there are."""
        ...


class InMemory:
    """The archive of measurements that hold their own samples."""

    def whole(self, cells: Sequence[Measurement]) -> Iterator[Measurement]:
        """The cells themselves."""
        return iter(cells)

    def history(self, job_keys: Sequence[str]) -> dict[str, tuple[Past, ...]]:  # noqa: ARG002
        """There are no other rounds."""
        return {}

    def rounds(self) -> dict[str, int]:
        """There are no other rounds."""
        return {}


class OnDisk:
    """The zoo's files and the results database.

    Args:
        published: the zoo's file of each (job key, time).
        results: the database.
        is_local: both are those of this machine's state, where another process finds them, too.
    """

    def __init__(self, published: Mapping[tuple[str, str], str], results: Results, *, is_local: bool = False) -> None:
        self._published = published
        self._results = results
        self.is_local = is_local

    def whole(self, cells: Sequence[Measurement]) -> Iterator[Measurement]:
        """These cells with every raw sample, in their order.

        One that was damaged or removed since it was listed comes back without samples, and a warning says so.
        """
        from zoo.kept import read_measurement

        local = self._results.whole([cell for cell in cells if (cell.job_key, cell.time) not in self._published])
        for cell in cells:
            path = self._published.get((cell.job_key, cell.time))
            if path is None:
                yield next(local)
                continue
            try:
                yield read_measurement(Path(path))
            except (PocketzooError, OSError) as problem:
                say(f"warning: no samples of cell {cell.job_key[:12]}: {problem}")
                yield cell

    def is_published(self, cell: Measurement) -> bool:
        """Whether the zoo holds this measurement."""
        return (cell.job_key, cell.time) in self._published

    def history(self, job_keys: Sequence[str]) -> dict[str, tuple[Past, ...]]:
        """Every stored round of these job keys, oldest first."""
        return self._results.history(job_keys)

    def rounds(self) -> dict[str, int]:
        """How many rounds are stored of each job key: cheap, however many there are."""
        return self._results.round_counts()
