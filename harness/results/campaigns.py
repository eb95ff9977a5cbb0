"""Campaigns: what somebody asked for and which cells that came to, so that it can be gone on with after anything."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, and_, func, insert, select, update

from harness.job import Cell
from harness.results.schema import campaign_cells, campaigns, rounds
from pocketzoo.errors import BadInput, WorkFailed

State = Literal["open", "done", "incomplete", "interrupted"]
KEYS_AT_ONCE = 500
STATES: tuple[State, ...] = ("open", "done", "incomplete", "interrupted")


@dataclass(frozen=True)
class Campaign:
    """A campaign: its name, when it was made (UTC, ISO 8601), what was asked for, the seed of its order, its state."""

    id: str
    created: str
    request: Mapping[str, Any]
    seed: int
    state: State

    @property
    def started(self) -> str:
        """When it was made, as measurements write the time: UTC, ISO 8601, milliseconds."""
        return datetime.fromisoformat(self.created).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Wanted:
    """A cell that a campaign wants, and how far it is.

    ``fresh_round`` is None where an earlier result will do; else only rounds with that number or a later one count.
    ``state`` is ``done`` where a counted round is, else the state of the newest counted round (``open``, ``failed``),
    else ``missing``.
    """

    cell: Cell
    fresh_round: int | None
    state: Literal["missing", "open", "failed", "done"]


def create(connection: Connection, request: Mapping[str, Any], id_: str | None, seed: int) -> str:
    """A new open campaign; its name begins with the moment, so that names sort by age."""
    now = datetime.now(UTC)
    name = id_ or f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    if connection.execute(select(campaigns.c.id).where(campaigns.c.id == name)).first() is not None:
        raise BadInput(f"a campaign {name} is there already", hint=f"harness resume {name}")
    connection.execute(
        insert(campaigns).values(
            id=name,
            created=now.isoformat(timespec="microseconds"),
            request=msgspec.json.encode(request).decode(),
            seed=seed,
            state="open",
        )
    )
    return name


def stored(connection: Connection, id_: str | None = None) -> list[Campaign]:
    """Campaigns, the last one first; only that of ``id_`` where it is given.

    Raises:
        WorkFailed: what is stored of one is damaged.
    """
    query = select(campaigns).order_by(campaigns.c.created.desc(), campaigns.c.id.desc())
    if id_ is not None:
        query = query.where(campaigns.c.id == id_)
    return [_campaign(row) for row in connection.execute(query)]


def end(connection: Connection, id_: str, state: State) -> None:
    """Set a campaign's state; ``open`` opens it again.

    Raises:
        BadInput: no such campaign.
        ValueError: no such state.
    """
    if state not in STATES:
        raise ValueError(state)
    done = connection.execute(update(campaigns).where(campaigns.c.id == id_).values(state=state))
    if not done.rowcount:
        raise _unknown(id_)


def want(connection: Connection, id_: str, cells: Sequence[Cell], *, fresh: bool) -> None:
    """Add cells in their order; those that the campaign wants already stay as they are.

    Raises:
        BadInput: no such campaign.
    """
    # The row is locked, so that two who add at once do not give one position twice.
    if connection.execute(select(campaigns.c.id).where(campaigns.c.id == id_).with_for_update()).first() is None:
        raise _unknown(id_)
    here = campaign_cells.c.campaign_id == id_
    asked = list({cell.key for cell in cells})
    known: set[str] = set()
    for start in range(0, len(asked), KEYS_AT_ONCE):
        some = campaign_cells.c.job_key.in_(asked[start : start + KEYS_AT_ONCE])
        known.update(connection.execute(select(campaign_cells.c.job_key).where(here, some)).scalars())
    position = connection.execute(select(func.count()).select_from(campaign_cells).where(here)).scalar_one()
    rows: list[dict[str, object]] = []
    for key, cell in {cell.key: cell for cell in cells}.items():
        if key in known:
            continue
        rows.append(
            {
                "campaign_id": id_,
                "job_key": key,
                "position": position + len(rows),
                "device": cell.device,
                "cell": msgspec.json.encode(cell, order="deterministic").decode(),
                "fresh_round": _next_round(connection, key) if fresh else None,
            }
        )
    if rows:
        connection.execute(insert(campaign_cells), rows)


def progress(connection: Connection, id_: str, device: str | None = None) -> list[Wanted]:
    """What a campaign wants, of all devices or of one, in the order it was asked for, with how far each cell is."""
    counted = and_(
        rounds.c.job_key == campaign_cells.c.job_key,
        rounds.c.number >= func.coalesce(campaign_cells.c.fresh_round, 0),
        rounds.c.state != "abandoned",
    )
    query = (
        select(campaign_cells.c.cell, campaign_cells.c.fresh_round, campaign_cells.c.job_key, rounds.c.state)
        .select_from(campaign_cells.outerjoin(rounds, counted))
        .where(campaign_cells.c.campaign_id == id_)
        .order_by(campaign_cells.c.position, rounds.c.number)
    )
    if device is not None:
        query = query.where(campaign_cells.c.device == device)
    found: dict[str, Wanted] = {}
    for row in connection.execute(query):
        before = found.get(row.job_key)
        if before is None:
            found[row.job_key] = Wanted(_cell(row), row.fresh_round, row.state or "missing")
        elif before.state != "done":
            found[row.job_key] = Wanted(before.cell, before.fresh_round, row.state)
    return list(found.values())


def _next_round(connection: Connection, job_key: str) -> int:
    last = connection.execute(select(func.max(rounds.c.number)).where(rounds.c.job_key == job_key)).scalar()
    return 0 if last is None else last + 1


def _campaign(row: Any) -> Campaign:
    try:
        request = msgspec.json.decode(row.request, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WorkFailed(f"the stored request of campaign {row.id} is damaged: {error}") from error
    return Campaign(row.id, row.created, request, row.seed, row.state)


def _cell(row: Any) -> Cell:
    try:
        return msgspec.json.decode(row.cell, type=Cell)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WorkFailed(f"a stored cell of a campaign is damaged ({row.job_key[:12]}): {error}") from error


def _unknown(id_: str) -> BadInput:
    return BadInput(f"no campaign {id_}", hint="harness resume, without a name, takes the last one")
