"""Curves that a store keeps beside its entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo import curves

DIGEST = "a" * 64


def test_curves_are_kept_by_the_digest_of_their_model(tmp_path: Path) -> None:
    file = tmp_path / "sensitivity.json"
    file.write_text("{}")
    root = tmp_path / "zoo"
    assert curves.kept(root) == {}
    curves.keep(root, DIGEST, [file])
    assert curves.kept(root) == {DIGEST: [root / "curves" / DIGEST / "sensitivity.json"]}
    assert curves.kept(root)[DIGEST][0].read_text() == "{}"


def test_what_is_large_a_link_or_of_another_name_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sensitivity.json"
    file.write_text("{}")
    own = tmp_path / "curves" / DIGEST
    own.mkdir(parents=True)
    (own / "link.json").symlink_to(file)
    (own / ".hidden.json").write_text("{}")
    (own / "notes.txt").write_text("x")
    (tmp_path / "curves" / "short").mkdir()
    (tmp_path / "curves" / ("b" * 64)).symlink_to(own)
    assert curves.kept(tmp_path) == {}
    monkeypatch.setattr(curves, "MOST_BYTES", 1)
    curves.keep(tmp_path, DIGEST, [file])
    (own / "given.json").write_text("{}")
    assert curves.kept(tmp_path) == {}


@pytest.mark.parametrize(
    ("digest", "name"), [("../x", "s.json"), (DIGEST, "s.txt"), (DIGEST, "-s.json"), ("", "s.json")]
)
def test_a_name_that_is_none_is_refused(tmp_path: Path, digest: str, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match="not curves"):
        curves.keep(tmp_path, digest, [tmp_path / name])
