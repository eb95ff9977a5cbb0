"""The stage cache: what is done is reused, what is damaged is made anew, what failed leaves nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from compressors.cache import Finished, StageCache, code_digest


def maker(calls: list[str]) -> Callable[[Path], dict[str, object]]:
    def work(folder: Path) -> dict[str, object]:
        calls.append("made")
        (folder / "out.bin").write_bytes(b"content")
        return {"n": 1, "list": (1, 2)}

    return work


def test_a_finished_stage_is_reused_as_it_was(tmp_path: Path) -> None:
    cache, calls = StageCache(tmp_path / "cache"), []
    first = cache.run("s", {"a": 1}, maker(calls))
    second = cache.run("s", {"a": 1}, maker(calls))
    assert calls == ["made"]
    assert (first.reused, second.reused) == (False, True)
    assert first.result == second.result == {"n": 1, "list": [1, 2]}
    assert first.made == second.made
    assert second.file("out.bin").read_bytes() == b"content"


@pytest.mark.parametrize(("stage", "depends"), [("s", {"a": 2}), ("t", {"a": 1}), ("s", {"a": 1, "b": None})])
def test_whatever_it_depends_on_makes_another_stage(tmp_path: Path, stage: str, depends: dict[str, object]) -> None:
    cache, calls = StageCache(tmp_path), []
    cache.run("s", {"a": 1}, maker(calls))
    assert not cache.run(stage, depends, maker(calls)).reused


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "out.bin").write_bytes(b"contenT"),
        lambda folder: (folder / "out.bin").unlink(),
        lambda folder: (folder / "record.json").write_bytes(b"{}"),
        lambda folder: (folder / "record.json").write_bytes(
            (folder / "record.json").read_bytes().replace(b'"n": 1', b'"n": 2')
        ),
        lambda folder: (folder / "record.json").unlink(),
    ],
)
def test_a_damaged_stage_is_made_anew(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    cache, calls = StageCache(tmp_path), []
    damage(cache.run("s", {}, maker(calls)).folder)
    again = cache.run("s", {}, maker(calls))
    assert calls == ["made", "made"]
    assert again.damaged
    assert not again.reused
    assert again.result["n"] == 1
    assert cache.run("s", {}, maker(calls)).reused


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_stage_that_is_interrupted_leaves_the_others_and_nothing_half(
    tmp_path: Path, error: type[BaseException]
) -> None:
    cache, calls = StageCache(tmp_path), []
    cache.run("first", {}, maker(calls))

    def fails(folder: Path) -> dict[str, object]:
        (folder / "half.bin").write_bytes(b"half")
        raise error

    with pytest.raises(error):
        cache.run("second", {}, fails)
    assert len(list(tmp_path.iterdir())) == 1
    assert cache.run("first", {}, maker(calls)).reused


def beside_each_other(
    cache: Path, first: Callable[[Path], dict[str, object]], second: Callable[[Path], dict[str, object]]
) -> tuple[Future[Finished], Future[Finished]]:
    """Two runs that need one stage, both over: ``first`` makes it until the other waits for it."""
    began, waits = threading.Event(), threading.Event()

    def until_somebody_waits(folder: Path) -> dict[str, object]:
        began.set()
        assert waits.wait(60)
        return first(folder)

    with ThreadPoolExecutor(2) as pool:
        making = pool.submit(lambda: StageCache(cache).run("s", {}, until_somebody_waits))
        assert began.wait(60)
        assert not StageCache(cache).run("other", {}, maker([])).reused
        return making, pool.submit(lambda: StageCache(cache).run("s", {}, second, waits.set))


def test_a_stage_that_another_run_makes_is_waited_for_and_taken(tmp_path: Path) -> None:
    calls: list[str] = []
    first, second = beside_each_other(tmp_path, maker(calls), maker(calls))
    assert (first.result(60).reused, second.result(60).reused) == (False, True)
    assert calls == ["made"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_run_that_fails_lets_the_one_that_waits_make_the_stage(tmp_path: Path) -> None:
    def fails(_folder: Path) -> dict[str, object]:
        raise FileNotFoundError("a photo that went away")

    first, second = beside_each_other(tmp_path, fails, maker([]))
    with pytest.raises(FileNotFoundError, match="went away"):
        first.result(60)
    assert not second.result(60).reused


def test_the_code_digest_changes_with_the_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    first = code_digest(tmp_path)
    (tmp_path / "a.py").write_text("2")
    assert code_digest(tmp_path) != first
