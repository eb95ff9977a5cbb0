"""CSV and Parquet: every figure beside its verdict, nothing that a spreadsheet runs, the same back."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from harness.cli import harness
from harness.results import Results
from harness.results.export import CELLS, SAMPLES, Column, safe_text, write_csv, write_parquet
from pocketzoo.errors import BadInput
from tests.harness.cells import cell_of
from tests.harness.results import golden
from tests.harness.results.rounds import measured, store


@pytest.fixture
def stored() -> Results:
    results = Results()
    golden.fill(results)
    return results


def run(*argv: str) -> Result:
    return CliRunner().invoke(harness, ["results", *argv], catch_exceptions=False)


@pytest.mark.parametrize("name", golden.FILES)
def test_csv_is_as_it_was(stored: Results, name: str) -> None:
    assert golden.exported(golden.FILES[name]) == (golden.FOLDER / name).read_bytes()


def test_a_row_with_a_latency_names_its_verdict_protocol_and_provenance() -> None:
    for columns in (CELLS, SAMPLES):
        assert {"verdict", "provenance", "warmup", "runs"} <= {column.name for column in columns}


def test_parquet_holds_what_csv_holds_with_its_types(stored: Results, tmp_path: Path) -> None:
    out = tmp_path / "results.parquet"
    assert "3 rows written" in run("--format", "parquet", "--out", str(out)).stderr
    table = parquet.read_table(out)
    assert table.column_names == [column.name for column in CELLS]
    assert table.column("soc").to_pylist()[-1] == '=HYPERLINK("http://x","y")'
    assert table.column("median_ms").to_pylist() == [3.0, None, 3.0]
    assert table.column("repeat_medians_ms").to_pylist() == [[3.0] * 3, None, [3.0] * 3]
    done = run("--format", "parquet", "--samples", "--out", str(out), "--json", "--device", "local")
    assert json.loads(done.stdout) == {"out": str(out), "format": "parquet", "rows": 6, "samples": True}
    rows = parquet.read_table(out).to_pylist()
    assert [(r["repeat"], r["index"], r["ns"]) for r in rows][:4] == [
        (0, 0, 2_900_000), (0, 1, 3_000_000), (0, 2, 3_100_000), (1, 0, 2_900_001)
    ]  # fmt: skip


def test_json_is_the_same_document_by_either_option(stored: Results, tmp_path: Path) -> None:
    document = run("--json").stdout
    assert document == run("--format", "json").stdout
    assert run("--format", "json", "--out", str(tmp_path / "r.json")).exit_code == 0
    assert (tmp_path / "r.json").read_text() == document
    records = json.loads(document)
    assert records[0]["samples_ns"][0] == [2_900_000, 3_000_000, 3_100_000]
    assert [record["verdict"] for record in records] == ["valid", "failed", "valid"]


def test_the_table_names_verdict_protocol_and_provenance_without_reading_samples(stored: Results) -> None:
    shown = run("--model", "tiny-model").stdout
    assert "measured on hardware, 1 warm-up + 3 runs x 3" in shown
    assert "failed: tiny-model on local, x86_64, 2 threads: it crashed" in shown
    assert run("--device", "nobody").stderr.startswith("no results yet")


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (("--samples",), "--samples goes with rows"),
        (("--format", "parquet"), "not text for a terminal"),
        (("--format", "csv", "--json"), "both want stdout"),
    ],
)
def test_options_that_do_not_go_together_are_refused(argv: tuple[str, ...], match: str) -> None:
    with pytest.raises(BadInput, match=match) as caught:
        run(*argv)
    assert caught.value.hint


def test_pyarrow_that_is_missing_is_named_and_leaves_no_file(
    stored: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInput, match="needs pyarrow") as caught:
        run("--format", "parquet", "--out", str(tmp_path / "out" / "r.parquet"))
    assert caught.value.hint is not None and "pip install 'pocketzoo[parquet]'" in caught.value.hint
    assert list((tmp_path / "out").iterdir()) == []


def test_rows_of_the_process_end_as_rfc_4180_says() -> None:
    results = Results()
    store(results, cell_of(), measured(cell_of()))
    code = "from harness.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "results", "--format", "csv"], capture_output=True, check=True)
    assert done.stdout.count(b"\r\n") == done.stdout.count(b"\n") == 2


TEXT = st.text(st.characters(codec="utf-8"))
FORMULA = st.builds(lambda blank, sign, rest: blank + sign + rest, st.sampled_from(["", " ", "\t", "\n "]),
                    st.sampled_from("=+-@＝＋－＠'"), TEXT)  # fmt: skip
ROWS = st.lists(
    st.tuples(
        TEXT | FORMULA,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
    )
)
COLUMNS = (Column("a", "text"), Column("b", "whole"), Column("c", "real"), Column("d", "reals"))


@settings(deadline=None)
@given(TEXT | FORMULA)
def test_no_text_is_a_formula_and_one_apostrophe_gives_it_back(text: str) -> None:
    safe = safe_text(text)
    assert not safe.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
    assert safe.removeprefix("'") == text


@settings(deadline=None)
@given(ROWS)
def test_csv_reads_back_as_it_was_written(rows: list[tuple[str, int | None, float | None, tuple[float, ...]]]) -> None:
    out = io.StringIO(newline="")
    assert write_csv(out, COLUMNS, rows) == len(rows)
    out.seek(0)
    _, *found = csv.reader(out, strict=True)
    assert [
        (
            a.removeprefix("'"),
            int(b) if b else None,
            float(c) if c else None,
            tuple(map(float, json.loads(d))) if d else None,
        )
        for a, b, c, d in found
    ] == rows


@settings(deadline=None)
@given(ROWS)
def test_parquet_reads_back_as_it_was_written(rows: list[tuple[object, ...]]) -> None:
    out = io.BytesIO()
    assert write_parquet(out, COLUMNS, rows) == len(rows)
    found = parquet.read_table(io.BytesIO(out.getvalue())).to_pylist()
    assert [(r["a"], r["b"], r["c"], None if r["d"] is None else tuple(r["d"])) for r in found] == rows
