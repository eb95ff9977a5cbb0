"""The base install: light, without torch, with its data files, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.journeys.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_inventory_recipes_and_agents_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "devices/inventory.yaml",
        "compressors/recipes/mobilenetv2-quant.yaml",
        "harness/agents/tflite_agent.py",
        "harness/results/migrations/env.py",
        "harness/results/migrations/versions/v0001_rounds.py",
        "harness/results/migrations/versions/v0002_samples_newest_campaigns.py",
        "harness/published/amc-mobilenets.yaml",
        "devices/lab/insn_count.c",
        "zoo/py.typed",
    ):
        assert needed in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "pocketzoo", "zoo", "devices", "compressors", "harness", "reports",
    }  # fmt: skip


def test_the_base_install_works_without_torch(wheel: Path, tmp_path: Path) -> None:
    # Neither a pip of its own nor compiled files: half of the time that an installation takes, and not the point.
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(environment / "bin" / "python")]
    install = [*pip, "install", "--quiet", "--no-compile", "-c", str(ROOT / "constraints.txt"), str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = subprocess.run([*pip, "list", "--format=freeze"], capture_output=True, text=True, check=True)
    installed = {line.split("==")[0].lower() for line in found.stdout.splitlines()}
    assert "ai-edge-litert" in installed
    assert not installed & {"torch", "litert-torch", "transformers", "jax", "matplotlib", "psycopg", "pyarrow"}

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(environment / "bin" / argv[0]), *argv[1:]],
            cwd=tmp_path, env={"POCKETZOO_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert "kirin970" in run("devices", "list").stdout
    assert "mobilenetv2-quant" in run("compress", "list").stdout
    assert run("zoo", "list").returncode == 0
    refused = run("compress", "run", "mobilenetv2", "--set", "weights=x.pth")
    assert refused.returncode == 2
    assert "pip install 'pocketzoo[compress]'" in refused.stderr or "x.pth" in refused.stderr
    assert run("reports", "build").returncode == 0
