"""A folder on a real sshd as a remote."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contracts.remote_contract import RemoteContract, change_for, fetched
from tests.devices import sshd
from zoo.backends.protocol import ReadOnly, Remote, RemoteBroken, RemoteDenied, RemoteUnavailable
from zoo.backends.sftp import BLOCK, SftpFiles, open_sftp

pytestmark = pytest.mark.skipif(not sshd.available(), reason=sshd.MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    with sshd.running(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def config_for(server: sshd.Sshd, folder: Path, *, known: bool = True) -> Path:
    """An ssh configuration that knows the server's key, and its client's."""
    known_hosts = server.known_hosts if known else folder / "nobody"
    path = folder / "ssh_config"
    path.write_text(
        f"Host 127.0.0.1\n  Port {server.port}\n  User {getpass.getuser()}\n  UserKnownHostsFile {known_hosts}\n"
        f"  IdentityFile {server.folder}/client\n"
    )
    return path


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


@pytest.fixture
def config(server: sshd.Sshd, tmp_path: Path) -> Path:
    return config_for(server, tmp_path)


@pytest.fixture
def remote(share: Path, config: Path) -> Iterator[Remote]:
    with closing(open_sftp(f"sftp://127.0.0.1{share}", config=config)) as opened:
        yield opened


class TestSftp(RemoteContract):
    @pytest.fixture
    def make_remote(self, share: Path, config: Path) -> Callable[[], Remote]:
        return lambda: open_sftp(f"sftp://127.0.0.1{share}", config=config)


def test_the_folder_is_made_with_those_above_it_and_missed_by_a_reader(
    share: Path, config: Path, tmp_path: Path
) -> None:
    with closing(open_sftp(f"sftp://127.0.0.1{share}/new/zoo", config=config)) as remote:
        with pytest.raises(RemoteUnavailable, match="is not there"):
            remote.names()
        remote.put(change_for(tmp_path), None)
        assert remote.names() == ("tiny-model",)
    assert not [path for path in share.rglob(".*")]


def test_a_file_of_several_windows_arrives_from_any_byte(remote: Remote, tmp_path: Path) -> None:
    content = bytes(range(256)) * (40 * BLOCK // 256) * 4 + b"end"
    change = change_for(tmp_path, content=content)
    remote.put(change, None)
    for offset in (0, BLOCK, BLOCK + 1, len(content) - 1):
        assert fetched(remote, change, offset) == content[offset:]


def test_a_host_whose_key_is_not_recorded_is_refused(share: Path, server: sshd.Sshd, tmp_path: Path) -> None:
    config = config_for(server, tmp_path, known=False)
    with (
        closing(open_sftp(f"sftp://127.0.0.1{share}", config=config)) as remote,
        pytest.raises(RemoteDenied, match="not recorded"),
    ):
        remote.names()
    assert not (tmp_path / "nobody").exists()


def test_a_key_that_is_not_accepted_is_told(
    share: Path, server: sshd.Sshd, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    sshd.make_key(tmp_path / "other")
    config.write_text(config.read_text().replace(f"{server.folder}/client", f"{tmp_path}/other"))
    with closing(open_sftp(f"sftp://127.0.0.1{share}", config=config)) as remote, pytest.raises(RemoteDenied):
        remote.names()


def test_nothing_is_written_through_a_linked_folder(remote: Remote, share: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (share / "blobs").symlink_to(outside)
    with pytest.raises(RemoteBroken, match="link"):
        remote.put(change_for(tmp_path), None)
    assert list(outside.iterdir()) == []


def test_a_link_in_place_of_a_file_is_replaced_not_written_through(remote: Remote, share: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (share / "tags" / "tiny-model").mkdir(parents=True)
    (share / "tags" / "tiny-model" / "latest").symlink_to(victim)
    remote.put(change_for(tmp_path), None)
    assert victim.read_text() == "precious"


def test_a_connection_that_dropped_is_made_anew(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    share = tmp_path / "share"
    with sshd.running(tmp_path_factory.mktemp("own-sshd")) as server:
        config = config_for(server, tmp_path)
        with closing(open_sftp(f"sftp://127.0.0.1{share}", config=config)) as remote:
            content = bytes(range(256)) * 100_000
            change = change_for(tmp_path, content=content)
            remote.put(change, None)
            (record,) = change.blobs
            with remote.blob(change.name, change.digest, record, 0) as body:
                next(body.chunks)
                server.drop()
                with pytest.raises(RemoteUnavailable):
                    list(body.chunks)
            assert fetched(remote, change) == content


def test_a_server_that_is_not_there_is_told(share: Path) -> None:
    with closing(open_sftp(f"sftp://127.0.0.1:{sshd.free_port()}{share}")) as remote, pytest.raises(RemoteUnavailable):
        remote.names()


def test_a_read_only_remote_is_not_written_to(share: Path, config: Path, tmp_path: Path) -> None:
    with (
        closing(open_sftp(f"sftp://127.0.0.1{share}", config=config, read_only=True)) as remote,
        pytest.raises(ReadOnly),
    ):
        remote.put(change_for(tmp_path), None)
    assert list(share.iterdir()) == []


def test_a_path_in_the_home_folder() -> None:
    files = SftpFiles("sftp://me@host:2222/~/zoo", read_only=False, config=None)
    assert (files._at("entries"), files.address) == ("zoo/entries", "sftp://me@host:2222/~/zoo")
    assert SftpFiles("sftp://host/srv/zoo/", read_only=False, config=None)._at("x") == "/srv/zoo/x"
