"""The zoo from Python: the verbs of the command line, typed, with records for answers.

    from zoo import api

    pulled = api.pull("mobilenetv2-quant")
    print(pulled.paths[0], pulled.entry.artifact.digest)

Errors are :class:`pocketzoo.errors.PocketzooError`: ``BadInput`` for wrong use, ``WorkFailed`` where the work was tried
and failed; each has ``what``, ``where`` and ``hint``. State lives where the command line has it
(``$POCKETZOO_HOME``), or in the :class:`Store` that is given. Importing this module imports nothing slow.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from zoo.adding import add_file
from zoo.artifact import Artifact
from zoo.backends.protocol import Published
from zoo.constraints import Constraints, Prefer
from zoo.diff import Diff
from zoo.gate import Gate
from zoo.measurement import Measurement
from zoo.reference import LATEST, parse_reference
from zoo.remeasure import Reproduction
from zoo.remotes import RemoteConfig, add_remote, load_remotes, open_remote, remove_remote, which
from zoo.resolve import Choice
from zoo.sign import Identity, Keyless, PrivateKey, PublicKey
from zoo.store import Entry, Store
from zoo.verify import Finding

if TYPE_CHECKING:
    from zoo.getting import Got
    from zoo.pull import Offer

__all__ = [
    "Artifact",
    "BadInput",
    "Choice",
    "Constraints",
    "Diff",
    "Entry",
    "Finding",
    "Gate",
    "Identity",
    "Keyless",
    "Measurement",
    "PocketzooError",
    "PrivateKey",
    "PublicKey",
    "Published",
    "PulledFiles",
    "RemoteConfig",
    "Reproduction",
    "Store",
    "WorkFailed",
    "add",
    "add_remote",
    "diff",
    "list_models",
    "pull",
    "pull_locked",
    "push",
    "remeasure",
    "remote_models",
    "remotes",
    "remove_remote",
    "resolve",
    "show",
    "verify",
]


@dataclass(frozen=True)
class PulledFiles:
    """What :func:`pull` brought.

    Args:
        entry: as the store holds it now: artifact, tags, measurements.
        paths: the entry's files, in the order of ``entry.artifact.files``; the first one runs.
        source: the remote's name, ``local`` where nobody was asked.
        fetched: bytes that came over the wire.
        warnings: what a person should know: remotes that did not answer, a tag that moved, records left out.
        choice: where something was asked of it: what fits, what does not and why.
    """

    entry: Entry
    paths: tuple[Path, ...]
    source: str
    fetched: int
    warnings: tuple[str, ...]
    choice: Choice | None = None


def list_models(
    pattern: str = "*", *, store: Store | None = None, on_problem: Callable[[PocketzooError], None] | None = None
) -> list[Entry]:
    """The entries of the local zoo whose name matches a shell pattern, by name, then by digest.

    Args:
        pattern: e.g. ``mobilenet*``.
        store: default: the local zoo.
        on_problem: is told of entries that cannot be read; by default the first one's error is raised.
    """

    def stop(problem: PocketzooError) -> None:
        raise problem

    entries = (store or Store()).entries(on_problem or stop)
    return [entry for entry in entries if fnmatch.fnmatchcase(entry.artifact.name, pattern)]


def show(reference: str, *, store: Store | None = None) -> Entry:
    """One entry of the local zoo: its artifact, tags and measurements.

    Raises:
        BadInput: not a reference; no such name (with the nearest ones), tag or digest.
    """
    return (store or Store()).get(reference)


def add(
    file: Path | str,
    name: str | None = None,
    *,
    tag: str = LATEST,
    parent: str | None = None,
    relation: str = "derived",
    licence: str | None = None,
    source: str | None = None,
    beside: Sequence[Path | str] = (),
    task: str | None = None,
    dataset: str | None = None,
    published: Sequence[str] = (),
    samples: int | None = None,
    store: Store | None = None,
) -> Entry:
    """Inspect a model file made elsewhere and add it; see :func:`zoo.adding.add_file` for each argument.

    Raises:
        BadInput: no such file, damaged, a pickle, or one that the runtime refuses.
    """
    return add_file(
        Path(file), name, store=store, tag=tag, parent=parent, relation=relation, licence=licence, source=source,
        beside=[Path(each) for each in beside], task=task, dataset=dataset, published=published, samples=samples,
    )  # fmt: skip


def pull(
    reference: str,
    *,
    device: str | None = None,
    max_latency_ms: float | None = None,
    min_top1: float | None = None,
    max_size_mb: float | None = None,
    threads: int | None = None,
    abi: str | None = None,
    prefer: Prefer = "accuracy",
    allow_published: bool = False,
    constraints: Constraints | None = None,
    to: Path | str | None = None,
    force: bool = False,
    offline: bool = False,
    refresh: bool = False,
    lock: Path | str | None = None,
    signed_by: PublicKey | Identity | None = None,
    store: Store | None = None,
) -> PulledFiles:
    """Bring an entry into the local zoo, every byte hashed before it becomes visible.

    With nothing asked of it: the entry that the reference names. Else the entry of that name or one of its variants
    that satisfies what is asked best, wherever it is.

    Args:
        reference: ``[remote/]name[:tag|@sha256:...]``.
        device: measured there, e.g. ``kirin970``.
        max_latency_ms: at most so many milliseconds; needs ``device``.
        min_top1: at least so many percent.
        max_size_mb: all files together, in 1,000,000 bytes.
        threads: measured with so many threads; needs ``device``.
        abi: measured under this one, e.g. ``armv8``; needs ``device``.
        prefer: what decides among those that fit.
        allow_published: published figures count too.
        constraints: all of these and more as one record; instead of them.
        to: copy the files into this folder; default: their places in the store, which must not be written to.
        force: replace different files of the same names in ``to``.
        offline: ask no remote.
        refresh: ask the remotes also where the store has the entry.
        lock: pin the answer in this lock file.
        signed_by: whose signature is required; nothing becomes visible without it.
        store: default: the local zoo.

    Raises:
        BadInput: not a reference; nobody has it (with the nearest names and who was asked); constraints that make no
            sense.
        WorkFailed: nothing satisfies the constraints (with the nearest misses); a remote failed, a file was not what
            its manifest says, or the signature does not hold.
    """
    from zoo import getting

    place = store or Store()
    asked = Constraints(
        device=device, max_latency_ms=max_latency_ms, max_size_mb=max_size_mb, threads=threads, abi=abi,
        minimum=(("top1", min_top1),) if min_top1 is not None else (), prefer=prefer, allow_published=allow_published,
    )  # fmt: skip
    if constraints is not None and asked != Constraints():
        raise BadInput("constraints were given as a record and as arguments", hint="give one of them")
    got = getting.get(
        reference, constraints or asked, store=place, offline=offline, refresh=refresh, accept=_accept(signed_by)
    )  # fmt: skip
    pulled = _delivered(place, got, to, force)
    if lock is not None:
        getting.write_lock(Path(lock), got, store=place)
    return pulled


def pull_locked(
    lockfile: Path | str = "zoo.lock",
    *,
    to: Path | str | None = None,
    force: bool = False,
    offline: bool = False,
    signed_by: PublicKey | Identity | None = None,
    store: Store | None = None,
) -> list[PulledFiles]:
    """Bring exactly what a lock file pins; nothing is chosen anew. Arguments as in :func:`pull`.

    Raises:
        BadInput: no lock file, or a damaged one.
        WorkFailed: see :func:`pull`.
    """
    from zoo import getting

    place = store or Store()
    got = getting.get_locked(Path(lockfile), store=place, offline=offline, accept=_accept(signed_by))
    return [_delivered(place, each, to, force) for each in got]


def resolve(
    reference: str, constraints: Constraints | None = None, *, offline: bool = False, store: Store | None = None
) -> Choice:
    """What a pull would choose, without pulling: ``choice.chosen`` (None: nothing fits), ``fits`` and ``misses``.

    Args:
        reference: without tag or digest its whole family counts.
        constraints: what is asked for.
        offline: ask no remote.
        store: default: the local zoo.

    Raises:
        BadInput: not a reference; constraints that make no sense; a device or name that nobody knows.
        WorkFailed: nobody who answered has the name, and somebody did not answer.
    """
    from zoo.choose import choose

    return choose(reference, constraints or Constraints(), store=store, offline=offline).choice


def diff(
    first: str, second: str, *, devices: Sequence[str] = (), offline: bool = False, store: Store | None = None
) -> Diff:
    """What is different between two entries: file, operators, quantization, accuracy, latency with significance.

    Args:
        first: a reference, also of a remote, whose manifest and numbers are read.
        second: what is compared with it.
        devices: latencies on these alone; default: on all.
        offline: ask no remote.
        store: default: the local zoo.

    Raises:
        BadInput: not a reference; no such entry.
        WorkFailed: a remote failed.
    """
    from zoo.diff import diff as compare
    from zoo.inside import inside
    from zoo.published import see

    place = store or Store()
    a, b = (see(reference, store=place, offline=offline).entry for reference in (first, second))
    return compare(a, b, inside_a=inside(place, a), inside_b=inside(place, b), devices=devices)


def push(
    reference: str,
    *,
    to: str | None = None,
    tags: Sequence[str] = (),
    gate: Gate | None = None,
    against: str | None = None,
    sign: PrivateKey | Keyless | None = None,
    resend: bool = False,
    store: Store | None = None,
) -> Published:
    """Publish an entry of the local zoo with its measurements; what the remote has already is not sent.

    Args:
        reference: ``name[:tag|@sha256:...]``.
        to: a remote's name or URL; default: the default remote.
        tags: tags that shall point to it there; default: the reference's tag, or ``latest``.
        gate: publish only where it holds against what the tag points at now, or else against the parent.
        against: a reference that it is held against instead.
        sign: sign it first.
        resend: send the files also where the remote has them.
        store: default: the local zoo.

    Raises:
        BadInput: no such entry or remote; nothing can be published there; the key cannot be used.
        WorkFailed: the gate does not hold, the remote failed, or a stored file was changed.
    """
    from zoo import push as pushing
    from zoo.gating import gate_check

    place = store or Store()
    ref = parse_reference(reference)
    if ref.remote is not None:
        raise BadInput("what is pushed is of the local zoo", hint=f"push({ref.name!r}, to={ref.remote!r})")
    entry = place.get(ref)
    signature = None
    if sign is not None:
        from zoo.signatures import signed

        signature = signed(place, entry, sign)
    wanted = tuple(tags) or ((ref.tag or LATEST,) if ref.digest is None else ())
    with closing(open_remote(which(to))) as remote:
        check = gate_check(gate, place, remote, entry, wanted, against=against) if gate and gate.asks else None
        return pushing.push(place, remote, entry, tags=wanted, check=check, resend=resend, signature=signature)


def verify(
    reference: str | None = None, *, signed_by: PublicKey | Identity | None = None, store: Store | None = None
) -> list[Finding]:
    """Check hashes, manifests, lineage and that the runtime loads each model; all of it is well if every ``ok`` is.

    Args:
        reference: one entry; default: all.
        signed_by: whose signature each must have.
        store: default: the local zoo.
    """
    from zoo.verify import lineages, unreadable, verify_entry, verify_tags

    place = store or Store()
    problems: list[PocketzooError] = []
    entries = [place.get(reference)] if reference else list(place.entries(problems.append))
    problems = unreadable(problems, entries)
    findings = [Finding("-", "manifest", False, f"{p.what}: {p.where}") for p in problems]
    parents = lineages(place)
    for entry in entries:
        findings += verify_entry(place, entry, parents)
        if signed_by is not None:
            from zoo.signatures import signature_finding

            findings.append(signature_finding(place, entry, signed_by))
    return [*findings, *verify_tags(place, entries[0].artifact.name if reference else None)]


def remeasure(
    reference: str,
    device: str,
    *,
    threads: Sequence[int] = (),
    abis: Sequence[str] = (),
    tolerance: float = 0.05,
    store: Store | None = None,
) -> list[Reproduction]:
    """Measure an entry's published figures on a device again; each ``ok`` says whether it came out.

    Args:
        reference: an entry of the local zoo.
        device: where it was and is measured.
        threads: only figures with so many; default: all.
        abis: only figures of these; default: all.
        tolerance: share below which a difference is none.
        store: default: the local zoo.

    Raises:
        BadInput: no such entry, or nothing that can be held was published there.
        DeviceUnavailable: the device cannot be used now.
    """
    from zoo.remeasure import reproduce

    place = store or Store()
    return reproduce(place.get(reference), device, store=place, threads=threads, abis=abis, tolerance=tolerance)


def remotes() -> tuple[RemoteConfig, ...]:
    """The configured remotes, the default first. :func:`add_remote` and :func:`remove_remote` change them."""
    return load_remotes().in_order()


def remote_models(remote: str | None = None) -> tuple[str, ...]:
    """The names of all entries of a remote, sorted.

    Args:
        remote: its name or URL; default: the default remote.

    Raises:
        BadInput: no such remote.
        WorkFailed: it does not answer.
    """
    with closing(open_remote(which(remote))) as opened:
        return opened.names()


def _accept(signed_by: PublicKey | Identity | None) -> Callable[[Offer], None] | None:
    if signed_by is None:
        return None
    from zoo.signatures import demanding

    return demanding(signed_by, lambda _: None)


def _delivered(store: Store, got: Got, to: Path | str | None, force: bool) -> PulledFiles:
    pulled = got.pulled
    if to is not None:
        paths = store.export(pulled.entry, Path(to), force=force)
    else:
        paths = [store.file(record) for record in pulled.entry.artifact.files]
    choice = got.chosen.choice if got.chosen is not None else None
    return PulledFiles(pulled.entry, tuple(paths), pulled.source, pulled.fetched, pulled.warnings, choice)
