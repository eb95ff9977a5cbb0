"""Every outcome of a command: exit code, where it is printed, no traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import click
import pytest

from pocketzoo import command
from pocketzoo.errors import BadInput, DeviceUnavailable, Interrupted, WorkFailed


@click.group()
def tool() -> None:
    """A tool."""


@tool.command()
@click.argument("how")
@command.reporting_options
def work(how: str, as_json: bool) -> None:
    """Ends in the way that is asked for."""
    outcomes: dict[str, BaseException] = {
        "failed": WorkFailed("it broke", where="here", hint="mend it", detail=("line one",)),
        "input": BadInput("not a thing"),
        "device": DeviceUnavailable("not there"),
        "interrupted": Interrupted("interrupted", hint="go on"),
        "ctrl-c": KeyboardInterrupt(),
        "bug": ZeroDivisionError("division by zero"),
        "full": OSError(errno.ENOSPC, "No space left on device", "/some/file"),
        "denied": PermissionError(errno.EACCES, "Permission denied", "/some/file"),
        "gone": FileNotFoundError(errno.ENOENT, "No such file or directory", "/some/file"),
        "memory": MemoryError(),
        "exit": click.exceptions.Exit(1),
    }
    if how in outcomes:
        raise outcomes[how]
    if as_json:
        command.print_json({"done": True})
    else:
        click.echo("done")


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tool", *argv])
    with pytest.raises(SystemExit) as stopped:
        command.run(tool, "tool")
    code = stopped.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("done", 0, ""),
        ("failed", 1, "error: it broke\n  line one\n  where: here\n  next:  mend it\n"),
        ("input", 2, "error: not a thing"),
        ("device", 3, "error: not there"),
        ("interrupted", 130, "go on"),
        ("ctrl-c", 130, "interrupted"),
        ("bug", 1, "internal error: ZeroDivisionError: division by zero"),
        ("full", 1, "no space left on the device"),
        ("denied", 1, "no permission: Permission denied"),
        ("gone", 2, "no such file or folder"),
        ("memory", 1, "not enough memory"),
        ("exit", 1, ""),
    ],
)
def test_exit_codes_and_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str, code: int, says: str
) -> None:
    assert run(monkeypatch, "work", how) == code
    out, err = capsys.readouterr()
    assert says in err
    assert "Traceback" not in err
    assert out == ("done\n" if how == "done" else "")


def test_an_error_with_json_is_one_document_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "work", "failed", "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["error"] == {
        "kind": "WorkFailed",
        "what": "it broke",
        "where": "here",
        "next": "mend it",
        "detail": ["line one"],
        "exit_code": 1,
    }


def test_debug_shows_the_trace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "work", "bug", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["nothing"], ["work"], ["work", "done", "--unknown"]])
def test_wrong_use_is_exit_2_and_points_to_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert run(monkeypatch, *argv) == 2
    assert "--help" in capsys.readouterr().err


def test_every_pocketzoo_error_knows_its_exit_code() -> None:
    assert [e.exit_code for e in (WorkFailed, BadInput, DeviceUnavailable, Interrupted)] == [1, 2, 3, 130]


@pytest.mark.parametrize("program", ["reports published", "compress list"])
@pytest.mark.parametrize("option", ["--json", ""])
def test_a_full_disk_behind_the_output_is_an_error_and_no_traceback(program: str, option: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*program_argv(program), *option.split()], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no space left on the device")
    assert "Traceback" not in done.stderr


def test_an_error_that_nobody_reads_is_still_told_and_keeps_its_exit_code() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*program_argv("zoo show nothing"), "--json"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.returncode == 2
    assert "no model 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr


def program_argv(command: str) -> list[str]:
    name, *rest = command.split()
    return [str(Path(sysconfig.get_path("scripts")) / name), *rest]
