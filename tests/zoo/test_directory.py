"""A folder as a remote: the contract, and what shares, links and full disks do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketzoo.errors import PocketzooError
from tests.contracts.remote_contract import RemoteContract, change_for, fetched
from zoo.backends.directory import ABANDONED_S, open_directory
from zoo.backends.protocol import ReadOnly, Remote, RemoteBroken, RemoteUnavailable


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


class TestDirectory(RemoteContract):
    @pytest.fixture
    def make_remote(self, share: Path) -> Callable[[], Remote]:
        return lambda: open_directory(share)


def test_the_folder_is_made_by_the_first_put_and_missed_by_a_reader(tmp_path: Path) -> None:
    remote = open_directory(tmp_path / "new" / "share")
    with pytest.raises(RemoteUnavailable, match="is not there"):
        remote.names()
    remote.put(change_for(tmp_path), None)
    assert remote.names() == ("tiny-model",)


def test_no_link_in_the_tree_is_followed(share: Path, tmp_path: Path) -> None:
    remote = open_directory(share)
    change = change_for(tmp_path)
    remote.put(change, None)
    secret = tmp_path / "secret"
    secret.write_bytes(b"weights" * 1000)
    blob = share / "blobs" / "sha256" / change.digest[:2] / change.digest
    blob.unlink()
    blob.symlink_to(secret)
    with pytest.raises(RemoteBroken, match="link"):
        fetched(remote, change)
    with pytest.raises(RemoteBroken, match="no plain file"):
        remote.put(change, remote.snapshot(change.name))
    assert secret.read_bytes() == b"weights" * 1000


def test_nothing_is_written_through_a_linked_folder(share: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (share / "blobs").symlink_to(outside)
    with pytest.raises(RemoteBroken, match="link"):
        open_directory(share).put(change_for(tmp_path), None)
    assert list(outside.iterdir()) == []


def test_a_pipe_in_place_of_a_file_does_not_keep_a_reader(share: Path, tmp_path: Path) -> None:
    remote = open_directory(share)
    change = change_for(tmp_path)
    remote.put(change, None)
    blob = share / "blobs" / "sha256" / change.digest[:2] / change.digest
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(RemoteBroken, match="no plain file"):
        fetched(remote, change)


def test_files_have_the_mode_the_umask_says(share: Path, tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        open_directory(share).put(change_for(tmp_path), None)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in share.rglob("*") if path.is_file()}
    assert modes == {0o664}


def test_what_a_killed_writer_left_is_no_name_and_goes_away_in_time(share: Path, tmp_path: Path) -> None:
    remote = open_directory(share)
    change = change_for(tmp_path)
    remote.put(change, None)
    folder = share / "entries" / "tiny-model"
    old, young = folder / ".README.md.aa.tmp", folder / ".README.md.bb.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    past = folder.stat().st_mtime - 2 * ABANDONED_S
    os.utime(old, (past, past))
    assert remote.names() == ("tiny-model",)
    remote.put(change_for(tmp_path, content=b"next"), remote.snapshot("tiny-model"))
    assert (old.exists(), young.exists()) == (False, True)


def test_a_blob_of_another_size_is_sent_again_and_one_of_the_same_when_told(share: Path, tmp_path: Path) -> None:
    import dataclasses

    remote = open_directory(share)
    change = change_for(tmp_path)
    remote.put(change, None)
    blob = share / "blobs" / "sha256" / change.digest[:2] / change.digest
    blob.write_bytes(b"short")
    assert remote.put(change, remote.snapshot(change.name)).blobs_sent == 1
    blob.write_bytes(b"x" * 7000)
    assert remote.put(dataclasses.replace(change, resend=True), remote.snapshot(change.name)).blobs_sent == 1
    assert fetched(remote, change) == b"weights" * 1000


def test_a_read_only_remote_is_not_written_to(share: Path, tmp_path: Path) -> None:
    with pytest.raises(ReadOnly):
        open_directory(share, read_only=True).put(change_for(tmp_path), None)
    assert list(share.iterdir()) == []


REFUSED = """
import sys
from pathlib import Path
from tests.contracts.remote_contract import change_for
from zoo.backends.directory import open_directory
from zoo.backends.protocol import RemoteDenied
try:
    open_directory(Path(sys.argv[1])).put(change_for(Path(sys.argv[2])), None)
except RemoteDenied as error:
    print(error.what)
"""


def test_no_permission_is_told(share: Path, tmp_path: Path) -> None:
    humble = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    share.chmod(0o555)
    argv = [*humble, sys.executable, "-c", REFUSED, str(share), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "permission" in done.stdout
    assert list(share.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system; run the tests as root")
def test_a_full_or_read_only_share_is_told_and_shows_no_half_entry(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        remote = open_directory(small)
        with pytest.raises(PocketzooError, match="no space left"):
            remote.put(change_for(tmp_path, content=os.urandom(300_000)), None)
        assert remote.snapshot("tiny-model") is None
        assert [path for path in small.rglob("*") if path.is_file()] == []
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        with pytest.raises(ReadOnly):
            remote.put(change_for(tmp_path), None)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_manifest_or_tag_beyond_reason_is_refused(share: Path, tmp_path: Path) -> None:
    remote = open_directory(share)
    change = change_for(tmp_path)
    remote.put(change, None)
    manifest = share / "entries" / "tiny-model" / f"{change.digest}.json"
    with manifest.open("r+b") as file:
        file.truncate(1 << 32)
    with pytest.raises(RemoteBroken, match="more than"):
        remote.snapshot("tiny-model")


def test_names_outside_the_grammar_are_left_out(share: Path, tmp_path: Path) -> None:
    remote = open_directory(share)
    change = change_for(tmp_path)
    remote.put(change, None)
    (share / "entries" / "Not A Name").mkdir()
    (share / "entries" / ("x" * 200)).mkdir()
    (share / "tags" / "tiny-model" / "-tag").write_text(change.digest)
    (share / "tags" / "tiny-model" / "points-nowhere").write_text("0" * 64)
    (share / "entries" / "tiny-model" / "note.json").write_text("{}")
    assert remote.names() == ("tiny-model",)
    snapshot = remote.snapshot("tiny-model")
    assert snapshot is not None
    assert dict(snapshot.tags) == {"latest": change.digest}
    assert set(snapshot.manifests) == {change.digest}
