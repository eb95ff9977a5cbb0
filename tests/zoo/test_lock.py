"""The lock file: canonical, safe to read whoever wrote it, and lost by nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketzoo.errors import BadInput
from zoo.artifact import FileRecord
from zoo.lock import Figures, LockFile, Pin, decode_lock, encode_lock, find_pin, pinned, read_lock, write_pin

A, B, C = "a" * 64, "b" * 64, "c" * 64


def pin(query: str = "tiny", digest: str = A, **fields: Any) -> Pin:
    files = (FileRecord(name="tiny.tflite", sha256=digest, size=10), FileRecord(name="labels.txt", sha256=C, size=3))
    known: dict[str, Any] = {"name": "tiny", "files": files, "time": "2026-11-21T10:00:00+00:00"}
    return Pin(query=query, digest=digest, **{**known, **fields})


def test_pins_are_written_sorted_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    assert write_pin(path, pin("tiny --device local")) is None
    assert write_pin(path, pin("resnet18", B, figures=Figures(size_bytes=10, latency={"centre_ms": 1.5}))) is None
    assert [each.query for each in read_lock(path).pins] == ["resnet18", "tiny --device local"]
    assert pinned(path) == {A, B, C}
    text = path.read_text()
    assert text.endswith("}\n") and json.loads(text)["schema"] == 1
    assert encode_lock(read_lock(path)) == path.read_bytes()
    assert [item.name for item in tmp_path.iterdir()] == ["zoo.lock"]


def test_pinning_the_same_again_changes_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    write_pin(path, pin())
    before = path.read_bytes()
    assert write_pin(path, pin(time="2027-01-01T00:00:00+00:00")) == pin()
    assert path.read_bytes() == before
    assert write_pin(path, pin(digest=B, time="2027-01-01T00:00:00+00:00")) == pin()
    assert read_lock(path).pins[0].digest == B


def test_an_unknown_query_names_the_nearest() -> None:
    lock = LockFile(pins=(pin("tiny --device kirin970 --max-latency-ms 20"),))
    with pytest.raises(BadInput) as caught:
        find_pin(lock, "tiny --device kirin970 --max-latency-ms 25", "zoo.lock")
    assert "did you mean tiny --device kirin970 --max-latency-ms 20?" in caught.value.detail
    assert caught.value.hint == "zoo pull tiny --device kirin970 --max-latency-ms 25 --lock"


def _document(**fields: Any) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(LockFile(pins=(pin(),))), **fields})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a lock file"),
        (b"[]", "not a lock file"),
        (b"\xff\xfe", "not a lock file"),
        (b"[" * 100_000, "not a lock file"),
        (_document(schema=2), "schema 2; this pocketzoo reads schema 1"),
        (_document(schema=0), "schema 0"),
        (_document(extra=1), "not a lock file"),
        (_document(pins=[{**msgspec.to_builtins(pin()), "digest": "../../etc/passwd"}]), "not a lock file"),
        (_document(pins=[{**msgspec.to_builtins(pin()), "name": "../x"}]), "not a lock file"),
        (_document(pins=[{**msgspec.to_builtins(pin()), "digest": B}]), "contradicts itself"),
        (_document(pins=[msgspec.to_builtins(pin()), msgspec.to_builtins(pin())]), "two pins of one query"),
        (_document(pins=[{**msgspec.to_builtins(pin()), "files": []}]), "not a lock file"),
        (b" " * (8 << 20) + b"{}", "more than 8,388,608 bytes"),
    ],
)
def test_what_is_no_lock_file_is_refused(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=says) as caught:
        pinned(path)
    assert caught.value.where == str(path)
    with pytest.raises(BadInput):
        write_pin(path, pin())
    assert path.read_bytes() == data


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(msgspec.json.encode))
def test_anything_else_is_bad_input_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(BadInput):
        decode_lock(data, "zoo.lock")


def test_several_processes_lose_no_pin(tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    code = (
        "import sys; from pathlib import Path; from tests.zoo.test_lock import pin; from zoo.lock import write_pin\n"
        "for n in range(8): write_pin(Path(sys.argv[1]), pin(f'tiny-{sys.argv[2]}-{n}'))"
    )
    root = Path(__file__).parents[2]
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)], cwd=root) for n in range(4)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    assert len(read_lock(path).pins) == 32
