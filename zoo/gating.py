"""The gate of a push: what the entry is held against is found at the remote, on the snapshot the push is decided on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from zoo.backends.protocol import Remote, Snapshot
from zoo.gate import Gate, Held, hold
from zoo.published import published_entry, see
from zoo.reference import Reference
from zoo.store import Entry, Store


class GateBroken(WorkFailed):
    """The entry is worse than the one it would replace by more than the gate allows; nothing was published."""


def gate_check(
    gate: Gate,
    store: Store,
    remote: Remote,
    entry: Entry,
    tags: Sequence[str],
    *,
    against: str | None = None,
    told: Callable[[str], None] | None = None,
) -> Callable[[Snapshot | None], None]:
    """The ``check`` of :func:`zoo.push.push`.

    The entry is held against the one that the first tag points at there now; where that is this very entry, or nothing,
    against its parent, at the remote or in the store; or against ``against``.

    Args:
        gate: the limits.
        store: the local zoo.
        remote: where the entry is pushed to.
        entry: what is pushed.
        tags: tags that shall point to it.
        against: a reference that it is held against instead.
        told: is told what was held against what, a line each.

    Returns:
        A function that raises GateBroken where the gate does not hold, and BadInput where ``against`` is nothing.
    """

    def check(snapshot: Snapshot | None) -> None:
        warnings: list[str] = []
        base, name = _base(store, remote, entry, tags, snapshot, against, warnings)
        tell = told if told is not None else (lambda _: None)
        for warning in warnings:
            tell(f"warning: {warning}")
        if base is None:
            if gate.devices:
                _require(gate, entry)
            tell("gate: nothing to hold it against: it replaces nothing there and its parent is not known")
            return
        held = hold(gate, entry, base)
        for line in (*(f"holds: {x}" for x in held.holds), *(f"left out: {x}" for x in held.left_out)):
            tell(f"gate against {name}: {line}")
        if not held.ok:
            raise _broken(entry, name, held)

    return check


def _broken(entry: Entry, name: str, held: Held) -> GateBroken:
    digest = entry.artifact.digest
    return GateBroken(
        f"{entry.artifact.name} does not hold the gate against {name}; nothing was published",
        detail=held.broken,
        hint=f"zoo diff {name} {entry.artifact.name}@sha256:{digest}, and harness run --publish for what is missing",
    )


def _require(gate: Gate, entry: Entry) -> None:
    measured = {m.device.name for m in entry.measurements if m.verdict.name == "valid" and m.provenance == "hardware"}
    missing = [device for device in gate.devices if device not in measured]
    if missing:
        raise GateBroken(
            f"{entry.artifact.name} has no valid measurement on {', '.join(missing)}; nothing was published",
            hint=f"harness run --device {missing[0]} --model {entry.artifact.name} --publish",
        )


def _base(
    store: Store,
    remote: Remote,
    entry: Entry,
    tags: Sequence[str],
    snapshot: Snapshot | None,
    against: str | None,
    warnings: list[str],
) -> tuple[Entry | None, str]:
    """What it is held against, and its name for messages."""
    if against is not None:
        seen = see(against, store=store)
        warnings += seen.warnings
        if seen.entry.artifact.digest == entry.artifact.digest:
            raise BadInput(f"--against names the very entry that is pushed: {against}")
        return seen.entry, against
    name, digest = entry.artifact.name, entry.artifact.digest
    if snapshot is not None and tags:
        at = snapshot.tags.get(tags[0])
        if at is not None and at != digest and at in snapshot.manifests:
            return published_entry(remote, snapshot, at, warnings), f"{name}@sha256:{at}"
    parent = entry.artifact.parent
    if parent is None or parent.digest == digest:
        return None, ""
    shown = str(Reference(parent.name, digest=parent.digest))
    there = snapshot if parent.name == name else remote.snapshot(parent.name)
    if there is not None and parent.digest in there.manifests:
        return published_entry(remote, there, parent.digest, warnings), shown
    try:
        return store.get(Reference(parent.name, digest=parent.digest)), shown
    except PocketzooError:
        return None, ""
