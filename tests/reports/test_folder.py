"""A report's folder: made again only where content changed, never outside itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.folder import LIST, Folder, key_of


def written(out: Path, files: dict[str, str]) -> int:
    folder = Folder(out)
    for name, text in files.items():
        folder.add(name, key_of(text), text.encode)
    folder.finish()
    return folder.made


def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    files = {"a.md": "1", "site/b.html": "2"}
    assert written(tmp_path, files) == 2
    assert written(tmp_path, files) == 0
    assert written(tmp_path, {**files, "a.md": "3"}) == 1
    assert (tmp_path / "a.md").read_text() == "3"


def test_a_file_that_was_touched_or_removed_is_made_again(tmp_path: Path) -> None:
    files = {"a.md": "1", "b.md": "2"}
    written(tmp_path, files)
    (tmp_path / "a.md").write_text("mine")
    later = (tmp_path / LIST).stat().st_mtime_ns + 1_000_000
    os.utime(tmp_path / "a.md", ns=(later, later))
    (tmp_path / "b.md").unlink()
    assert written(tmp_path, files) == 2
    assert (tmp_path / "a.md").read_text() == "1"


def test_what_is_left_over_goes_with_its_folder(tmp_path: Path) -> None:
    written(tmp_path, {"site/a.html": "1", "b.md": "2"})
    written(tmp_path, {"b.md": "2"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.md", LIST]


def test_a_folder_that_became_a_link_loses_nothing(tmp_path: Path) -> None:
    written(tmp_path / "out", {"site/a.html": "1"})
    outside = tmp_path / "outside"
    (tmp_path / "out" / "site").rename(outside)
    (tmp_path / "out" / "site").symlink_to(outside)
    written(tmp_path / "out", {"b.md": "2"})
    assert (outside / "a.html").exists()


@pytest.mark.parametrize("name", ["../a.md", "/a.md", "a", "a.exe", ".a.md", "a/../b.md", "a//b.md", LIST, ""])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        Folder(tmp_path).add(name, "k", bytes)


@settings(deadline=None)
@given(st.dictionaries(st.text(alphabet="a./\\.md\n", max_size=12), st.just("k"), max_size=5))
def test_a_forged_list_removes_nothing_outside(names: dict[str, str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as root:
        out = Path(root) / "x" / "out"
        out.mkdir(parents=True)
        for place in (Path(root), Path(root) / "x"):
            (place / "a.md").write_text("keep")
        (out / LIST).write_text(json.dumps({"files": names}))
        Folder(out).finish()
        assert (Path(root) / "a.md").exists()
        assert (Path(root) / "x" / "a.md").exists()


def test_a_list_that_is_no_list_is_as_none(tmp_path: Path) -> None:
    for text in ("", "[]", '{"files": []}', "[" * 3000, '{"files": {"a.md": 3}}'):
        (tmp_path / LIST).write_text(text)
        assert written(tmp_path, {"a.md": "1"}) == 1
