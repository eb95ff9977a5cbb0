"""Registered binaries: only programs of the ABI named, known by digest, the newest used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from devices import elf
from harness.cli import harness
from harness.registry import Registry
from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_file


def program(folder: Path, abi: str, more: bytes = b"") -> Path:
    path = folder / f"{abi}-{len(more)}"
    path.write_bytes(elf.program(abi) + more)
    return path


def test_the_newest_of_an_abi_is_used_and_stays_what_it_was(tmp_path: Path) -> None:
    registry = Registry()
    first = registry.add(program(tmp_path, "armv8"), abi="armv8")
    second = registry.add(program(tmp_path, "armv8", b"x"), abi="armv8")
    registry.add(program(tmp_path, "armv7"), abi="armv7")
    assert registry.newest("benchmark_model", "armv8") == second
    assert registry.newest("benchmark_model", "x86_64") is None
    kept = registry.path(second)
    assert sha256_file(kept) == second.sha256
    assert kept.stat().st_mode & 0o111
    again = registry.add(program(tmp_path, "armv8"), abi="armv8")
    assert again.sha256 == first.sha256
    assert registry.newest("benchmark_model", "armv8") == again
    assert len(registry.all()) == 3
    registry.remove(again.sha256[:10])
    assert registry.newest("benchmark_model", "armv8") == second


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (elf.program("armv7"), "is a program for armv7, not a program for armv8"),
        (b"#!/bin/sh\n", "is a script"),
        (b"PK\x03\x04" + b"0" * 90, "zip or .apk"),
        (b"", "is no ELF file"),
        (elf.program("armv8")[:16] + b"\x01\x00" + elf.program("armv8")[18:], "cannot be started"),
        (elf.program("armv8")[:24] + bytes(8) + elf.program("armv8")[32:], "cannot be started"),
    ],
)
def test_what_is_no_program_for_that_abi_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "tool"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=says):
        Registry().add(path, abi="armv8")
    assert Registry().all() == ()


def test_damage_is_told(tmp_path: Path) -> None:
    registry = Registry()
    binary = registry.add(program(tmp_path, "armv8"), abi="armv8")
    (registry.root / binary.sha256).write_bytes(b"another")
    with pytest.raises(WorkFailed, match="missing or damaged"):
        registry.path(binary)
    (registry.root / f"{binary.sha256}.json").write_bytes(b'{"name": 1}')
    with pytest.raises(WorkFailed, match="is damaged"):
        registry.all()


def test_an_ambiguous_or_unknown_prefix_is_refused(tmp_path: Path) -> None:
    registry = Registry()
    registry.add(program(tmp_path, "armv8"), abi="armv8")
    for prefix in ("", "sha256:", "zz"):
        with pytest.raises(BadInput, match="no registered binary"):
            registry.remove(prefix)


def test_the_commands(tmp_path: Path) -> None:
    run = CliRunner().invoke
    path = str(program(tmp_path, "armv8"))
    added = run(harness, ["runner", "add", path, "--abi", "armv8", "--json"])
    digest = json.loads(added.stdout)["sha256"]
    listed = run(harness, ["runner", "list"])
    assert digest[:16] in listed.stdout
    assert "yes" in listed.stdout
    assert run(harness, ["runner", "remove", digest[:8]]).stdout.startswith("removed benchmark_model armv8")
    assert json.loads(run(harness, ["runner", "list", "--json"]).stdout) == []
    wrong = run(harness, ["runner", "add", path, "--abi", "cuda"])
    assert isinstance(wrong.exception, BadInput)
