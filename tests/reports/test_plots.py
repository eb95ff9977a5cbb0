"""Pictures decode, hold what they should, and are the same bytes every time."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pocketzoo.errors import BadInput
from reports import drawings
from reports.cells import merge
from reports.cli import reports
from reports.drawings import Bar, Dot, Line, Point, Scaling, Spread, Trade, layers, worth_drawing
from reports.render import curves, plots
from reports.view import View
from tests.reports.records import HOSTILE, LOCAL, material

MADE = material()
# Without the model that is better than all others: the front would be it alone.
VIEW = View(
    merge(
        [held for held in MADE.held if not held.artifact.name.startswith("amc-")],
        [cell for cell in MADE.measurements if not cell.model.startswith("amc-")],
    )
)
DEVICE = next(device for device in VIEW.devices if device.name == LOCAL.name)


def pictures() -> list[plots.Picture]:
    spreads = drawings.spreads(VIEW, DEVICE)
    return [
        plots.trade(drawings.trades(VIEW, DEVICE)[0][1]),
        plots.scaling(drawings.scalings(VIEW, DEVICE)[0][1]),
        plots.spread(spreads, "samples"),
    ]


def test_pictures_decode_and_are_the_same_twice() -> None:
    first, second = pictures(), pictures()
    for one, other in zip(first, second, strict=True):
        assert one == other
        assert ET.fromstring(one["svg"]).tag == "{http://www.w3.org/2000/svg}svg"
        with Image.open(io.BytesIO(one["png"])) as image:
            image.load()
            assert image.width >= 400 and image.height >= 250
            assert len(image.convert("L").getcolors(256) or []) > 8
        assert b"<dc:date>" not in one["svg"]
        assert b"<script" not in one["svg"] and b'href="http' not in one["svg"].replace(b"http://www.w3.org", b"")


def test_a_users_settings_do_not_change_the_bytes() -> None:
    before = pictures()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert pictures() == before


def test_settings_are_left_as_they_were() -> None:
    before = dict(mpl.rcParams)
    pictures()
    assert dict(mpl.rcParams) == before


def test_only_cells_that_can_be_believed_make_the_front() -> None:
    trade = drawings.trades(VIEW, DEVICE)[0][1]
    assert {point.label: (point.good, point.front) for point in trade.points} == {
        "mobilenetv2": (True, True),
        "mobilenetv2-prune50": (False, False),
        "mobilenetv2-quant": (True, True),
    }
    lab = next(device for device in VIEW.devices if device.name.startswith("lab"))
    assert not any(point.front for point in drawings.trades(VIEW, lab)[0][1].points)


def test_bars_keep_interval_and_mark() -> None:
    ((_, scaling),) = drawings.scalings(VIEW, DEVICE)
    groups = dict(scaling.groups)
    assert [bar.threads for bar in groups["mobilenetv2"]] == [1, 2, 4]
    assert [bar.mark for bar in groups["mobilenetv2-quant"]] == ["✓", "✓", "!clamped"]
    assert "fastscnn" not in groups


def test_panels_hold_every_sample() -> None:
    spreads = drawings.spreads(VIEW, DEVICE)
    assert len(spreads) == 7
    assert all(len(repeat) == 20 for panel in spreads for repeat in panel.repeats_ms)


@pytest.mark.parametrize("count", [1, 2, 24])
def test_many_points_are_drawn(count: int) -> None:
    points = tuple(
        Point(f"model-{i}", f"family-{i % 10}", 5 + i % 7, (4.9, 5.1 + i % 7), 70 + i % 3, None, True, "✓", i == 0)
        for i in range(count)
    )
    assert plots.trade(Trade("t", "Top-1 (%)", points))["png"].startswith(b"\x89PNG")


def test_hostile_names_and_single_samples_are_drawn_as_text() -> None:
    point = Point(HOSTILE, HOSTILE, 5.0, (5.1, 4.9), 70.0, (60.0, 80.0), False, "!failed", False)
    for picture in (
        plots.trade(Trade(HOSTILE, HOSTILE, (point,))),
        plots.scaling(Scaling(HOSTILE, ((HOSTILE, (Bar(1, 5.0, (5.0, 5.0), True, "✓"),)),))),
        plots.spread([Spread(HOSTILE, "c", ((5.0,), ()), 5.0, "✓")], HOSTILE),
    ):
        ET.fromstring(picture["svg"])
        assert b"<script" not in picture["svg"]


def history() -> list[Line]:
    dots = tuple(Dot(1.79e9 + 86_400 * day, 20.0 + day, (19.5 + day, 20.7 + day), day != 2) for day in range(5))
    return [Line(f"mobilenetv2 {number}", dots) for number in range(3)]


def test_curves_and_costs_are_the_same_twice() -> None:
    costs = Trade("t", "MACs (M)", (Point("a", "a", 5.0, (4.9, 5.2), 300.0, None, True, "✓", False),) * 2)
    sensitivity = drawings.sensitivity("s", {"base": 70.0, "groups": {"conv1": [[0.5, 60.0], [0.1, 69.0]]}})
    assert [(dot.x, dot.y) for dot in sensitivity.curves[0].points] == [(0.1, 69.0), (0.5, 60.0)]
    for draw in (
        lambda: curves.cost.__wrapped__(costs),
        lambda: curves.history(history(), "History"),
        lambda: curves.sensitivity(sensitivity),
    ):
        one = draw()
        assert one == draw()
        assert ET.fromstring(one["svg"]).tag == "{http://www.w3.org/2000/svg}svg"
        with Image.open(io.BytesIO(one["png"])) as image:
            assert len(image.convert("L").getcolors(256) or []) > 8


def test_the_curves_of_a_search_are_read_in_its_form() -> None:
    record = {"baseline": 0.7, "curves": [{"group": "g", "ratios": [0.5], "accuracies": [0.6]}]}
    drawn = drawings.sensitivity("s", record)
    assert drawn.base == pytest.approx(70) and drawn.curves[0].points[0].y == pytest.approx(60)


@pytest.mark.parametrize(
    "record",
    [
        [], {}, {"base": 1, "groups": []}, {"base": "x", "groups": {}}, {"base": 1, "groups": {"a": [[1]]}},
        {"base": 1, "groups": {}}, {"base": 1, "groups": {"a": [["x", 2]]}}, {"base": True, "groups": {"a": [[1, 2]]}},
        {"baseline": 1, "curves": {}}, {"baseline": 1, "curves": [{"group": "a"}]},
        {"baseline": 1, "curves": [{"group": "a", "ratios": [1], "accuracies": []}]},
    ],
)  # fmt: skip
def test_a_file_without_curves_is_refused(record: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        drawings.sensitivity("s", record)


def test_sensitivity_is_a_command(tmp_path: Path) -> None:
    file = tmp_path / "sensitivity.json"
    file.write_text('{"base": 70.0, "groups": {"conv1": [[0.1, 69.0], [0.5, 60.0]]}}')
    done = CliRunner().invoke(reports, ["sensitivity", str(file), "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0
    assert [Path(name).name for name in json.loads(done.stdout)["files"]] == ["sensitivity.svg", "sensitivity.png"]
    file.write_text("{}")
    with pytest.raises(BadInput, match="no sensitivity curves"):
        CliRunner().invoke(reports, ["sensitivity", str(file)], catch_exceptions=False)


def test_a_history_needs_two_rounds() -> None:
    cells = list(VIEW.best.values())
    told = VIEW.material.history(cells)
    lines = drawings.histories(told, cells)
    assert lines and all(len(line.points) > 1 for line in lines)
    assert drawings.most_moved(history(), 2) == history()[:2]


def test_of_a_crowd_the_front_is_drawn_and_then_what_fewest_beat() -> None:
    points = [(float(x), float(y)) for x in range(1, 11) for y in range(1, 11)]
    kept = worth_drawing(points, [True] * 100, 12)
    assert len(kept) == 12 and kept == sorted(kept)
    # The one front: as fast as any and as accurate as any.
    assert points.index((1.0, 10.0)) in kept
    assert all(x - 1 + 10 - y <= 4 for x, y in (points[i] for i in kept))
    assert worth_drawing(points, [True] * 100, 100) == list(range(100))
    firm = [x > 5 for x, _ in points]
    assert all(firm[i] for i in worth_drawing(points, firm, 20))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40))
@settings(deadline=None)
def test_layers_are_fronts_of_what_is_left(points: list[tuple[int, int]]) -> None:
    left = set(range(len(points)))
    for front in layers(points):
        beaten = {
            i
            for i in left
            if any(
                points[j][0] <= points[i][0] and points[j][1] >= points[i][1] and points[j] != points[i] for j in left
            )
        }
        assert front == left - beaten
        left -= front
    assert not left
