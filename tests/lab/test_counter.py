"""What the counter is made of, and what is said where a machine lacks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.lab import counter, needs
from pocketzoo.errors import WorkFailed

LDD = """\
	linux-vdso.so.1 (0x00007fa660eb9000)
	libglib-2.0.so.0 => /lib/x86_64-linux-gnu/libglib-2.0.so.0 (0x00007fa66089c000)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fa65fc1e000)
	/lib64/ld-linux-x86-64.so.2 (0x00007fa660ebb000)
"""


def test_loader_and_libraries_are_told_apart() -> None:
    loader, libraries = counter.parse_ldd(LDD)
    assert loader == Path("/lib64/ld-linux-x86-64.so.2")
    assert [library.name for library in libraries] == ["libglib-2.0.so.0", "libc.so.6"]


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (LDD + "\tlibcapstone.so.4 => not found\n", "libcapstone.so.4"),
        ("\tnot a dynamic executable\n", "names none"),
    ],
)
def test_a_broken_qemu_is_refused(printed: str, said: str) -> None:
    with pytest.raises(WorkFailed, match=said) as caught:
        counter.parse_ldd(printed)
    assert "qemu-user" in str(caught.value.hint)


def test_without_compiler_or_qemu_the_lab_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "tool", lambda name: None)
    said: list[str] = []
    assert counter.ensure("armv7", say=said.append) is None
    assert "apt-get install gcc" in said[0]
    assert "qemu-user" in said[0]


def test_a_counter_that_does_not_count_is_told_and_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lacking = needs.for_counting()
    if lacking:
        pytest.skip(f"needs {lacking.what} ({lacking.mend})")
    source = tmp_path / "insn_count.c"
    source.write_text("int qemu_plugin_version = 1;\n")
    monkeypatch.setattr(counter, "SOURCE", source)
    monkeypatch.setenv("POCKETZOO_LAB_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    assert counter.ensure("armv8", say=said.append) is None
    assert "does not count armv8" in said[0]
    assert list((tmp_path / "cache").iterdir()) == []
