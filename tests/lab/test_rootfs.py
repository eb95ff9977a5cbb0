"""The cache of root file systems: named by content, whole or not there, built once by whoever comes first."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from devices.lab import needs, provision, rootfs
from pocketzoo.errors import WorkFailed

LISTED = """\
http://mirror.example/debian-security/ bookworm-security
http://mirror.example/debian/ bookworm
http://mirror.example/debian/ bookworm-updates
"""


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETZOO_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(needs, "check", lambda *, build: None)
    return tmp_path / "cache"


class Builder:
    """In the place of the slow parts: writes a file, counts, fails when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.built: list[Path] = []
        self.seconds = 0.0
        self.broken = False
        monkeypatch.setattr(rootfs, "_debian", self.debian)
        monkeypatch.setattr(provision, "provision", lambda root, abi: None)
        monkeypatch.setattr(rootfs, "_prove", lambda root, abi: None)

    def debian(self, root: Path, abi: str, say: rootfs.Say) -> None:
        self.built.append(root)
        (root / "half").write_text("x")
        time.sleep(self.seconds)
        if self.broken:
            raise WorkFailed("no mirror")
        (root / "whole").write_text(abi)


def test_mirror_is_the_machines_own() -> None:
    assert rootfs.mirror(LISTED, "bookworm") == "http://mirror.example/debian/"
    assert rootfs.mirror("http://m.example/debian sid\n", "bookworm") == "http://m.example/debian"
    assert rootfs.mirror("http://m.example/ubuntu noble\n", "bookworm") is None
    assert rootfs.mirror("", "bookworm") is None


def test_key_names_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {abi: provision.key(abi) for abi in rootfs.ABIS}
    assert before["armv7"] != before["armv8"]
    monkeypatch.setattr(provision, "LITERT_WHEELS", ("ai-edge-litert==9",))
    assert provision.key("armv8") != before["armv8"]
    assert provision.key("armv7") == before["armv7"]
    monkeypatch.setattr(provision, "PACKAGES", ("python3",))
    assert provision.key("armv7") != before["armv7"]


def test_built_once_and_used_again(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Builder(monkeypatch)
    said: list[str] = []
    assert not rootfs.built("armv7")
    path = rootfs.ensure("armv7", say=said.append)
    assert (path / "whole").read_text() == "armv7"
    assert path.stat().st_mode & 0o777 == 0o755
    assert said
    said.clear()
    assert rootfs.ensure("armv7", say=said.append) == path
    assert (len(builder.built), said) == (1, [])


def test_a_failed_build_leaves_nothing(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Builder(monkeypatch)
    builder.broken = True
    with pytest.raises(WorkFailed, match="no mirror"):
        rootfs.ensure("armv8", say=print)
    assert [path.name for path in empty_cache.iterdir()] == ["arm64.lock"]
    builder.broken = False
    assert rootfs.ensure("armv8", say=print).is_dir()


def test_what_a_killed_build_left_is_swept(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Builder(monkeypatch)
    left = empty_cache / ".building-arm64-dead"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    rootfs.ensure("armv8", say=print)
    assert not left.exists()


def test_the_second_waits_for_the_first(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Builder(monkeypatch)
    builder.seconds = 0.5
    said: list[str] = []
    threads = [threading.Thread(target=rootfs.ensure, args=("armv8",), kwargs={"say": said.append}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builder.built) == 1
    assert any("waiting" in line for line in said)


def test_a_transient_failure_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = iter([1, 1, 0])
    seen: list[list[str]] = []

    def apart(argv: list[str]) -> subprocess.CompletedProcess[str]:
        seen.append(argv)
        assert not list(tmp_path.iterdir())
        (tmp_path / "half").mkdir()
        return subprocess.CompletedProcess(argv, next(codes), "", "E: Hash Sum mismatch\n")

    monkeypatch.setattr(rootfs, "_apart", apart)
    monkeypatch.setattr(rootfs.time, "sleep", lambda seconds: None)
    said: list[str] = []
    rootfs._debian(tmp_path, "armv7", said.append)
    assert len(seen) == 3
    assert "--arch=armhf" in seen[0]
    assert sum("Hash Sum mismatch" in line for line in said) == 2


def test_what_is_missing_is_said_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "BINFMT", tmp_path)
    monkeypatch.setattr(needs, "_PATH", str(tmp_path))
    monkeypatch.setattr(needs.os, "geteuid", lambda: 1000)
    with pytest.raises(WorkFailed) as caught:
        needs.check(build=True)
    text = caught.value.as_text()
    for part in ("root", "apt-get", "mmdebstrap", "qemu-user-static", "mount -t binfmt_misc", "update-binfmts"):
        assert part in text
    assert caught.value.exit_code == 1


def test_a_handler_must_work_inside_a_root_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "BINFMT", tmp_path)
    (tmp_path / "register").touch()
    for arch in ("aarch64", "arm"):
        (tmp_path / f"qemu-{arch}").write_text("enabled\ninterpreter /usr/bin/qemu\nflags: PF\n")
    assert not any("binfmt" in need.what for need in needs.missing(build=False))
    (tmp_path / "qemu-arm").write_text("enabled\ninterpreter /usr/bin/qemu\nflags: P\n")
    assert [need.mend for need in needs.missing(build=False) if "binfmt" in need.what] == [
        "update-binfmts --enable qemu-arm"
    ]


def test_stand_in_flags_and_figures() -> None:
    from devices.lab import benchmark_model as tool

    flags, left = tool.parse_flags(["--graph=m.tflite", "--num_runs=7", "--min_secs=0", "--use_gpu=true", "--what=1"])
    assert (flags["graph"], flags["num_runs"], flags["min_secs"], flags["use_gpu"]) == ("m.tflite", 7, 0.0, True)
    assert left == ["--what=1"]
    with pytest.raises(tool.UsageError, match="num_runs"):
        tool.parse_flags(["--num_runs=many"])
    assert tool.stat_line([1041765]) == "count=1 curr=1041765"
    assert tool.stat_line([5, 5]) == "count=2 curr=5(all same)"
    line = tool.stat_line([10, 20, 30, 40])
    assert line == "count=4 first=10 curr=40 min=10 max=40 avg=25 std=11 p5=10 median=30 p95=40"


def test_stand_in_runs_here(tiny_tflite: Path) -> None:
    argv = [sys.executable, str(provision.TOOL), f"--graph={tiny_tflite}", "--num_runs=5", "--min_secs=0"]
    done = subprocess.run(
        [*argv, "--warmup_min_secs=0", "--num_threads=2"], capture_output=True, text=True, timeout=120, check=True
    )
    assert "INFO: count=5 first=" in done.stdout
    assert "INFO: Inference timings in us: Init: " in done.stdout
    assert "#threads used for CPU inference: [2]" in done.stdout
    missing = subprocess.run([*argv[:2], "--graph=/no/such"], capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert "Failed to load" in missing.stderr
