"""Pictures decode, hold what they should, and are the same bytes every time."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from PIL import Image

from reports import drawings
from reports.drawings import Bar, Point, Scaling, Spread, Trade
from reports.render import plots
from reports.view import View
from tests.reports.records import HOSTILE, LOCAL, material

VIEW = View(material())
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
