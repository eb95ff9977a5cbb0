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

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from zoo.adding import add_file
from zoo.artifact import Artifact
from zoo.backends.protocol import Published
from zoo.measurement import Measurement
from zoo.reference import LATEST, parse_reference
from zoo.remotes import RemoteConfig, add_remote, load_remotes, open_remote, remove_remote, which
from zoo.sign import Identity, Keyless, PrivateKey, PublicKey
from zoo.store import Entry, Store
from zoo.verify import Finding

__all__ = [
    "Artifact",
    "BadInput",
    "Entry",
    "Finding",
    "Identity",
    "Keyless",
    "Measurement",
    "PocketzooError",
    "PrivateKey",
    "PublicKey",
    "Published",
    "PulledFiles",
    "RemoteConfig",
    "Store",
    "WorkFailed",
    "add",
    "add_remote",
    "list_models",
    "pull",
    "push",
    "remote_models",
    "remotes",
    "remove_remote",
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
    """

    entry: Entry
    paths: tuple[Path, ...]
    source: str
    fetched: int
    warnings: tuple[str, ...]


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
    to: Path | str | None = None,
    force: bool = False,
    offline: bool = False,
    refresh: bool = False,
    signed_by: PublicKey | Identity | None = None,
    store: Store | None = None,
) -> PulledFiles:
    """Bring an entry into the local zoo, every byte hashed before it becomes visible.

    Args:
        reference: ``[remote/]name[:tag|@sha256:...]``.
        to: copy the files into this folder; default: their places in the store, which must not be written to.
        force: replace different files of the same names in ``to``.
        offline: ask no remote.
        refresh: ask the remotes also where the store has the entry.
        signed_by: whose signature is required; nothing becomes visible without it.
        store: default: the local zoo.

    Raises:
        BadInput: not a reference; nobody has it (with the nearest names and who was asked).
        WorkFailed: a remote failed, a file was not what its manifest says, or the signature does not hold.
    """
    from zoo import pull as pulling

    place = store or Store()
    accept = None
    if signed_by is not None:
        from zoo.signatures import demanding

        accept = demanding(signed_by, lambda _: None)
    pulled = pulling.pull(reference, store=place, offline=offline, refresh=refresh, accept=accept)
    entry = pulled.entry
    if to is not None:
        paths = place.export(entry, Path(to), force=force)
    else:
        paths = [place.file(record) for record in entry.artifact.files]
    return PulledFiles(entry, tuple(paths), pulled.source, pulled.fetched, pulled.warnings)


def push(
    reference: str,
    *,
    to: str | None = None,
    tags: Sequence[str] = (),
    sign: PrivateKey | Keyless | None = None,
    resend: bool = False,
    store: Store | None = None,
) -> Published:
    """Publish an entry of the local zoo with its measurements; what the remote has already is not sent.

    Args:
        reference: ``name[:tag|@sha256:...]``.
        to: a remote's name or URL; default: the default remote.
        tags: tags that shall point to it there; default: the reference's tag, or ``latest``.
        sign: sign it first.
        resend: send the files also where the remote has them.
        store: default: the local zoo.

    Raises:
        BadInput: no such entry or remote; nothing can be published there; the key cannot be used.
        WorkFailed: the remote failed, or a stored file was changed.
    """
    from zoo import push as pushing

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
        return pushing.push(place, remote, entry, tags=wanted, resend=resend, signature=signature)


def verify(
    reference: str | None = None, *, signed_by: PublicKey | Identity | None = None, store: Store | None = None
) -> list[Finding]:
    """Check hashes, manifests, lineage and that the runtime loads each model; all of it is well if every ``ok`` is.

    Args:
        reference: one entry; default: all.
        signed_by: whose signature each must have.
        store: default: the local zoo.
    """
    from zoo.verify import verify_entry

    place = store or Store()
    problems: list[PocketzooError] = []
    entries = [place.get(reference)] if reference else list(place.entries(problems.append))
    findings = [Finding("-", "manifest", False, f"{p.what}: {p.where}") for p in problems]
    for entry in entries:
        findings += verify_entry(place, entry)
        if signed_by is not None:
            from zoo.signatures import signature_finding

            findings.append(signature_finding(place, entry, signed_by))
    return findings


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
