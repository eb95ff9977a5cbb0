"""What can go wrong between a client and the Hub, ordered beforehand, by request."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["status", "drop", "corrupt", "trickle", "redirect", "endless", "length", "stall"]


@dataclass(frozen=True)
class Fault:
    """What happens to requests whose method and path (with query) match.

    Args:
        kind: status: answer with ``status`` and do nothing else. drop: half the body, then the connection is closed.
            corrupt: one byte of the body differs. trickle: a byte at a time. redirect: to ``target``. endless: a body
            without an end. length: Content-Length is ``extra`` more than the body has. stall: no answer at all.
        path: a regular expression that is searched for in the path.
        method: only this method; None: any.
        count: to how many requests it happens; None: to all.
        after: how many matching requests pass first.
        late: the request is carried out, and only its answer suffers.
    """

    kind: Kind
    path: str = "."
    method: str | None = None
    count: int | None = 1
    after: int = 0
    status: int = 500
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b'{"error": "the order was to fail"}'
    target: str = ""
    extra: int = 0
    late: bool = False


@dataclass
class Faults:
    """The faults that are ordered, in order; the first that matches happens."""

    _left: list[list[object]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    happened: int = 0

    def order(self, *faults: Fault) -> None:
        with self._lock:
            self._left += [[fault, fault.after, fault.count] for fault in faults]

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for entry in self._left:
                fault, skip, count = entry
                assert isinstance(fault, Fault)
                if fault.method not in (None, method) or not re.search(fault.path, path) or count == 0:
                    continue
                if skip:
                    entry[1] = int(str(skip)) - 1
                    return None
                if count is not None:
                    entry[2] = int(str(count)) - 1
                self.happened += 1
                return fault
        return None
