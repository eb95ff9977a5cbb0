"""The site's files: text stays text, the same material gives the same bytes, and only what changed is drawn again."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.results import Results
from reports.build import build
from reports.cells import Held, merge
from reports.drawings import sensitivity
from reports.gather import gather
from reports.render import plots
from reports.rows import Rows
from reports.site import choose, grid, measurements, places, sample_page
from reports.site import page as site_page
from reports.site.grid import Grid, Heading, Shown, cell_html, leading_number
from reports.values import Missing, Text
from reports.view import View
from tests.reports.records import AMC, FLOAT, GROUPED, INT8, LOCAL, OTHER, artifact, hostile, material, measurement, sha
from zoo import curves
from zoo.store import Store

VENDORED = Path(grid.__file__).parent / "assets" / "vendor"


class Reader(HTMLParser):
    """Tags and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are what a build spends most time on; test_plots.py looks at them."""
    monkeypatch.setattr(plots, "available", lambda: False)


def test_the_same_material_gives_the_same_bytes_and_nothing_is_drawn_twice(tmp_path: Path) -> None:
    first = build(material(), tmp_path / "a", kinds=("site",))
    build(material(), tmp_path / "b", kinds=("site",))
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    again = build(material(), tmp_path / "a", kinds=("site",))
    assert again.made == 0 and again.files == first.files


def test_a_new_measurement_draws_its_pages_again_and_leaves_the_others(tmp_path: Path) -> None:
    before = material()
    build(before, tmp_path, kinds=("site",))
    old = digest(tmp_path / "site")
    other = artifact("squeezenet", 4_000_000)
    after = merge([*before.held, Held(other, ("latest",))], [*before.measurements, measurement(other, 5.0)])
    build(after, tmp_path, kinds=("site",))
    new = digest(tmp_path / "site")
    fresh = {name for name in new if name not in old}
    assert {name.split("/")[0] for name in fresh} == {"models", "measurements"}
    changed = {name for name in old if new[name] != old[name]}
    # Lists, comparisons and the device; no page of another model, none of another measurement.
    assert not any(name.startswith(("models/", "measurements/")) for name in changed)
    assert {"index.html", "choose.html", "models.html", "devices.html", "compare.html"} <= changed
    build(before, tmp_path, kinds=("site",))
    assert digest(tmp_path / "site") == old


def test_every_link_leads_to_a_file_of_the_site_and_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    build(material(), tmp_path, kinds=("site",))
    site = tmp_path / "site"
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        for tag, attributes in read(page).tags:
            for name in ("href", "src"):
                target = attributes.get(name)
                if target is None or (tag == "a" and target.startswith("#")):
                    continue
                assert not re.match(r"[a-z]+:|//", target), (page, target)
                assert (page.parent / target.split("#")[0]).resolve().is_file(), (page, target)
            assert not any(name.startswith("on") for name in attributes), page


def test_a_page_for_each_measurement_holds_every_sample(tmp_path: Path) -> None:
    made = material()
    build(made, tmp_path, kinds=("site",))
    placed = places.places(View(made))
    assert len({placed.cell(cell) for cell in made.measurements}) == len(made.measurements)
    for cell in made.measurements:
        text = read(tmp_path / "site" / placed.cell(cell)).text
        for repeat in cell.repeats:
            assert " ".join(map(str, repeat.samples_ns)) in text
        assert cell.verdict.name in text


def test_emulated_numbers_are_marked_wherever_they_stand(tmp_path: Path) -> None:
    build(material(), tmp_path, kinds=("site",))
    for name in ("choose.html", "compare.html", "models/mobilenetv2.html"):
        html = (tmp_path / "site" / name).read_text(encoding="utf-8")
        rows = [row for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL) if "lab-phone-armv8" in row]
        assert rows and all("†emulated" in row for row in rows), name


def test_hostile_names_are_text(tmp_path: Path) -> None:
    build(hostile(), tmp_path, kinds=("site",))
    for page in (tmp_path / "site").rglob("*.html"):
        reader = read(page)
        scripts = [attributes for tag, attributes in reader.tags if tag == "script"]
        assert all("src" in attributes or attributes.get("type") == "application/json" for attributes in scripts)
        assert "\u202e" not in reader.text and "\x1b" not in reader.text
        assert not page.name.startswith(".") and re.fullmatch(r"[A-Za-z0-9._-]+", page.name)


@given(st.text(min_size=1, max_size=80))
def test_a_cell_shows_any_text_as_text(text: str) -> None:
    reader = Reader()
    reader.feed(str(cell_html(Shown(text, remark=text, marks=(f"!{text}",), href="x.html"))))
    assert [tag for tag, _ in reader.tags] == ["a", "span", "small"]
    assert grid.visible(text) in reader.text


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_the_rows_of_a_script_are_those_of_the_table(texts: list[str]) -> None:
    rows = tuple((Shown(text), Shown(str(number), order=float(number))) for number, text in enumerate(texts))
    made = site_page.rows_script("t", map(site_page.draw_row, rows)).decode()
    brought = json.loads(made.removeprefix('window.pocketzooRows("t",').removesuffix(");\n"))
    assert [[html for html, _ in row] for row in brought] == [[str(cell_html(cell)) for cell in row] for row in rows]


@given(st.text(max_size=200), st.text(alphabet="0123456789abcdef", min_size=64, max_size=64))
def test_file_names_are_plain(name: str, fingerprint: str) -> None:
    device = msgspec.structs.replace(LOCAL, name=name or "x", fingerprint=fingerprint)
    made = merge([], [measurement(FLOAT, 3.0, device=device, key=sha(name))])
    placed = places.places(View(made))
    for address in (*placed.devices.values(), *placed.cells.values()):
        assert re.fullmatch(r"[a-z]+(?:/[0-9a-f]{2})?/[a-z0-9][a-z0-9.-]*\.html", address), address


def test_names_that_look_alike_in_a_file_name_keep_a_page_each() -> None:
    devices = [msgspec.structs.replace(LOCAL, name=name, fingerprint=sha(name)) for name in ("My Pi", "my-pi", "MY:PI")]
    made = merge([], [measurement(FLOAT, 3.0, device=device) for device in devices])
    placed = places.places(View(made))
    assert len(set(placed.devices.values())) == 3


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("70.18% (-0.81%)", 70.18), ("2.50x", 2.5), ("4.4MB", 4.4), ("1,282.81", 1282.81), ("-27.80%", -27.8),
        ("MobileNetV1", None), ("3x3 conv", 3.0), ("50th", None), ("", None), ("-", None), ("66.052/35.8014", 66.052),
    ],
)  # fmt: skip
def test_printed_figures_are_sorted_by_number(text: str, number: float | None) -> None:
    assert leading_number(text) == number


def test_missing_values_say_why_and_stand_last() -> None:
    made = grid.shown(Missing("impossible: x86 CPU"), lambda _: "")
    assert "impossible" in cell_html(made) and grid.order_text(made) == ""
    assert grid.shown(Text("x", published=True), lambda _: "").second


def test_no_page_passes_two_megabytes_with_many_models(tmp_path: Path) -> None:
    held, cells = [], []
    for number in range(400):
        one = artifact(f"net{number:04}", 1_000_000 + number, top1=(50 + number % 40, 1000))
        held.append(Held(one, ("latest",)))
        cells.append(measurement(one, 1 + number / 100))
    build(merge(held, cells), tmp_path, kinds=("site",))
    site = tmp_path / "site"
    assert max(path.stat().st_size for path in site.rglob("*.html")) < 2_000_000
    assert (site / "models-models-2.html").is_file() and (site / "data" / "models-models-1.js").is_file()
    assert "Rows 301 to 400 of 400" in read(site / "models-models-2.html").text


def test_models_that_were_not_measured_are_listed_with_what_to_do(tmp_path: Path) -> None:
    build(merge([Held(INT8, ())], []), tmp_path, kinds=("site",))
    text = read(tmp_path / "site" / "models" / "mobilenetv2-quant.html").text
    assert "Not measured yet" in text and f"mobilenetv2-quant@sha256:{INT8.digest}" in text
    build(merge([], []), tmp_path / "empty", kinds=("site",))
    assert "compress list" in read(tmp_path / "empty" / "site" / "index.html").text


def test_vendored_libraries_are_as_their_authors_released_them() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(VENDORED.glob("*.js"))}
    assert found == {
        "chart.umd.min.js": "87364cc2b2a76a6684929e7d6b80b18a897794db38400caff1fcf1791c6925d2",
        "dataTables.min.js": "38017a5586acd9c6eb6bbfe8b6938e1a25bdc717c5acfcb07e0c9d663282c59d",
    }
    assert sum(path.stat().st_size for path in VENDORED.iterdir()) < 350_000
    for name in ("chart", "dataTables"):
        assert "MIT License" in (VENDORED / f"{name}.LICENSE.txt").read_text(encoding="utf-8")


CURVES = {"baseline": 0.9, "curves": [{"group": "<b>", "ratios": [0.25, 0.5], "accuracies": [0.85, 0.6]}]}


def test_the_curves_of_a_search_stand_on_the_models_page_and_in_pruning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "available", lambda: True)
    whole = material()
    digest = GROUPED.digest
    drawn = sensitivity("sensitivity", CURVES)
    made = merge(whole.held, whole.measurements, trained=whole.trained, curves={digest: (drawn,)})
    build(made, tmp_path, kinds=("site", "markdown"))
    page = (tmp_path / "site" / "models" / "resnet56-cifar10-prune52.html").read_text()
    assert "<b>&lt;b&gt;</b> 25%: 85.00%, 50%: 60.00%" in page
    assert "<b>unpruned</b> 90.00%" in page
    assert "sensitivity-1" not in (tmp_path / "site" / "models" / "resnet56-cifar10.html").read_text()
    name = f"sensitivity-{digest[:12]}-1.svg"
    assert f"({name})" in (tmp_path / "pruning.md").read_text()
    assert (tmp_path / name).read_bytes().startswith(b"<?xml")
    assert build(made, tmp_path, kinds=("site", "markdown")).made == 0
    worse = sensitivity("sensitivity", {**CURVES, "baseline": 0.8})
    again = build(
        merge(whole.held, whole.measurements, trained=whole.trained, curves={digest: (worse,)}), tmp_path,
        kinds=("site", "markdown"),
    )  # fmt: skip
    # The picture and the page of this model, and no other: pruning.md names the picture alone.
    assert again.made == 2


def test_curves_are_gathered_from_the_store_and_what_holds_none_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "zoo")
    for number, text in enumerate((json.dumps(CURVES), "[1]", "[" * 9000)):
        file = tmp_path / f"{number}-sensitivity.json"
        file.write_text(text)
        curves.keep(store.root, "a" * 64, [file])
    found = gather(store, Results(f"sqlite:///{tmp_path / 'none.sqlite'}"))
    (drawn,) = found.curves["a" * 64]
    assert (drawn.base, [curve.name for curve in drawn.curves]) == (90.0, ["<b>"])
    assert capsys.readouterr().err.count("no sensitivity curves") == 2


def test_a_new_measurement_draws_its_pages_and_no_row_that_stayed(tmp_path: Path) -> None:
    cells = [measurement(OTHER, 5.0 + n / 100, threads=1, key=f"{n:064x}", abi=f"abi{n:03}") for n in range(310)]
    first = build(merge([], cells), tmp_path, kinds=("site",))
    assert build(merge([], cells), tmp_path, kinds=("site",)).made == 0
    newer = measurement(OTHER, 9.0, threads=1, key=f"{250:064x}", abi="abi250", time="2026-12-01T10:00:00Z")
    second = build(merge([], [*cells, newer]), tmp_path, kinds=("site",))
    # Its own page and the one that it supersedes, lists, the device; not the hundreds of other measurements.
    assert 2 <= second.made < 30 < first.made
    for name in ("choose.html", "index.html"):
        assert (tmp_path / "site" / name).read_text()
    fresh = tmp_path / "fresh"
    build(merge([], [*cells, newer]), fresh, kinds=("site",))
    for path in sorted(fresh.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / path.relative_to(fresh)).read_bytes(), path


def test_no_script_and_no_page_of_samples_passes_two_megabytes() -> None:
    cell = Shown(
        "1,282.81 ± 12.34", marks=("!contended",), href=f"measurements/ab/{'a' * 12}.html", order=1282.8123456789
    )
    for count in (9, 13, 30):
        columns = tuple(Heading(f"armv8 T{number}", "right") for number in range(count))
        long = site_page.long_table("compare.html", Grid("latency", "c", columns, ((cell,) * count,) * 3000), "Compare")
        made = [script.make() for script in long.scripts]
        assert len(made) > 1 and max(map(len, made)) < 2_000_000
        assert sum(text.count(b"1,282.81") for text in made) == 3000 * count
        for one in (*long.further, site_page.sheet("compare.html", "sheet.html", {"title": "t"}, [long])):
            assert len(site_page.draw(one)) < 2_000_000
    whole = measurement(FLOAT, 20.0)
    many = tuple(range(9_000_000_000, 9_000_070_000))
    whole = msgspec.structs.replace(whole, repeats=(msgspec.structs.replace(whole.repeats[0], samples_ns=many),))
    placed = places.places(View(merge([Held(FLOAT)], [whole])))
    drawn = sample_page.html(placed.cell(whole), measurements.context(whole, "local", placed))
    assert len(drawn) < 2_000_000 and b"The first 60,000 of 70,000" in drawn


def test_a_row_is_made_once_for_its_page_and_its_script() -> None:
    made: list[int] = []

    def row(number: int) -> tuple[Shown, ...]:
        made.append(number)
        return (Shown(str(number)),)

    rows = Rows(range(700), [str(number) for number in range(700)], row)
    long = site_page.long_table("t.html", Grid("t", "c", (Heading("n"),), rows), "Compare")
    first = [script.make() for script in long.scripts]
    pages = [site_page.draw(one) for one in long.further]
    assert sorted(made) == list(range(700)) and len(pages) == 2
    assert b"<td>699</td>" in pages[1] and b'["699",null]' in first[0]
    # The third time it is made anew, to the same bytes.
    assert [script.make() for script in long.scripts] == first
    assert len(made) > 700


def test_where_a_device_has_many_latencies_they_stand_by_model(monkeypatch: pytest.MonkeyPatch) -> None:
    made = merge([], [measurement(FLOAT, 20.0), measurement(INT8, 30.0), measurement(AMC, 25.0)])

    def models() -> list[str]:
        rows = choose.grid(View(made), lambda _: "", lambda _: "", lambda _: "").rows
        return [row[1].text for row in rows if row[0].text == "local"]

    assert models() == ["mobilenetv2", "amc-mobilenetv1-0.5flops-fashion", "mobilenetv2"]
    monkeypatch.setattr(choose, "BY_LATENCY", 2)
    assert models() == ["amc-mobilenetv1-0.5flops-fashion", "mobilenetv2", "mobilenetv2"]
