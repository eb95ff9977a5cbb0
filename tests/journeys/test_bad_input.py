"""What goes wrong for users: a clear error, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.journeys.conftest import ROOT, SCRIPTS, Demo
from zoo.store import Store


def refused(demo: Demo, code: int, *argv: str, says: str) -> str:
    done = demo.run(*argv)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert "next:" in done.stderr or "where:" in done.stderr
    return done.stderr


def test_unknown_names_are_answered_with_the_nearest(demo: Demo) -> None:
    refused(demo, 2, "zoo", "show", "mobilenet2-quant", says="did you mean mobilenetv2-quant")
    refused(demo, 2, "harness", "run", "--device", "local", "--model", "mobilenetv3", says="did you mean mobilenetv2")
    refused(demo, 2, "harness", "run", "--device", "kirin907", says="kirin970")
    refused(demo, 2, "devices", "show", "snapdragon865", says="snapdragon855")
    refused(demo, 2, "compress", "run", "mobilenetv2-quan", says="mobilenetv2-quant")
    refused(demo, 2, "compress", "run", "mobilenetv2", "--set", "wieghts=x", says="weights")


def test_a_device_that_is_not_connected_is_exit_3_with_what_to_do(demo: Demo) -> None:
    said = refused(demo, 3, "harness", "run", "--device", "kirin970", "--model", "mobilenetv2", says="kirin970")
    assert "adb" in said
    done = demo.run("harness", "run", "--device", "kirin970", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["exit_code"] == 3


@pytest.mark.parametrize("kind", ["truncated", "random", "empty"])
def test_a_broken_model_file_is_refused_and_not_added(demo: Demo, tmp_path: Path, kind: str) -> None:
    store = Store(demo.home / "zoo")
    whole = store.file(store.get("mobilenetv2-quant").artifact.files[0]).read_bytes()
    broken = tmp_path / "broken.tflite"
    broken.write_bytes({"truncated": whole[: len(whole) // 2], "random": os.urandom(10_000), "empty": b""}[kind])
    refused(demo, 2, "zoo", "add", str(broken), says=str(broken))
    assert "broken" not in store.names()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("devices:\n  phone:\n    transprt: {kind: local}\n    runner: python\n", "inventory.yaml:3"),
        ("devices:\n  phone:\n    transport: {kind: adb}\n    runner: 5\n", "inventory.yaml:4"),
        ("devices:\n  phone:\n   transport: {kind: local}\n    runner: python\n", "inventory.yaml:4"),
    ],
)
def test_a_wrong_inventory_is_answered_with_file_line_and_key(demo: Demo, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(text)
    for argv in (("devices", "list"), ("harness", "plan", "--device", "local")):
        done = demo.run(*argv, "--inventory", str(path))
        assert done.returncode == 2, done.stderr
        assert says in done.stderr


def test_wrong_numbers_are_refused_before_anything_runs(demo: Demo) -> None:
    for option in (("--threads", "0"), ("--runs", "0"), ("--warmup", "-1"), ("--repeats", "0"), ("--cpus", "a")):
        done = demo.run("harness", "run", "--device", "local", *option)
        assert done.returncode == 2, option
    assert demo.run("harness", "run").returncode == 2


def test_an_abi_the_device_does_not_have_cannot_run(demo: Demo) -> None:
    done = demo.run("harness", "run", "--device", "local", "--model", "mobilenetv2", "--abi", "armv7", "--threads", "1")
    assert done.returncode == 2
    assert "cannot run" in done.stderr or "none of the cells can run" in done.stderr


def test_ctrl_c_keeps_what_was_measured_and_the_same_command_goes_on(demo: Demo, tmp_path: Path) -> None:
    environment = {**demo.environment(), "POCKETZOO_RESULTS": f"sqlite:///{tmp_path / 'results.sqlite'}"}
    argv = [str(SCRIPTS / "harness"), "run", "--device", "local", "--model", "mobilenetv2-quant", "--threads", "1"]
    argv += ["--warmup", "0", "--runs", "50", "--repeats", "12"]
    # A group of its own, as a terminal's foreground job: Ctrl-C reaches the harness and what it started.
    process = subprocess.Popen(
        # A shell's background job ignores Ctrl-C, and so would everything that the tests start in one.
        ["env", "--default-signal=INT", *argv],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("[4/"):
            os.killpg(process.pid, signal.SIGINT)
            break
    out, rest = process.communicate(timeout=120)
    said += rest
    assert process.returncode == 130, said
    assert "3 of 12 repeats were measured and are stored" in said
    assert "Traceback" not in said
    assert out == ""
    again = subprocess.run([*argv, "--json"], env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "9 repeats to run" in again.stderr
    (cell,) = json.loads(again.stdout)
    assert [len(samples) for samples in cell["samples_ns"]] == [50] * 12


def test_a_killed_run_loses_only_the_repeat_it_was_in(demo: Demo, tmp_path: Path) -> None:
    environment = {**demo.environment(), "POCKETZOO_RESULTS": f"sqlite:///{tmp_path / 'results.sqlite'}"}
    argv = [str(SCRIPTS / "harness"), "run", "--device", "local", "--model", "mobilenetv2-quant", "--threads", "1"]
    argv += ["--warmup", "0", "--runs", "50", "--repeats", "6"]
    process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[3/"):
            process.kill()
            break
    process.communicate(timeout=60)
    again = subprocess.run([*argv, "--json"], env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "4 repeats to run" in again.stderr
    assert len(json.loads(again.stdout)[0]["samples_ns"]) == 6


def test_no_permission_says_which_path(demo: Demo, tmp_path: Path) -> None:
    model, locked = tmp_path / "model", tmp_path / "locked"
    assert demo.run("zoo", "pull", "mobilenetv2-quant", "--to", str(model)).returncode == 0
    locked.mkdir(mode=0o500)
    # Root may write anywhere, unless it gives up its capabilities.
    humble = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    for argv in (
        ["zoo", "add", str(model / "mobilenetv2-quant.tflite")],
        ["zoo", "pull", "mobilenetv2-quant", "--to", str(locked / "out")],
    ):
        home = demo.home if "pull" in argv else locked / "home"
        done = subprocess.run(
            [*humble, str(SCRIPTS / argv[0]), *argv[1:]],
            env={**demo.environment(), "POCKETZOO_HOME": str(home)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert "no permission" in done.stderr
        assert str(locked) in done.stderr
        assert list(locked.iterdir()) == []


def test_no_space_keeps_what_was_there(demo: Demo, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system; run the tests as root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        model = demo.run("zoo", "pull", "mobilenetv2", "--to", str(tmp_path))
        assert model.returncode == 0
        environment = {**demo.environment(), "POCKETZOO_HOME": str(small / "home")}
        done = subprocess.run(
            [str(SCRIPTS / "zoo"), "add", str(tmp_path / "mobilenetv2.tflite")],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "no space left" in done.stderr
        # The register that leases are locked by stays; it is empty.
        assert [path for path in small.rglob("*") if path.is_file() and path.stat().st_size] == []
        done = demo.run("zoo", "pull", "mobilenetv2", "--to", str(small))
        assert done.returncode == 1
        assert list(small.glob("*.tflite")) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_help_of_every_command_is_there_and_imports_nothing_slow() -> None:
    slow = (
        "torch",
        "numpy",
        "sqlalchemy",
        "pydantic",
        "paramiko",
        "adbutils",
        "matplotlib",
        "huggingface_hub",
        "ruamel",
    )
    for name, module in (("zoo", "zoo"), ("harness", "harness"), ("devices", "devices"), ("compress", "compressors"),
                         ("reports", "reports")):  # fmt: skip
        code = (
            f"import sys; sys.argv = [{name!r}, '--help']\n"
            f"from {module}.cli import main\n"
            "try: main()\n"
            "except SystemExit as stop: assert not stop.code\n"
            f"print([m for m in {slow!r} if m in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run(
            [str(SCRIPTS / "python"), "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert "Usage:" in done.stdout
        assert done.stderr.strip() == "[]", name
