"""What a task that runs in a Dask worker can know of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def unwanted(worker: Any) -> Callable[[], bool]:
    """Whether the task that runs in this thread was cancelled meanwhile, or its worker ends.

    Args:
        worker: Dask's, as ``get_worker`` gives it in the task.
    """
    from distributed.core import Status

    key = worker.get_current_task()

    def asked() -> bool:
        task = worker.state.tasks.get(key)
        ending = worker.status in (Status.closing, Status.closed, Status.failed)
        return ending or task is None or task.state == "cancelled"

    return asked
