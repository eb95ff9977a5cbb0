"""Every command and every line of Python in docs/howto-zoo.md is run, in its order, with the demo's models."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.conftest import ROOT, Demo
from tests.zoo.test_sign import FOUND, needs_tool
from zoo.sign import TOOL

HOWTO = ROOT / "docs" / "howto-zoo.md"
TEXT = HOWTO.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(console|python)(?: exit=([\d|]+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command, or a piece of Python, and the exit codes that the text says it may have."""

    kind: str
    text: str
    codes: tuple[int, ...] = (0,)


def steps() -> list[Step]:
    """``exit=N`` after a block's name is the exit code of its last command; ``exit=0|1`` where the machine decides."""
    found = []
    for kind, codes, body in BLOCK.findall(TEXT):
        if kind == "python":
            found.append(Step(kind, body))
            continue
        commands = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
        found += [Step(kind, command) for command in commands[:-1]]
        found.append(Step(kind, commands[-1], tuple(int(each) for each in (codes or "0").split("|"))))
    return found


@dataclass(frozen=True)
class Place:
    """A copy of the demo's zoo, and the folder that the commands are typed in."""

    home: Path
    folder: Path

    def run(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "POCKETZOO_HOME": str(self.home), "PATH": path, TOOL: str(FOUND)}
        return subprocess.run(
            argv, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )


@pytest.fixture(scope="module")
def place(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("howto-zoo")
    shutil.copytree(demo.home / "zoo", folder / "home" / "zoo")
    (folder / "work").mkdir()
    return Place(folder / "home", folder / "work")


def test_each_verb_is_shown() -> None:
    shown = {word for step in steps() for word in re.findall(r"\bzoo ([a-z]+)", step.text)}
    assert {"push", "pull", "remote", "verify", "add", "show", "diff"} <= shown
    assert any(step.kind == "python" for step in steps())


def test_no_other_block_hides_commands() -> None:
    assert not re.findall(r"^\$ ", BLOCK.sub("", TEXT), re.MULTILINE)


@needs_tool
@pytest.mark.parametrize("number", range(len(steps())), ids=lambda n: steps()[n].text.splitlines()[0][:60])
def test_a_step_works(place: Place, number: int) -> None:
    step = steps()[number]
    argv = ["bash", "-euo", "pipefail", "-c"] if step.kind == "console" else [sys.executable, "-W", "error", "-c"]
    done = place.run([*argv, step.text])
    assert done.returncode in step.codes, f"{step.text}\n{done.stdout}\n{done.stderr}"
    if len(step.codes) > 1:  # whichever it was, it is explained
        assert "mobilenetv2-quant" in done.stdout + done.stderr


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (HOWTO.parent / target).exists(), target
