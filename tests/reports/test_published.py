"""The published tables: complete, well formed, in our names, and which of their own claims do not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import published
from harness.published import PublishedTable, load, names
from pocketzoo.errors import BadInput
from reports import beside
from reports.cells import split_name
from reports.claims import Checked, check
from reports.render.markdown import table as as_markdown
from zoo.reference import check_name

DEVICES = {"snapdragon710", "snapdragon835", "snapdragon845", "snapdragon855", "kirin970", "pixel1", "v100"}
TABLES = {name: load(name) for name in names()}
ROWS = {
    "amc-converted": 2,
    "amc-mobilenets": 6,
    "paddleslim-distil-quant": 1,
    "paddleslim-distillation": 1,
    "paddleslim-prune-quant": 1,
    "paddleslim-quantization-accuracy": 2,
    "paddleslim-quantization-size": 2,
    "paddleslim-sensitivity-iterative": 3,
    "paddleslim-sensitivity-one-step": 1,
    "paddleslim-sensitivity-stepwise": 3,
    "paddleslim-uniform-pruning": 3,
    "paddlex-classification-cropping": 3,
    "paddlex-classification-latency": 18,
    "paddlex-classification-quantization": 6,
    "paddlex-detection-cropping": 4,
    "paddlex-detection-quantization": 4,
    "paddlex-segmentation-cropping": 2,
    "paddlex-segmentation-latency": 6,
    "paddlex-segmentation-quantization": 2,
    "pocketflow-channel-pruning": 4,
    "pocketflow-quantization-accuracy": 4,
    "pocketflow-quantization-speedup": 6,
    "pocketflow-weight-sparsification": 4,
    "torch-pruning-resnet50-latency": 21,
    "torch-pruning-resnet56": 20,
    "torch-pruning-vgg19": 7,
}


def test_all_tables_of_the_five_documents_are_there() -> None:
    assert {name: len(table.rows) for name, table in TABLES.items()} == ROWS
    assert len({table.source.file for table in TABLES.values()}) == 5


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_names_are_ours(table: PublishedTable) -> None:
    for row in table.rows:
        check_name(row.model)
        if row.name:
            check_name(row.name)
            assert split_name(row.name) == (row.model, row.strategy)
        assert row.device is None or row.device in DEVICES
    for column in table.columns:
        assert column.device is None or column.device in DEVICES
        if column.holds in {"latency", "latency-by-threads", "fps", "size", "accuracy", "macs"}:
            assert column.unit, column.heading


@pytest.mark.parametrize(
    ("table", "row", "heading", "value"),
    [
        ("pocketflow-quantization-speedup", 0, "Speed-up", "2.50x"),
        ("pocketflow-quantization-speedup", 5, "Time (32-bit)", "226.61"),
        ("paddlex-classification-quantization", 1, "Top-1 accuracy rate", "70.18% (-0.81%)"),
        ("paddlex-classification-cropping", 0, "Paddle Lite inference time consumption", "66.052/35.8014/19.5762"),
        ("paddlex-classification-latency", 7, "armv8 Thread 4", "4.2934"),
        ("paddleslim-quantization-accuracy", 0, "FP32", "89.68% / 70.99%"),
        ("torch-pruning-resnet56", 5, "Δ Acc (%)", "-0.09"),
        ("amc-mobilenets", 0, "Latency (ms)", "123"),
    ],
)
def test_values_are_exactly_as_printed(table: str, row: int, heading: str, value: str) -> None:
    found = TABLES[table]
    assert found.rows[row].cells[found.position(heading)] == value


# Mistakes of the documents, kept as printed. An entry that goes missing here, or a new one, means the data changed.
DOES_NOT_FIT = {
    ("paddleslim-distillation", 1, "收益(top5/top1)", "+1.28", 1.38),
    ("paddleslim-uniform-pruning", 1, "model size", "-47.0", -47.06),
    ("torch-pruning-resnet56", 6, "Δ Acc (%)", "-0.09", -1.09),
    ("torch-pruning-resnet56", 13, "Δ Acc (%)", "+0.38", 0.24),
    ("torch-pruning-vgg19", 4, "Δ Acc (%)", "-6.67", -6.47),
    ("torch-pruning-vgg19", 6, "Δ Acc (%)", "-5.44", -5.90),
}


def test_the_claims_that_do_not_fit_are_these() -> None:
    results = [result for table in TABLES.values() for result in check(table)]
    assert len(results) == 78
    assert {(r.table, r.row, r.column, r.printed, round(r.computed, 2)) for r in results if not r.fits} == DOES_NOT_FIT


def test_every_stated_delta_and_speed_up_is_claimed() -> None:
    """A cell with a figure in brackets, or a column of deltas or speed-ups, has a claim unless it cannot be redone."""
    cannot = {("torch-pruning-resnet56", "Speed Up"), ("torch-pruning-vgg19", "Speed Up")}
    for table in TABLES.values():
        claimed = {claim.column for claim in table.claims}
        for i, column in enumerate(table.columns):
            stated = column.holds in {"delta", "delta-pair", "size-delta", "delta-size", "speed-up"} or any(
                re.search(r"\([-+]\d", row.cells[i]) for row in table.rows
            )
            if stated and (table.table, column.heading) not in cannot:
                assert column.heading in claimed, (table.table, column.heading)


@pytest.mark.parametrize("name", sorted({entry[0] for entry in DOES_NOT_FIT}))
def test_a_claim_that_does_not_fit_is_said_below_its_table(name: str) -> None:
    text = " ".join(beside.as_table(TABLES[name]).notes)
    for table, _, _, printed, _ in DOES_NOT_FIT:
        if table == name:
            assert printed.lstrip("+") in text


@pytest.mark.parametrize(
    ("printed", "computed", "fits"),
    [("2.50", 2.497, True), ("2.50", 2.494, False), ("-1", -1.4, True), ("-1", -1.6, False), ("+0.00", 0.005, True)],
)
def test_a_figure_fits_when_it_rounds_to_the_printed_one(printed: str, computed: float, fits: bool) -> None:
    assert Checked("t", 1, "c", printed, computed).fits is fits


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_figure_is_marked_as_published(table: PublishedTable) -> None:
    text = as_markdown(beside.as_table(table))
    figures = sum(
        row.cells[i] not in ("-", "--", "")
        for row in table.rows
        for i, column in enumerate(table.columns)
        if column.holds in beside.FIGURES
    )
    assert text.count("* ‡published") == figures > 0


def test_latency_rows_use_our_names() -> None:
    table = beside.latency_rows(TABLES["paddlex-classification-latency"])
    assert [column.heading for column in table.columns][3:] == [
        f"{abi} T{threads}" for abi in ("armv7", "armv8") for threads in (1, 2, 4)
    ]
    assert as_markdown(table).count("snapdragon855") == 6


def test_an_unknown_table_names_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean") as caught:
        load("pocketflow-quantization-speedups")
    assert caught.value.exit_code == 2


def test_a_name_cannot_leave_the_folder() -> None:
    with pytest.raises(BadInput):
        load("../__init__")


def test_the_files_lie_inside_the_package() -> None:
    folder = Path(published.__file__).parent
    assert {path.stem for path in folder.glob("*.yaml")} == set(ROWS)
