"""The Hugging Face Hub as a remote.

``hf://OWNER``        one repository for each name, OWNER/NAME
``hf://OWNER/REPO``   one repository for all names, a folder each
``?private=true``     a repository that a put makes is private

Every put is one commit on top of the commit it was decided on, so a reader sees all of it or nothing, and two
publishers cannot undo each other: docs/decisions/0520. ``HF_ENDPOINT``, ``HF_TOKEN`` and the login of ``hf auth login``
are used as by the Hub's own tools.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pocketzoo.errors import PocketzooError, WorkFailed
from zoo.artifact import FileRecord
from zoo.backends.hub_client import HOSTED, HubClient
from zoo.backends.hub_errors import Absent, Missing, Stumbled
from zoo.backends.hub_layout import (
    CARD,
    FOLDER,
    LARGEST_TAGS,
    TAGS,
    Contents,
    Held,
    Listed,
    Plan,
    as_snapshot,
    belongs,
    carded,
    decode_tags,
    plan,
    with_base,
)
from zoo.backends.hub_place import Place, checked_endpoint, parse_place
from zoo.backends.protocol import (
    LARGEST_MANIFEST,
    LARGEST_MEASUREMENT,
    LARGEST_SIGNATURE,
    LARGEST_SNAPSHOT,
    MOST_NAMES,
    Blob,
    Change,
    Moved,
    Published,
    Remote,
    RemoteBroken,
    RemoteUnavailable,
    Snapshot,
    moved,
)
from zoo.card_data import relation_of
from zoo.decode import decode_artifact
from zoo.reference import DIGEST, LONGEST_NAME, NAME, matches

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

SIDE_BY_SIDE = 8  # small files asked for at once
COMMITS = 60  # how often a put is decided anew because another commit was faster


def open_hub(url: str, *, token: str | None = None, endpoint: str | None = None) -> Remote:
    """A remote on the Hub. Nothing is asked and nothing slow imported before the first use.

    Args:
        url: ``hf://OWNER`` or ``hf://OWNER/REPO``, see :func:`parse_place`.
        token: what to sign in with; None: ``HF_TOKEN`` or the login of this machine; "": nothing.
        endpoint: the Hub's address; None: ``HF_ENDPOINT``, or the public Hub.

    Raises:
        BadInput: the address or the endpoint is none.
    """
    place = parse_place(url)
    at = checked_endpoint(endpoint or os.environ.get("HF_ENDPOINT") or HOSTED)
    address = str(place) if at == HOSTED else f"{place} at {at}"
    return HubRemote(place, HubClient(at, token, address))


class HubRemote:
    """Implements :class:`zoo.backends.protocol.Remote` over repositories of the Hub."""

    def __init__(self, place: Place, client: HubClient) -> None:
        self._place = place
        self._client = client
        self._known: dict[str, Held] = {}  # as last listed; a commit stays what it is
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """See :class:`Remote`. Says so where no token was sent: to nobody a private repository is none."""
        return f"{self._client.address}, without a token" if self._client.asked_by_nobody else self._client.address

    @property
    def url(self) -> str:
        """What ``zoo remote add`` takes, for cards."""
        return str(self._place)

    def names(self) -> tuple[str, ...]:
        """See :class:`Remote`. Of an owner's repositories, those whose card has the tag ``pocketzoo``."""
        place = self._place
        if place.repository is None:
            models = self._client.ask(
                lambda api: list(islice(api.list_models(author=place.owner, filter=FOLDER), MOST_NAMES + 1))
            )
            self._few(len(models), f"models of {place.owner}")
            parted = [str(model.id).split("/") for model in models]
            found = [parts[1] for parts in parted if len(parts) == 2 and parts[0] == place.owner]
        else:
            try:
                listed = self._tree(f"{place.owner}/{place.repository}", "main", "")
            except Absent:
                return ()
            split = [path.split("/") for path in listed]
            found = [
                parts[0]
                for parts in split
                if len(parts) == 4 and parts[1:3] == [FOLDER, "entries"] and matches(rf"{DIGEST}\.json", parts[3])
            ]
        return tuple(sorted({name for name in found if matches(NAME, name) and len(name) <= LONGEST_NAME}))

    def snapshot(self, name: str) -> Snapshot | None:
        """See :class:`Remote`. All of it is of one commit."""
        held = self._look(name)
        if held is None or not held.digests:
            return None
        tags = self._tags(name, held)
        total = sum(listed.size for path, listed in held.files.items() if "/entries/" in path or "/signatures/" in path)
        if total > LARGEST_SNAPSHOT:
            raise RemoteBroken(f"{name} has {total:,} bytes of manifests", where=self.address)
        signed = [d for d in held.digests if _signature(d) in held.files]
        wanted = [(_manifest(d), LARGEST_MANIFEST) for d in held.digests]
        wanted += [(_signature(d), LARGEST_SIGNATURE) for d in signed]
        contents = self._read_all(name, held, wanted)
        measured = {digest: held.measurements(digest) for digest in held.digests}
        return Snapshot(
            name=name,
            manifests={digest: contents[_manifest(digest)] for digest in held.digests},
            tags={tag: digest for tag, digest in tags.items() if digest in held.digests},
            measurements={digest: names for digest, names in measured.items() if names},
            signatures={digest: contents[_signature(digest)] for digest in signed},
            revision=held.revision,
        )

    def measurement(self, name: str, digest: str, file_name: str) -> bytes:
        """See :class:`Remote`."""
        path = f"{FOLDER}/measurements/{digest}/{file_name}"
        held = self._recent(name)
        if held is None or path not in held.files:
            held = self._look(name)
        if held is None or path not in held.files:
            raise RemoteBroken(f"the measurement {file_name} is gone", where=self.address)
        return self._read(name, held, path, LARGEST_MEASUREMENT)

    @contextlib.contextmanager
    def blob(self, name: str, digest: str, record: FileRecord, offset: int) -> Iterator[Blob]:
        """See :class:`Remote`."""
        held = self._recent(name)
        path = held.path_of(digest, record) if held else None
        if path is None:
            held = self._look(name)
            path = held.path_of(digest, record) if held else None
        if held is None or path is None:
            raise RemoteBroken(
                f"{record.name} of {name} is missing there (sha256:{record.sha256[:12]})", where=self.address
            )
        if offset >= record.size > 0:
            yield Blob(offset, iter(()))  # there is no such range to ask for
            return
        with self._client.body(self._repository(name), self._inside(name) + path, held.revision, offset) as body:
            yield body

    def put(self, change: Change, base: Snapshot | None) -> Published:
        """See :class:`Remote`. A commit that came between is no reason to give up, unless it changed the same."""
        committed: Plan | None = None  # a commit whose answer was lost may have happened
        unsure = 0
        with ExitStack() as open_files:
            for attempt in range(COMMITS):
                held = self._look(change.name, make=True)
                assert held is not None  # noqa: S101  it was made
                now = self._contents(change, held)
                if (why := moved(change, base, as_snapshot(change, held, now))) is not None:
                    raise Moved(f"somebody else published {change.name} meanwhile: {why}", where=self.address)
                todo = plan(change, held, now)
                if todo.empty:
                    return self._published(change.name, committed)
                try:
                    self._commit(change, held, todo, open_files)
                except Moved:
                    time.sleep(random.uniform(0, 0.02 * min(attempt + 1, 20)))  # noqa: S311  to part the rivals
                    continue
                except Stumbled as error:
                    unsure += 1
                    if unsure == 3:
                        raise
                    committed = todo
                    time.sleep(max(error.wait_s, 0.25 * unsure))
                    continue
                return self._published(change.name, todo)
        raise RemoteUnavailable(
            f"{COMMITS} times another commit was faster", where=self.address, hint="run the same command again"
        )

    def close(self) -> None:
        """See :class:`Remote`. The library's connections are shared by the whole process, and end with it."""

    # what is asked

    def _repository(self, name: str) -> str:
        return self._place.repository_of(name)

    def _inside(self, name: str) -> str:
        folder = self._place.folder_of(name)
        return f"{folder}/" if folder else ""

    def _recent(self, name: str) -> Held | None:
        with self._lock:
            return self._known.get(name)

    def _look(self, name: str, *, make: bool = False) -> Held | None:
        """What is held under a name in the newest commit; None where there is no repository."""
        repository = self._repository(name)
        try:
            revision = self._head(repository)
        except Absent:
            if not make:
                return None
            private = self._place.private or None
            self._client.ask(lambda api: api.create_repo(repository, private=private, exist_ok=True))
            revision = self._head(repository)
        try:
            listed = self._tree(repository, revision, self._place.folder_of(name))
        except Missing:
            listed = {}
        inside = len(self._inside(name))
        files = {path[inside:]: file for path, file in listed.items() if belongs(path[inside:])}
        held = Held(revision, MappingProxyType(files))
        with self._lock:
            self._known[name] = held
        return held

    def _head(self, repository: str) -> str:
        info = self._client.ask(lambda api: api.model_info(repository, revision="main", expand=["sha"]))
        if not isinstance(info.sha, str) or not matches("[0-9a-f]{40}", info.sha):
            raise RemoteBroken("the Hub names no commit", where=self.address)
        return info.sha

    def _tree(self, repository: str, revision: str, folder: str) -> Mapping[str, Listed]:
        """Every file below a folder of a commit, by path."""

        def listing(api: HfApi) -> dict[str, Listed]:
            found: dict[str, Listed] = {}
            entries = api.list_repo_tree(repository, folder or None, recursive=True, revision=revision)
            for number, entry in enumerate(entries):
                self._few(number, f"files in {repository}")
                size = getattr(entry, "size", None)
                if size is None:
                    continue  # a folder
                lfs: Any = getattr(entry, "lfs", None)
                if type(size) is not int or size < 0 or not isinstance(entry.path, str):
                    raise RemoteBroken("the Hub lists a file of no size", where=self.address)
                found[entry.path] = Listed(size, str(getattr(entry, "blob_id", "")), str(lfs.sha256) if lfs else None)
            return found

        return self._client.ask(listing)

    def _few(self, count: int, what: str) -> None:
        if count > MOST_NAMES:
            raise RemoteBroken(f"the Hub lists more than {MOST_NAMES:,} {what}", where=self.address)

    def _read(self, name: str, held: Held, path: str, limit: int) -> bytes:
        if held.files[path].size > limit:
            raise RemoteBroken(f"{path} has more than {limit:,} bytes", where=self.address)
        return self._client.read(self._repository(name), self._inside(name) + path, held.revision, limit)

    def _read_all(self, name: str, held: Held, wanted: list[tuple[str, int]]) -> dict[str, bytes]:
        def read(one: tuple[str, int]) -> bytes:
            return self._read(name, held, *one)

        if len(wanted) < 2:
            return {path: read((path, limit)) for path, limit in wanted}
        with ThreadPoolExecutor(min(SIDE_BY_SIDE, len(wanted))) as threads:
            return dict(zip((path for path, _ in wanted), threads.map(read, wanted), strict=True))

    def _tags(self, name: str, held: Held) -> dict[str, str]:
        data = self._read(name, held, TAGS, LARGEST_TAGS) if TAGS in held.files else None
        try:
            return decode_tags(data)
        except ValueError as error:
            raise RemoteBroken(f"the tags of {name} cannot be read: {error}", where=self.address) from error

    def _contents(self, change: Change, held: Held) -> Contents:
        name, digest = change.name, change.digest
        limits = {_manifest(digest): LARGEST_MANIFEST, _signature(digest): LARGEST_SIGNATURE}
        top = held.at_top
        if top is not None:
            limits[_manifest(top)] = LARGEST_MANIFEST
        got = self._read_all(name, held, [(path, limit) for path, limit in limits.items() if path in held.files])
        files = decode_artifact(got[_manifest(top)], f"{self.address}: {_manifest(top)}").files if top else ()
        return Contents(self._tags(name, held), got.get(_manifest(digest)), got.get(_signature(digest)), files)

    # what is changed

    def _commit(self, change: Change, held: Held, todo: Plan, open_files: ExitStack) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

        repository, inside = self._repository(change.name), self._inside(change.name)
        api = self._client.api()

        def content(path: str) -> Any:
            source = change.blobs[todo.blobs[path]]
            # An open file makes the library send it by LFS, which every server knows; a path, by Xet where it can.
            return source if self._client.hosted else open_files.enter_context(source.open("rb"))

        blobs = [CommitOperationAdd(inside + path, content(path)) for path in todo.blobs]
        for one, record in zip(blobs, todo.blobs.values(), strict=True):
            if one.upload_info.sha256.hex() != record.sha256:
                raise WorkFailed(
                    f"{record.name} is not the file its manifest describes",
                    where=str(change.blobs[record]),
                    hint="zoo verify",
                )
            self._send(repository, one)
        if CARD in todo.small:
            todo.small[CARD] = self._with_parent(change, todo.small[CARD])
        small = {inside + path: data for path, data in todo.small.items()}
        if inside and CARD not in small and not self._has_front(repository, held):
            small[CARD] = carded(f"# {repository}\n\nModels published with pocketzoo, one in each folder.\n".encode())
        adding = [CommitOperationAdd(path, data) for path, data in small.items()]
        self._send(repository, *adding)
        operations: list[Any] = [
            CommitOperationCopy(inside + source, inside + path, src_revision=held.revision)
            for path, source in todo.copies.items()
        ]
        operations += [*blobs, *adding]
        operations += [CommitOperationDelete(inside + path, is_folder=False) for path in sorted(todo.gone)]
        with self._client.bounded():
            api.create_commit(
                repository,
                operations,
                commit_message=f"Publish {change.name}@sha256:{change.digest[:12]}",
                parent_commit=held.revision,
            )

    def _with_parent(self, change: Change, card: bytes) -> bytes:
        """The Hub draws a family tree where a card names the parent's repository; only one that is there is named."""
        parent = decode_artifact(change.manifest, change.name).parent
        if parent is None or self._place.repository is not None or "--" in parent.name:
            return card
        repository = self._repository(parent.name)
        try:
            self._head(repository)
        except PocketzooError:  # a family tree is no reason to fail
            return card
        return with_base(card, repository, relation_of(parent.relation))

    def _send(self, repository: str, *adding: CommitOperationAdd) -> None:
        """Ask how files are to be sent, and send the large ones; a commit does the rest."""
        self._client.ask(lambda api: api.preupload_lfs_files(repository, adding))
        for one in adding:
            if one._should_ignore:  # the library would leave it out of the commit without a word
                raise WorkFailed(
                    f"a .gitignore in {repository} keeps {one.path_in_repo} out of it",
                    where=self.address,
                    hint="remove that line of the .gitignore, and push again",
                )

    def _has_front(self, repository: str, held: Held) -> bool:
        """Whether a repository for all names has a card of its own; that one is its owner's."""
        found = self._client.ask(lambda api: api.get_paths_info(repository, [CARD], revision=held.revision))
        return bool(found)

    def _published(self, name: str, done: Plan | None) -> Published:
        sent = set(done.blobs.values()) if done else set()
        return Published(
            changed=done is not None,
            blobs_sent=len(sent),
            bytes_sent=sum(record.size for record in sent),
            address=f"{self._client.endpoint}/{self._repository(name)}",
        )


def _manifest(digest: str) -> str:
    return f"{FOLDER}/entries/{digest}.json"


def _signature(digest: str) -> str:
    return f"{FOLDER}/signatures/{digest}.json"
