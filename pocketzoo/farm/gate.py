"""What processes of a farm unpickle: the envelopes of Dask, and calls of a few named functions with text as argument.

Dask sends task graphs, results and errors as pickles, and a pickle can call anything. Here the reading side resolves
no name but those below, so that neither a client nor a worker can bring code along: a task is the name of a function
that the worker has installed, and a JSON document. Handlers of Dask that exist to run sent code are taken away.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Iterable
from functools import reduce
from importlib import import_module
from typing import Any

TASKS = frozenset(
    {
        ("harness.farm.turns", "plan"),
        ("harness.farm.turns", "measure"),
        ("compressors.farm", "compress"),
    }
)
"""The functions that a task may be a call of."""

# Seen in the messages between Dask 2026.8's clients, scheduler and workers; containers, and records without behaviour.
_ENVELOPES = frozenset(
    {
        *(("builtins", name) for name in ("str", "bytes", "int", "float", "bool", "list", "tuple", "dict", "set")),
        ("builtins", "frozenset"),
        ("builtins", "bytearray"),
        ("builtins", "complex"),
        ("builtins", "slice"),
        ("builtins", "range"),
        ("collections", "OrderedDict"),
        ("collections", "deque"),
        ("copyreg", "_reconstructor"),
        ("builtins", "object"),
        ("uuid", "UUID"),
        ("dask._task_spec", "Task"),
        ("dask._task_spec", "TaskRef"),
        ("dask._task_spec", "DataNode"),
        ("dask._task_spec", "Alias"),
        ("dask._task_spec", "List"),
        ("dask._task_spec", "Dict"),
        ("dask._expr", "LLGExpr"),
        ("dask._expr", "_ExprSequence"),
        ("dask._expr", "HLGExpr"),
        ("dask._expr", "Expr"),
        ("dask._expr", "Expr._reconstruct"),  # calls a type of this list
        ("dask.highlevelgraph", "HighLevelGraph"),
        ("dask.highlevelgraph", "MaterializedLayer"),
        ("distributed.protocol.serialize", "Serialize"),
        ("distributed.protocol.serialize", "ToPickle"),
        ("distributed.scheduler", "KilledWorker"),
        ("distributed.scheduler", "NoValidWorkerError"),
        ("distributed.scheduler", "NoWorkerError"),
        ("distributed.scheduler", "TaskState"),
        ("distributed.core", "Status"),
        ("distributed.client", "FutureCancelledError"),
        ("distributed.utils", "TimeoutError"),
        ("asyncio.exceptions", "TimeoutError"),
        ("asyncio.exceptions", "CancelledError"),
        ("pocketzoo.farm.failure", "TaskFailed"),
        ("tblib.pickling_support", "unpickle_exception"),
        ("tblib.pickling_support", "unpickle_exception_with_attrs"),
    }
)
_ERRORS = frozenset(
    {"Exception", "RuntimeError", "ValueError", "TypeError", "KeyError", "OSError", "TimeoutError", "MemoryError"}
    | {"ImportError", "ModuleNotFoundError", "AttributeError", "AssertionError", "KeyboardInterrupt", "EOFError"}
    | {"ConnectionError", "BrokenPipeError", "ConnectionResetError", "ConnectionRefusedError", "NotImplementedError"}
    | {"ConnectionAbortedError", "FileNotFoundError", "PermissionError", "IndexError", "ZeroDivisionError"}
)

# What runs sent code, or writes to where the sender says.
_FORBIDDEN = (
    "run", "run_coroutine", "run_function", "feed", "upload_file", "actor_execute", "actor_attribute", "plugin-add",
    "plugin-remove", "plugin_add", "register_scheduler_plugin", "unregister_scheduler_plugin",
    "register_worker_plugin", "unregister_worker_plugin", "register_nanny_plugin", "unregister_nanny_plugin",
    "dump_cluster_state_to_url", "broadcast", "benchmark_disk", "benchmark_memory", "benchmark_network",
    "get_runspec", "get_call_stack", "call_stack", "set_metadata", "worker_send",
)  # fmt: skip


class Refused(pickle.UnpicklingError):
    """A message wanted something that no task of a farm needs."""


class _Inert:
    """Stands for a part of a traceback, which is for the log of the host that it comes from."""

    def __init__(self, *parts: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _no_traceback(*_parts: object) -> None:
    return None


_TRACEBACKS: dict[tuple[str, str], Any] = {
    ("tblib.pickling_support", "unpickle_traceback"): _no_traceback,
    ("tblib", "Frame"): _Inert,
    ("tblib", "Code"): _Inert,
    ("tblib", "Traceback"): _Inert,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = (module, name)
        if known in _TRACEBACKS:
            return _TRACEBACKS[known]
        if known in TASKS or known in _ENVELOPES or (module == "builtins" and name in _ERRORS):
            return reduce(getattr, name.split("."), import_module(module))
        raise Refused(f"a message wants {module}.{name}, which is nothing that a farm sends")


def loads(data: Any, *, buffers: Iterable[Any] = ()) -> Any:
    """Read a pickle.

    Raises:
        Refused: it names something that is not on the list.
    """
    try:
        return _Reader(io.BytesIO(data), buffers=list(buffers)).load()
    except Refused as error:
        # Dask ends the connection and says no more; whoever runs this process should know why.
        print(f"refused: {error}", file=sys.stderr, flush=True)
        raise


def close_gate() -> None:
    """From now on this process reads no other pickle off the wire. Called before anything connects."""
    from distributed.protocol import pickle as wire

    wire.loads = loads


def disarm(server: Any) -> None:
    """Take from a scheduler or worker that listens the handlers that run what they are sent, and its web server."""
    if getattr(server, "http_server", None) is not None:
        server.http_server.stop()
    for name in _FORBIDDEN:
        server.handlers.pop(name, None)
