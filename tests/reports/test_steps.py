"""Networks pruned step by step: a file from outside is checked, and its figures stand on pages as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketzoo.errors import BadInput
from reports import steps
from reports.build import build
from reports.cells import Material
from reports.render import curves, plots
from reports.values import Latency, Missing, Text
from zoo.markdown import escape


def document(**more: Any) -> dict[str, Any]:
    """What `compress curve --out` writes, of three steps."""
    figures = ((4_000_000, 8.0, "valid"), (1_000_000, 4.0, "contended"), (0, 2.0, "emulated"))
    found = [
        {
            "step": number,
            "macs": macs,
            "parameters": macs // 100,
            "value": value,
            "interval": [value * 0.9, value * 1.1],
            "verdict": verdict,
            "reason": None,
            "channels": {"conv1": 8},
            "file_sha256": "b" * 64,
            "job_key": f"{number:x}" * 64,
        }
        for number, (macs, value, verdict) in enumerate(figures)
    ]
    plain = {"recipe": "resnet50", "device": "v100", "abi": "x86_64", "runner": "torch", "threads": 1, "batch": 64}
    return {"schema": 1, **plain, "unit": "ms", "steps": found, **more}


def written(path: Path, **more: Any) -> Path:
    path.write_text(json.dumps(document(**more)))
    return path


def test_every_step_stands_in_the_table_against_the_first(tmp_path: Path) -> None:
    (drawn,) = steps.load([written(tmp_path / "mine.json")], tmp_path / "none")
    made = steps.table(drawn)
    assert made.title == "resnet50 on v100: x86_64, torch, 1 thread, batch 64"
    assert "mine.json" in made.notes[0] and "a batch of 64" in made.notes[0]
    number, macs, _, latency, fewer, faster = made.rows[1]
    assert (number, macs, fewer, faster) == (Text("1"), Text("1.0"), Text("4.00"), Text("2.00"))
    assert latency == Latency(4.0, pytest.approx(0.4), ("!contended",), "1" * 12)
    assert made.rows[2][4] == Missing("no MACs left")
    assert [latency.marks for row in made.rows if isinstance(latency := row[3], Latency)] == [
        ("✓",), ("!contended",), ("†emulated",),
    ]  # fmt: skip


def test_instructions_are_no_latencies(tmp_path: Path) -> None:
    (drawn,) = steps.load([written(tmp_path / "c.json", unit="instructions", batch=1)], tmp_path / "none")
    made = steps.table(drawn)
    assert made.columns[3].heading == "Instructions" and made.rows[0][3] == Text("8 ✓")
    assert list(steps.lines([drawn])) == ["Instructions"]


def test_files_of_the_folder_come_first_and_a_damaged_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "curve-b.json", device="b")
    written(tmp_path / "curve-a.json", device="a")
    (tmp_path / "curve-c.json").write_text("[" * 9000)
    again = written(tmp_path / "again.json", device="a")
    found = steps.load([again, written(tmp_path / "z.json", device="z")], tmp_path)
    assert [(one.file, one.curve.device) for one in found] == [
        ("curve-a.json", "a"), ("curve-b.json", "b"), ("z.json", "z"),
    ]  # fmt: skip
    assert "curve-c.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [
        {"schema": 2}, {"steps": []}, {"unit": "s"}, {"device": 3}, {"threads": 0},
        {"steps": [{**document()["steps"][0], "value": 0}]},
        {"steps": [{**document()["steps"][0], "interval": [9, 10]}]},
        {"steps": [{**document()["steps"][0], "job_key": "<b>"}]},
        {"steps": [{**document()["steps"][0], "verdict": "fine"}]},
        {"steps": document()["steps"] * 400},
    ],
)  # fmt: skip
def test_another_shape_is_bad_input(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no curve"):
        steps.load([written(tmp_path / "c.json", **more)], tmp_path / "none")


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_bytes_are_a_curve_or_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        steps.parse(data)


def test_pages_and_plots_show_it(tmp_path: Path) -> None:
    found = steps.load([written(tmp_path / "c.json", recipe="<b>|x")], tmp_path / "none")
    built = build(Material(pruned=found), tmp_path / "out", ("markdown", "site"))
    text = (tmp_path / "out" / "pruning.md").read_text()
    assert "## Pruned step by step" in text and escape("<b>|x on v100") in text and "(steps-latency.svg)" in text
    page = (tmp_path / "out" / "site" / "tables" / "pruning.html").read_text()
    assert "&lt;b&gt;|x on v100" in page and 'id="steps-latency"' in page and "<b>|x" not in page
    assert "steps-latency.png" in built.files
    assert build(Material(pruned=found), tmp_path / "out", ("markdown", "site")).made == 0
    assert build(Material(), tmp_path / "out", ("markdown", "site")).made == 2
    assert not (tmp_path / "out" / "steps-latency.svg").exists()


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    found = steps.load([written(tmp_path / "c.json")], tmp_path / "none")
    (measure, lines), *_ = steps.lines(found).items()
    one, other = (curves.steps(lines, measure, "title") for _ in range(2))
    assert plots.available() and one == other and one["png"].startswith(b"\x89PNG")
