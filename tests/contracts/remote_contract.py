"""What every Remote must do. One class; each backend's test module derives from it and says how to open one.

Where a backend cannot be written to, its module derives from :class:`ReadingContract` and fills it another way.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pocketzoo.errors import PocketzooError
from pocketzoo.files import sha256_bytes
from tests.records import measurement_for
from zoo.artifact import Artifact, FileRecord, encode
from zoo.backends.protocol import Change, Moved, Remote

CARD = b"# A model\n"


def change_for(
    folder: Path,
    name: str = "tiny-model",
    content: bytes = b"weights" * 1000,
    *,
    tags: tuple[str, ...] = ("latest",),
    measured: int = 0,
    **fields: object,
) -> Change:
    """An entry with one file, ready to be put; its file lies in ``folder``."""
    digest = sha256_bytes(content)
    record = FileRecord(name=f"{name}.tflite", sha256=digest, size=len(content))
    artifact = Artifact(name=name, format="tflite", files=(record,), **fields)  # type: ignore[arg-type]
    path = folder / digest
    path.write_bytes(content)
    measurements = {}
    for number in range(measured):
        key = sha256_bytes(f"{name} {number}".encode())
        data = encode(measurement_for(artifact, key=key))
        measurements[f"{key}-{sha256_bytes(data)[:16]}.json"] = data
    return Change(
        name=name,
        digest=digest,
        manifest=encode(artifact),
        blobs={record: path},
        tags=tags,
        measurements=measurements,
        card=CARD,
    )


def the_record(change: Change) -> FileRecord:
    (record,) = change.blobs
    return record


def fetched(remote: Remote, change: Change, offset: int = 0) -> bytes:
    """The change's file from ``offset`` on, wherever the remote starts."""
    record = the_record(change)
    with remote.blob(change.name, change.digest, record, offset) as body:
        assert body.offset in (0, offset)
        data = b"".join(body.chunks)
    return data[offset - body.offset :]


class ReadingContract:
    """Derive, and provide ``published``: puts a change the way somebody else did, and ``remote``, to read it by."""

    @pytest.fixture
    def remote(self) -> Remote:
        raise NotImplementedError

    @pytest.fixture
    def published(self) -> Callable[[Change], object]:
        raise NotImplementedError

    def test_an_empty_remote_has_no_names(self, remote: Remote) -> None:
        assert remote.names() == ()
        assert remote.snapshot("tiny-model") is None

    def test_what_was_published_is_read_as_it_was(
        self, remote: Remote, published: Callable[[Change], object], tmp_path: Path
    ) -> None:
        change = change_for(tmp_path, measured=3, tags=("latest", "v1.0"))
        published(change)
        assert remote.names() == ("tiny-model",)
        snapshot = remote.snapshot("tiny-model")
        assert snapshot is not None
        assert dict(snapshot.manifests) == {change.digest: change.manifest}
        assert dict(snapshot.tags) == {"latest": change.digest, "v1.0": change.digest}
        assert snapshot.measurements[change.digest] == tuple(sorted(change.measurements))
        for file_name, data in change.measurements.items():
            assert remote.measurement("tiny-model", change.digest, file_name) == data
        assert fetched(remote, change) == b"weights" * 1000

    def test_several_names_are_sorted_and_apart(
        self, remote: Remote, published: Callable[[Change], object], tmp_path: Path
    ) -> None:
        names = ("mobilenetv1-0.75x", "a", "mobilenetv1", "mobilenetv1-quant")
        changes = {name: change_for(tmp_path, name, name.encode() * 10) for name in names}
        for change in changes.values():
            published(change)
        assert remote.names() == tuple(sorted(names))
        for name, change in changes.items():
            snapshot = remote.snapshot(name)
            assert snapshot is not None
            assert set(snapshot.manifests) == {change.digest}
        assert remote.snapshot("mobilenetv") is None

    @pytest.mark.parametrize("offset", [1, 6999, 7000])
    def test_a_body_begins_where_it_is_told_or_at_its_beginning(
        self, remote: Remote, published: Callable[[Change], object], tmp_path: Path, offset: int
    ) -> None:
        change = change_for(tmp_path)
        published(change)
        assert fetched(remote, change, offset) == (b"weights" * 1000)[offset:]

    def test_a_body_may_be_left_in_the_middle(
        self, remote: Remote, published: Callable[[Change], object], tmp_path: Path
    ) -> None:
        content = bytes(range(256)) * 20_000
        change = change_for(tmp_path, content=content)
        published(change)
        with remote.blob(change.name, change.digest, the_record(change), 0) as body:
            first = next(iter(body.chunks))
        assert content.startswith(first)
        assert fetched(remote, change) == content

    def test_a_file_that_is_not_there_is_told(
        self, remote: Remote, published: Callable[[Change], object], tmp_path: Path
    ) -> None:
        change = change_for(tmp_path)
        published(change)
        other = FileRecord(name="other.tflite", sha256="0" * 64, size=3)
        with pytest.raises(PocketzooError), remote.blob(change.name, change.digest, other, 0) as body:
            list(body.chunks)

    def test_the_address_is_for_reading(self, remote: Remote) -> None:
        assert remote.address
        assert remote.address.isprintable()


class RemoteContract(ReadingContract):
    """Derive, and provide ``make_remote``: each call opens one and the same place, which is empty at first."""

    @pytest.fixture
    def make_remote(self) -> Callable[[], Remote]:
        raise NotImplementedError

    @pytest.fixture
    def remote(self, make_remote: Callable[[], Remote]) -> Iterator[Remote]:
        with closing(make_remote()) as remote:
            yield remote

    @pytest.fixture
    def other(self, make_remote: Callable[[], Remote]) -> Iterator[Remote]:
        """Somebody else's view of the same place."""
        with closing(make_remote()) as remote:
            yield remote

    @pytest.fixture
    def published(self, other: Remote) -> Callable[[Change], object]:
        def put(change: Change) -> None:
            other.put(change, other.snapshot(change.name))

        return put

    def test_a_put_tells_what_it_sent(self, remote: Remote, tmp_path: Path) -> None:
        done = remote.put(change_for(tmp_path), None)
        assert (done.changed, done.blobs_sent, done.bytes_sent) == (True, 1, 7000)

    def test_putting_it_again_sends_and_changes_nothing(self, remote: Remote, other: Remote, tmp_path: Path) -> None:
        change = change_for(tmp_path, measured=2)
        remote.put(change, None)
        before = other.snapshot(change.name)
        again = other.put(change, before)
        assert (again.changed, again.blobs_sent, again.bytes_sent) == (False, 0, 0)
        assert remote.snapshot(change.name) == before

    def test_a_measurement_is_added_without_sending_the_file(self, remote: Remote, tmp_path: Path) -> None:
        change = change_for(tmp_path, measured=1)
        remote.put(change, None)
        more = change_for(tmp_path, measured=2)
        done = remote.put(more, remote.snapshot(change.name))
        assert (done.changed, done.blobs_sent) == (True, 0)
        after = remote.snapshot(change.name)
        assert after is not None
        assert after.measurements[change.digest] == tuple(sorted(more.measurements))

    def test_a_tag_moves_and_the_older_entry_stays(self, remote: Remote, other: Remote, tmp_path: Path) -> None:
        first, second = change_for(tmp_path, tags=("latest", "v1")), change_for(tmp_path, content=b"better")
        remote.put(first, None)
        remote.put(second, remote.snapshot(first.name))
        after = other.snapshot(first.name)
        assert after is not None
        assert dict(after.tags) == {"latest": second.digest, "v1": first.digest}
        assert set(after.manifests) == {first.digest, second.digest}
        assert fetched(other, first) == b"weights" * 1000
        assert fetched(other, second) == b"better"

    def test_an_entry_needs_no_tag(self, remote: Remote, tmp_path: Path) -> None:
        change = change_for(tmp_path, tags=())
        remote.put(change, None)
        after = remote.snapshot(change.name)
        assert after is not None
        assert (set(after.manifests), dict(after.tags)) == ({change.digest}, {})

    def test_a_new_accuracy_replaces_the_manifest(self, remote: Remote, other: Remote, tmp_path: Path) -> None:
        first, second = change_for(tmp_path), change_for(tmp_path, licence="MIT")
        remote.put(first, None)
        done = remote.put(second, remote.snapshot(first.name))
        assert (done.changed, done.blobs_sent) == (True, 0)
        after = other.snapshot(first.name)
        assert after is not None
        assert dict(after.manifests) == {first.digest: second.manifest}

    def test_a_tag_moved_by_somebody_else_is_not_moved_back(
        self, remote: Remote, other: Remote, tmp_path: Path
    ) -> None:
        ours, theirs = change_for(tmp_path, content=b"ours"), change_for(tmp_path, content=b"theirs")
        base = remote.snapshot(ours.name)
        other.put(theirs, None)
        with pytest.raises(Moved):
            remote.put(ours, base)
        after = remote.snapshot(ours.name)
        assert after is not None
        assert dict(after.tags) == {"latest": theirs.digest}
        assert set(after.manifests) == {theirs.digest}
        remote.put(ours, after)
        assert (remote.snapshot(ours.name) or after).tags == {"latest": ours.digest}

    def test_a_manifest_replaced_by_somebody_else_is_not_replaced_back(
        self, remote: Remote, other: Remote, tmp_path: Path
    ) -> None:
        first = change_for(tmp_path)
        remote.put(first, None)
        base = remote.snapshot(first.name)
        other.put(change_for(tmp_path, licence="MIT"), base)
        with pytest.raises(Moved):
            remote.put(change_for(tmp_path, licence="Apache-2.0"), base)

    def test_a_signature_travels_with_its_entry(self, remote: Remote, other: Remote, tmp_path: Path) -> None:
        bundle = b'{"signed": true}'
        signed = _with(change_for(tmp_path), signature=bundle)
        remote.put(signed, None)
        after = other.snapshot(signed.name)
        assert after is not None
        assert dict(after.signatures) == {signed.digest: bundle}
        assert not other.put(signed, after).changed

    def test_entries_put_at_once_under_one_name_are_all_there(
        self, make_remote: Callable[[], Remote], tmp_path: Path
    ) -> None:
        changes = [change_for(tmp_path, content=f"content {n}".encode(), measured=1) for n in range(4)]
        problems: list[BaseException] = []

        def publish(change: Change) -> None:
            try:
                with closing(make_remote()) as mine:
                    for _ in range(50):
                        try:
                            mine.put(change, mine.snapshot(change.name))
                            return
                        except Moved:
                            continue
                    problems.append(AssertionError("moved fifty times"))
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=publish, args=(change,)) for change in changes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert problems == []
        with closing(make_remote()) as remote:
            after = remote.snapshot("tiny-model")
            assert after is not None
            assert set(after.manifests) == {change.digest for change in changes}
            assert after.tags["latest"] in after.manifests
            for change in changes:
                assert after.measurements[change.digest] == tuple(change.measurements)
                assert sha256_bytes(fetched(remote, change)) == change.digest

    def test_a_damaged_copy_is_replaced_when_asked(self, remote: Remote, tmp_path: Path) -> None:
        """``resend``: here over a sound copy; what is damaged differs by backend."""
        change = change_for(tmp_path)
        remote.put(change, None)
        remote.put(_with(change, resend=True), remote.snapshot(change.name))
        assert fetched(remote, change) == b"weights" * 1000


def _with(change: Change, **fields: object) -> Change:
    return dataclasses.replace(change, **fields)  # type: ignore[arg-type]
