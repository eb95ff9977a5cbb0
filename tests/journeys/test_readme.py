"""Every command the README prints is run, in the order in which it is printed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.journeys.conftest import ROOT, Demo

README = ROOT / "README.md"
# What the fixture ran already, and what is running right now.
BY_OTHER_MEANS = {"make demo", "make test", ". .venv/bin/activate"}


def printed_commands() -> list[str]:
    """The lines after ``$`` in the README's console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_the_readme_prints_the_two_commands_and_the_everyday_ones() -> None:
    commands = printed_commands()
    assert commands[0] == "make demo"
    assert "make test" in commands
    for needed in ("zoo list", "zoo show mobilenetv2-quant", "zoo pull mobilenetv2-quant --to out", "harness results"):
        assert needed in commands
    assert any(command.startswith("harness run --device local") for command in commands)


def test_no_other_block_hides_commands() -> None:
    text = README.read_text(encoding="utf-8")
    outside = re.sub(r"^```console\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"^\$ ", outside, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize("command", [c for c in printed_commands() if c not in BY_OTHER_MEANS])
def test_a_printed_command_works(demo: Demo, folder: Path, command: str) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env=demo.environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert done.stdout or done.stderr


def test_the_targets_the_readme_names_exist() -> None:
    for target in ("demo", "test", "lint", "bench"):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False, env=os.environ)
        assert done.returncode == 0, target
