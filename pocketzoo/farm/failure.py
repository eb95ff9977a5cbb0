"""How the failure of a task travels: as text, so that nothing needs to be unpickled that could do harm."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput, DeviceUnavailable, PocketzooError, WorkFailed


class Said(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An error of ours as a record."""

    kind: str
    what: str
    where: str | None = None
    hint: str | None = None
    detail: tuple[str, ...] = ()


decodable(Said)


class TaskFailed(Exception):
    """A task failed for a reason that another host may not have; its only argument is a record as JSON."""

    def said(self) -> Said:
        """The record; where it is none, its text."""
        try:
            return msgspec.json.decode(str(self.args[0]) if self.args else "", type=Said)
        except msgspec.DecodeError:
            return Said(kind="WorkFailed", what=str(self)[:500])


_KINDS: dict[str, type[PocketzooError]] = {
    "BadInput": BadInput,
    "DeviceUnavailable": DeviceUnavailable,
    "WorkFailed": WorkFailed,
}


def said_of(error: PocketzooError) -> Said:
    """An error as a record."""
    kind = next((name for name, cls in _KINDS.items() if isinstance(error, cls)), "WorkFailed")
    return Said(kind=kind, what=error.what, where=error.where, hint=error.hint, detail=error.detail)


def error_of(said: Said, host: str | None = None) -> PocketzooError:
    """A record as an error, with the host it happened on."""
    where = ", ".join(part for part in (said.where, f"on {host}" if host else None) if part)
    return _KINDS.get(said.kind, WorkFailed)(said.what, where=where or None, hint=said.hint, detail=said.detail)


def failed(error: PocketzooError) -> TaskFailed:
    """An error as what a task raises, to be tried again elsewhere."""
    return TaskFailed(msgspec.json.encode(said_of(error)).decode())
