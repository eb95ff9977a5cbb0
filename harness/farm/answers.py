"""What the scheduler says of a task that has ended, in words of ours."""

from __future__ import annotations

from typing import Any

from pocketzoo.errors import PocketzooError, WorkFailed
from pocketzoo.farm.failure import TaskFailed, error_of
from pocketzoo.farm.link import FarmUnavailable, ask


class Lost(Exception):
    """A task that ended with an error; ``deaths`` where workers died under it."""

    def __init__(self, error: PocketzooError, *, deaths: bool = False) -> None:
        super().__init__(error.what)
        self.error = error
        self.deaths = deaths


class Unknown(FarmUnavailable):
    """The scheduler does not know a task any more."""


def identity(client: Any) -> str:
    """Which scheduler it is; another one after a restart."""
    return str(ask(client, "identity", n_workers=0)["id"])


def text_of(future: Any) -> str:
    """What a task returned.

    Raises:
        Lost: it ended with an error.
        Unknown: somebody took it out of the queue, or the scheduler was lost meanwhile.
    """
    if future.status == "finished":
        return str(future.result(timeout=30))
    if future.status != "error":
        raise Unknown("the scheduler does not know a turn of this campaign any more")
    error = future.exception(timeout=30)
    if isinstance(error, TaskFailed):
        raise Lost(error_of(error.said()))
    if type(error).__name__ == "KilledWorker":
        raise Lost(
            WorkFailed("the workers that measured it died, one after the other", hint="harness farm status"),
            deaths=True,
        )
    raise Lost(WorkFailed(f"the farm could not measure it: {type(error).__name__}: {str(error)[:300]}"))
