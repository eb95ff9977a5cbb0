"""The tables as readers of the documents know them, the status page, and what training left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt
from msgspec import structs

from compressors.recipe import shipped
from harness.published import load
from reports import documents, familiar, figures, pages, status, trained
from reports.cells import Held, Material, cell_id, merge
from reports.render import markdown, wording
from reports.values import Column, Latency, Line, Missing, Ratio, Table, Text
from reports.view import View
from tests.reports.records import AMC, FLOAT, HOSTILE, LOCAL, material, measurement
from tests.reports.test_markdown import NASTY
from tests.reports.test_tables import rows_of
from zoo.artifact import Accuracy

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def test_every_published_latency_with_abi_and_threads_stands_beside_ours() -> None:
    arm, other = familiar.side_by_side(View(material()))
    told = [one.printed for one in figures.latencies() if one.abi and one.threads]
    shown = [value.text for row in arm.rows for value in row if isinstance(value, Text) and value.published]
    assert sorted(shown) == sorted(told)
    rows = [row for row in rows_of(arm) if row["Device"] == "kirin970" and row["Model"] == "mobilenetv2"]
    assert [(row["Strategy"], row["Whose"]) for row in rows] == [
        ("none", "here"), ("none", "PaddleX"), ("quant", "here"), ("quant", "PaddleX"),
    ]  # fmt: skip
    assert {row["Device"] for row in rows_of(other)} == {"local", "v100"}


def test_the_fastest_on_a_phone_above_an_accuracy() -> None:
    found = familiar.chosen(figures.latencies(), device="kirin970", min_top1=70)
    assert (found[0].model, found[0].strategy, found[0].printed, found[0].top1) == (
        "mobilenetv1", "quant", "15.1206", 70.18,
    )  # fmt: skip
    above = familiar.chosen(figures.latencies(), device="kirin970", min_top1=72)
    assert above[0].model == "mobilenetv2"
    assert all((one.top1 or 0) >= 72 for one in above)


def test_a_latency_has_the_accuracy_that_the_same_document_gives() -> None:
    by = {(one.whose, one.device, one.model, one.strategy): one for one in figures.latencies()}
    assert by["PocketFlow", "kirin970", "mobilenetv1", "quant"].top1 == 71.29
    assert by["PaddleX", "kirin970", "mobilenetv1", "quant"].top1 == 70.18
    assert by["AMC", "pixel1", "amc-mobilenetv1-0.5time", "none"].top1 == 70.2
    yolo = [one for one in figures.latencies() if one.model == "mobilenetv1-yolov3"]
    assert {one.top1 for one in yolo} == {None}
    assert {one.accuracy for one in yolo} == {"76.2 box mmAP", "77.6 (+1.4) box mmAP"}


def test_where_our_speed_ups_stand_is_computed_from_the_cells() -> None:
    text = documents.quantization(View(material()))[1]
    assert isinstance(text, str)
    assert "1.40× to 2.52×" in text
    assert "2.22x to 3.69x" in text
    assert "above 4 of its 6" in text
    nothing = documents.quantization(View(Material()))[1]
    assert isinstance(nothing, str)
    assert nothing.startswith("No speed-up was measured on hardware")


def test_speed_ups_are_ranked_and_rows_without_one_left_out() -> None:
    table = documents.quantization(View(material()))[-1]
    assert isinstance(table, Table)
    values = [
        float(value.text.rstrip("x")) if isinstance(value, Text) else value.value
        for value in (row[0] for row in table.rows)
        if isinstance(value, Text | Ratio)
    ]
    assert values == sorted(values, reverse=True)
    assert len(values) == len(table.rows) == 11


def test_pruned_models_of_the_zoo_stand_below_the_published_rows() -> None:
    tables = {t.title: rows_of(t) for t in familiar.pruning(View(material()), [load(n) for n in documents.PRUNED])}
    ours = tables["Pruning: resnet56-cifar10"][-1]
    assert ours["Whose"] == "here"
    assert ours["Speed Up (MACs)"] == "2.12x"
    assert ours["Method"] == "prune52"
    assert ours["Δ Acc (points)"].startswith("-0.50 [")
    assert tables["Pruning: mobilenetv2"][0]["Speed Up (MACs)"] == "MACs not recorded"


def test_amc_networks_and_their_twins_stand_in_the_amc_table() -> None:
    rows = rows_of(familiar.amc(View(material()), load("amc-mobilenets")))
    mine = [row for row in rows if row["Whose"] == "here"]
    assert [row["Models"] for row in mine] == [AMC.name]
    assert mine[0]["MACs (M)"] == "7.9"
    assert mine[0]["Device"] == "local, x86_64"
    assert rows[0]["Latency, 1 thread (ms)"] == "123 ‡published"


def test_images_a_second_follow_from_the_batch() -> None:
    rows = rows_of(familiar.gpu(View(material()), [load(name) for name in documents.ON_GPU]))
    ours = rows[-1]
    median = float(ours["Latency (ms)"].split(" ")[0])
    assert ours["Batch"] == "8"
    assert float(ours["FPS"]) == pytest.approx(8e3 / median, rel=1e-3)
    assert [row["FPS"] for row in rows if row["Model"] == "fastscnn"] == ["39.53 ‡published", "51.48 ‡published"]


def test_a_line_has_one_mark_where_all_agree_and_each_its_own_where_not() -> None:
    good, bad = Latency(12.0, 0.1, ("✓",), "c"), Latency(6.0, 0.1, ("!clamped",), "d")
    assert markdown.cell(Line((good, good))) == "12.00 ± 0.10 / 12.00 ± 0.10 ✓"
    assert markdown.cell(Line((good, bad))) == "12.00 ± 0.10 ✓ / 6.000 ± 0.100 !clamped"
    assert markdown.cell(Line((good, Missing("a|b")))) == r"12.00 ± 0.10 ✓ / a\|b"
    assert markdown.cell(Line((Text("1", published=True),) * 2)) == "*1 / 1* ‡published"


def test_every_row_of_the_documents_is_on_the_status_page() -> None:
    found = status.status(View(material()), figures.tables(), ["mobilenetv2-quant-post", "mobilenetv2"])
    for table, shown in zip(figures.tables(), found, strict=True):
        assert {row["Row"] for row in rows_of(shown)} == {str(n + 1) for n in range(len(table.rows))}
        # Every figure of the document stands in some line of its row.
        for number, row in enumerate(table.rows, 1):
            told = " ".join(r["Published"] for r in rows_of(shown) if r["Row"] == str(number))
            for column, cell in zip(table.columns, row.cells, strict=True):
                if column.holds in status.FIGURES and cell not in figures.EMPTY:
                    assert cell in told


def lines(table: str) -> dict[tuple[int, str], status.Line]:
    return {(line.row, line.strategy): line for line in status.lines(load(table))}


def test_recipes_are_found_by_name_method_and_twin() -> None:
    known = [
        "mobilenetv1", "mobilenetv1-quant", "mobilenetv1-quant-post", "mobilenetv1-fashion-quant-post",
        "mobilenetv1-quant-uniform", "resnet56-cifar10-prune2.11x-group-sl", "resnet56-cifar10-prune2.55x-group-sl",
        "resnet56-fashion-prune2.11x-group-sl", "mobilenetv1-prune50-uniform", "mobilenetv1-prune50-ddpg",
    ]  # fmt: skip
    paddlex = lines("paddlex-classification-quantization")
    assert status.recipes_for(paddlex[2, "quant"], known) == (
        "mobilenetv1-quant-post",
        "mobilenetv1-fashion-quant-post",
    )
    assert status.recipes_for(lines("paddleslim-quantization-accuracy")[1, "quant"], known) == ("mobilenetv1-quant",)
    assert status.recipes_for(lines("pocketflow-quantization-speedup")[1, "quant"], known) == (
        "mobilenetv1-quant-uniform",
    )
    pruned = {(line.row, line.method): line for line in status.lines(load("torch-pruning-resnet56"))}
    assert status.recipes_for(pruned[13, "group-sl"], known) == (
        "resnet56-cifar10-prune2.11x-group-sl",
        "resnet56-fashion-prune2.11x-group-sl",
    )
    assert status.recipes_for(pruned[20, "group-sl"], known) == ("resnet56-cifar10-prune2.55x-group-sl",)
    assert status.recipes_for(pruned[1, None], known) == ()
    uniform = status.lines(load("paddleslim-uniform-pruning"))[0]
    assert status.recipes_for(uniform, known) == ("mobilenetv1-prune50-uniform",)


def test_a_line_that_was_run_names_data_hardware_and_cell() -> None:
    text = markdown.page(documents.status_page(View(material())))
    rows = [line for line in text.splitlines() if "| mobilenetv2 on kirin970" in line]
    assert rows
    known = {cell_id(cell) for cell in material().measurements}
    for line in rows:
        assert "imagenet" in line
        assert "90.00%" in line
        assert "lab-phone-armv8 †emulated" in line
        cell = line.split("cell ")[1][:12]
        assert cell in known
    assert "not run" in text
    assert "quoted by the document from others" in text


@settings(max_examples=4, deadline=None)
@given(NASTY.filter(lambda text: bool(text.strip())))
def test_no_name_becomes_markup_on_any_page(name: str) -> None:
    device = structs.replace(LOCAL, name=name, soc=name, os_build=name)
    bad = Accuracy(metric=name, value=50.0, dataset=name, split=name, samples=10, measured_on=FLOAT.digest)
    one = merge(
        [Held(structs.replace(FLOAT, accuracy=(bad,)), ("latest",))],
        [
            measurement(FLOAT, 10.0, device=device, affinity=name),
            measurement(AMC, 3.0, device=device, verdict="failed", error=name),
        ],
    )
    for file, parts in pages.all_pages(View(one), {}).items():
        tokens = PARSER.parse(markdown.page(parts))
        assert not [token for token in tokens if token.type == "html_block"], file
        inside = [child for token in tokens for child in token.children or []]
        assert not [child for child in inside if child.type in ("html_inline", "image")], file
        assert all(
            str(child.attrs["href"]).split("#")[0].endswith(".md") for child in inside if child.type == "link_open"
        ), file


def test_a_hostile_name_breaks_no_table() -> None:
    table = familiar.by_threads(
        View(merge([Held(FLOAT)], [measurement(FLOAT, 1.0, device=structs.replace(LOCAL, name=HOSTILE))]))
    )
    assert all(len(row) == len(one.columns) for one in table for row in one.rows)


def test_long_tables_go_on_in_other_files_and_keep_every_row() -> None:
    rows = tuple((Text(str(n)),) for n in range(1201))
    table = Table("T", (Column("n"),), rows)
    found = pages.split("latency.md", ("# T", table, "after"))
    assert list(found) == ["latency.md", "latency-2.md", "latency-3.md"]
    assert [row for parts in found.values() for part in parts if isinstance(part, Table) for row in part.rows] == list(
        rows
    )
    assert "[next](latency-2.md)" in found["latency.md"][1]
    assert "[before](latency.md) [next](latency-3.md)" in found["latency-2.md"][1]
    assert "[before](latency-2.md)" in found["latency-3.md"][1]


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("study", "recipe"),
    [
        ("prune", "mobilenetv1-fashion-prune50-sensitivity"),
        ("sparse", "mobilenetv1-fashion-sparse50-uniform"),
        ("distil", "mobilenetv1-fashion-distil"),
    ],
)
def test_what_a_study_gave_reaches_the_status_page(tmp_path: Path, study: str, recipe: str) -> None:
    rows = [
        {"recipe": recipe, "seed": seed, "top1": 91.0 + seed / 4, "dataset": "fashion-mnist/test", "samples": 10_000}
        for seed in range(3)
    ]
    write(tmp_path, f"results-{study}.json", {"study": study, "rows": rows})
    view = View(merge([], [], trained=trained.load(tmp_path)))
    assert recipe in shipped()
    found = [
        {column.heading: wording.figure(value) for column, value in zip(table.columns, row, strict=True)}
        for table in status.status(view, figures.tables(), shipped())
        for row in table.rows
    ]
    ran = [row for row in found if row["Run"] == f"yes: {recipe}"]
    assert ran
    assert all(recipe in row["Recipe"].split(", ") and row["Data"] == "fashion-mnist/test" for row in ran)
    told = f"{recipe}: 91.25 top1, fashion-mnist/test, 3 seeds, 91.00 to 91.50 (results-{study}.json)"
    assert all(row["Ours"] == told for row in ran)
    assert all(row["Run"] == "not run" for row in found if row not in ran)


def test_what_training_gave_is_read_by_recipe_and_metric(tmp_path: Path) -> None:
    rows = [
        {"recipe": "a", "seed": 1, "top1": 91.0, "dataset": "fashion-mnist", "more": [1]},
        {"recipe": "a", "seed": 0, "top1": 90, "dataset": "fashion-mnist", "top5": None},
        {"recipe": "b", "top1": True}, {"recipe": "b", "top1": "nan"}, {"seed": 1, "top1": 2.0}, "x", {"recipe": 3},
    ]  # fmt: skip
    write(tmp_path, "results-quant.json", {"rows": rows, "command": "x"})
    write(tmp_path, "results-broken.json", "{")
    write(tmp_path, "results-list.json", [1])
    write(tmp_path, "results-deep.json", "[" * 5000)
    write(tmp_path, "forecast-validation.json", {"rows": [{"recipe": "c", "top1": 1.0}]})
    (found,) = trained.load(tmp_path)
    assert (found.recipe, found.metric, found.values, found.seeds) == ("a", "top1", (90.0, 91.0), ("0", "1"))
    assert found.words() == "90.50 top1, fashion-mnist, 2 seeds, 90.00 to 91.00 (results-quant.json)"
    assert trained.load(tmp_path / "nowhere") == ()
