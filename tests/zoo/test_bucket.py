"""What fsspec reaches, as a remote: its file system in memory, and errors as drivers raise them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketzoo.errors import BadInput
from tests.contracts.remote_contract import RemoteContract, change_for
from zoo.backends.bucket import BucketFiles, open_bucket
from zoo.backends.protocol import ReadOnly, Remote, RemoteDenied, RemoteUnavailable


@pytest.fixture
def url() -> str:
    """fsspec's memory is the process's; each test has a folder of its own."""
    return f"memory://{secrets.token_hex(8)}/zoo"


class TestMemory(RemoteContract):
    @pytest.fixture
    def make_remote(self, url: str) -> Callable[[], Remote]:
        return lambda: open_bucket(url)


class TestWrittenAsideAndMoved(RemoteContract):
    """A file system that shows files before they are whole: fsspec's local one stands for it."""

    @pytest.fixture
    def make_remote(self, tmp_path: Path) -> Callable[[], Remote]:
        return lambda: open_bucket(f"local://{tmp_path}/tree")


def test_nothing_is_left_beside_what_was_moved(tmp_path: Path) -> None:
    open_bucket(f"local://{tmp_path}/tree").put(change_for(tmp_path), None)
    assert [path for path in (tmp_path / "tree").rglob("*.tmp")] == []


def test_a_read_only_remote_is_not_written_to(url: str, tmp_path: Path) -> None:
    with pytest.raises(ReadOnly):
        open_bucket(url, read_only=True).put(change_for(tmp_path), None)
    assert open_bucket(url).names() == ()


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gcs")])
def test_a_missing_driver_names_the_extra(scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput) as caught:
        open_bucket(f"{scheme}://bucket/zoo")
    assert caught.value.hint == f"pip install 'pocketzoo[{extra}]'"


class _Driver:
    """A driver that cannot do anything else than fail."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def invalidate_cache(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError("Access Denied"), RemoteDenied),
        (RuntimeError("An error occurred (InvalidAccessKeyId) when calling"), RemoteDenied),
        (RuntimeError("GET https://bucket/x?X-Amz-Signature=abcdef failed"), RemoteUnavailable),
        (TimeoutError(), RemoteUnavailable),
    ],
)
def test_a_drivers_error_is_told_without_its_signatures(url: str, error: Exception, kind: type[Exception]) -> None:
    files = BucketFiles(url, read_only=False)
    files._fs = _Driver(error)
    with pytest.raises(kind) as caught:
        files.names("entries")
    assert "abcdef" not in str(caught.value)
