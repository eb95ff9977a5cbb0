"""Campaigns that can be taken up again: the request, and the cells it wants on each device.

A campaign holds no result. Which of its cells are measured is in the results, by job key.

This is a store in JSON files under ``campaigns`` in the state folder, for the seam :class:`CampaignStore`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from harness.job import Cell
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import write_atomically
from pocketzoo.home import home
from pocketzoo.names import did_you_mean


class Campaign(Struct, frozen=True, kw_only=True):
    """One campaign. ``state`` is open, done, incomplete (something could not be measured) or interrupted; a campaign
    whose process was killed stays open. ``started`` is UTC in ISO 8601 with milliseconds.
    """

    id: str
    request: dict[str, Any]
    state: str
    started: str


class CampaignStore(Protocol):
    """Where campaigns are kept."""

    def create_campaign(self, request: dict[str, Any], *, id: str | None = None) -> str:
        """Store a request; its campaign's ID."""

    def campaign(self, id: str | None = None) -> Campaign:
        """A campaign by its ID, or the last one.

        Raises:
            BadInput: there is none.
        """

    def campaigns(self) -> Sequence[Campaign]:
        """All of them, oldest first."""

    def end_campaign(self, id: str, state: str) -> None:
        """Set the state."""

    def want(self, campaign_id: str, cells: Sequence[Cell]) -> None:
        """Add cells to a campaign; what it wants already is not added again."""

    def wanted(self, campaign_id: str) -> list[Cell]:
        """The cells of a campaign."""


class JsonCampaigns:
    """Implements :class:`CampaignStore` in files.

    Args:
        folder: default ``campaigns`` in the state folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else home() / "campaigns"
        self._lock = threading.Lock()  # devices want their cells from threads of their own

    def create_campaign(self, request: Mapping[str, Any], *, id: str | None = None) -> str:
        """See :meth:`CampaignStore.create_campaign`."""
        now = datetime.now(UTC)
        made = Campaign(
            id=id or f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
            request=dict(request),
            state="open",
            started=now.isoformat(timespec="milliseconds"),
        )
        self._write(made)
        return made.id

    def campaign(self, id: str | None = None) -> Campaign:
        """See :meth:`CampaignStore.campaign`."""
        known = {one.id: one for one in self.campaigns()}
        if not known:
            raise BadInput("there is no campaign yet", hint="harness run --device local --model REF")
        if id is None:
            return list(known.values())[-1]
        if id in known:
            return known[id]
        close = did_you_mean(id, known)
        last = ", ".join(list(known)[-5:])
        raise BadInput(
            f"no campaign {id!r}" + (f"; {close}" if close else ""),
            detail=(f"the last ones: {last}",),
            hint="harness resume",
        )

    def campaigns(self) -> list[Campaign]:
        """See :meth:`CampaignStore.campaigns`."""
        found = []
        for path in self.folder.glob("*/campaign.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Campaign))
            except msgspec.DecodeError as error:
                raise WorkFailed(f"a stored campaign is damaged: {error}", where=str(path)) from error
        return sorted(found, key=lambda one: (one.started, one.id))

    def end_campaign(self, id: str, state: str) -> None:
        """See :meth:`CampaignStore.end_campaign`."""
        self._write(msgspec.structs.replace(self.campaign(id), state=state))

    def want(self, campaign_id: str, cells: Sequence[Cell]) -> None:
        """See :meth:`CampaignStore.want`."""
        with self._lock:
            known = {cell.key: cell for cell in self.wanted(campaign_id)}
            known |= {cell.key: cell for cell in cells}
            write_atomically(self.folder / campaign_id / "wanted.json", msgspec.json.encode(list(known.values())))

    def wanted(self, campaign_id: str) -> list[Cell]:
        """See :meth:`CampaignStore.wanted`."""
        path = self.folder / campaign_id / "wanted.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Cell])
        except FileNotFoundError:
            return []
        except msgspec.DecodeError as error:
            raise WorkFailed(f"a stored campaign is damaged: {error}", where=str(path)) from error

    def _write(self, campaign: Campaign) -> None:
        write_atomically(self.folder / campaign.id / "campaign.json", msgspec.json.encode(campaign))


def open_campaigns() -> CampaignStore:
    """The store that commands use."""
    return JsonCampaigns()
