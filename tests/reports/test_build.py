"""The whole report: golden pages, the same bytes twice, traceable numbers, an empty zoo, no matplotlib."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import msgspec
import pytest

from pocketzoo.errors import BadInput
from reports.build import Built, build
from reports.cells import Held, Material, cell_id, device_of, merge
from reports.folder import LIST
from reports.pages import MOST_NAMED, _command
from tests.reports.golden import FOLDER, PAGES, REPORTS
from tests.reports.records import FLOAT, INT8, LOCAL, material, measurement, sha
from zoo.measurement import Measurement


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A report to read, not to change."""
    return build(material(), tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize("name", REPORTS)
def test_every_page_is_the_golden_one(name: str, tmp_path: Path) -> None:
    build(REPORTS[name](), tmp_path)
    for page in PAGES:
        assert (tmp_path / page).read_text() == (FOLDER / name / page).read_text(), (
            f"{page} changed; if that is meant: python -m tests.reports.golden"
        )


def test_same_input_same_bytes_in_any_order(tmp_path: Path) -> None:
    one = material()
    other = merge(reversed(one.held), [*reversed(one.measurements), *one.measurements])
    first = build(one, tmp_path / "a")
    second = build(other, tmp_path / "b")
    assert first.files == second.files
    assert first.cells == second.cells == 17
    assert any(name.endswith(".svg") for name in first.files)
    for name in first.files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_an_unchanged_file_is_not_written_again(tmp_path: Path) -> None:
    built = build(material(), tmp_path)
    before = {name: (tmp_path / name).stat().st_ino for name in built.files}
    build(material(), tmp_path)
    assert {name: (tmp_path / name).stat().st_ino for name in built.files} == before


def test_left_over_files_go_and_others_stay(tmp_path: Path) -> None:
    build(material(), tmp_path)
    (tmp_path / "mine.txt").write_text("keep")
    assert (tmp_path / "threads-local-x86_64.svg").exists()
    build(Material(), tmp_path)
    assert not (tmp_path / "threads-local-x86_64.svg").exists()
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_forged_file_list_removes_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside.md"
    outside.write_text("keep")
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("keep")
    forged = {"../outside.md": "k", "notes.txt/../../outside.md": "k", str(outside): "k", "notes.md": 3}
    (out / LIST).write_text(json.dumps({"files": forged}))
    (out / "notes.md").write_text("keep")
    build(Material(), out)
    assert outside.exists()
    assert (out / "notes.txt").exists()
    assert (out / "notes.md").exists()


def test_every_number_can_be_traced_to_its_raw_samples(full: Built) -> None:
    cells = json.loads((full.out / "cells.json").read_bytes())["cells"]
    assert len(cells) == 17
    known = {(m.job_key, m.time): m for m in material().measurements}
    for cell in cells:
        record = known[cell["job_key"], cell["time"]]
        assert cell["cell"] == cell_id(record)
        del cell["cell"], cell["shown"]
        assert msgspec.convert(cell, Measurement) == record
    listed = set(re.findall(r"^\| `([0-9a-f]{12})` ", (full.out / "latency.md").read_text(), re.MULTILINE))
    assert listed == {cell_id(m) for m in known.values()}


def test_the_list_holds_the_files_of_the_report(full: Built) -> None:
    assert sorted(json.loads((full.out / LIST).read_bytes())["files"]) == sorted({*full.files} - {LIST})
    assert sorted(str(path.relative_to(full.out)) for path in full.out.rglob("*")) == list(full.files)


def test_links_and_pictures_of_the_readme_exist(full: Built) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (full.out / "README.md").read_text())
    assert len(targets) > 6
    for target in targets:
        assert (full.out / target).is_file(), target


def test_an_empty_zoo_says_what_to_do_next(tmp_path: Path) -> None:
    built = build(Material(), tmp_path)
    assert built.files == tuple(sorted([*PAGES, "published.md", "cells.json", LIST]))
    assert built.cells == 0
    assert "compress run" in (tmp_path / "README.md").read_text()
    assert "harness run --device local" in built.summary
    assert json.loads((tmp_path / "cells.json").read_bytes()) == {"digits": 0, "cells": []}


def test_models_without_any_measurement_show_their_accuracy(tmp_path: Path) -> None:
    built = build(merge([Held(FLOAT, ("latest",))], []), tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "No latency was measured yet" in text
    assert "| mobilenetv2 |" in text
    assert "mobilenetv2" in built.summary


def test_measurements_of_a_model_that_left_the_zoo_are_kept(tmp_path: Path) -> None:
    build(merge([], [measurement(INT8, 8.0)]), tmp_path)
    assert re.search(r"\| local +\| mobilenetv2 +\| quant ", (tmp_path / "latency.md").read_text())


def test_without_matplotlib_there_are_tables_and_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    built = build(material(), tmp_path)
    assert not [name for name in built.files if name.endswith((".svg", ".png"))]
    assert "pip install 'pocketzoo[reports]'" in capsys.readouterr().err
    assert "2.52×" in (tmp_path / "README.md").read_text()


def test_a_file_instead_of_a_folder_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(BadInput, match="a file"):
        build(Material(), tmp_path / "f")


def test_two_machines_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    other = msgspec.structs.replace(LOCAL, fingerprint=sha("another"))
    cells = [measurement(FLOAT, 20.0), measurement(INT8, 5.0, device=other, key=sha("x"))]
    build(merge([Held(FLOAT, ("latest",)), Held(INT8, ("latest",))], cells), tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert f"## local (fingerprint {LOCAL.fingerprint[:8]})" in text
    assert f"## local (fingerprint {other.fingerprint[:8]})" in text
    assert "×  " not in text.split("## How to read it")[0].replace("× [", "")
    assert "parent not measured" in text


def test_a_command_to_copy_names_some_models_and_says_how_many_more_there_are() -> None:
    one = measurement(FLOAT, median_ms=3.0)
    cells = [msgspec.structs.replace(one, model=f"model-{number:02d}") for number in range(50)]
    line = _command(device_of(cells[0]), cells)
    assert line.count("--model") == MOST_NAMED
    assert line.endswith("--fresh  # and 10 more models: those of latency.md")
    assert "#" not in _command(device_of(cells[0]), cells[:MOST_NAMED])
