from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tlmed.report.page_one.interval_drawing import draw_interval


def drawn(low: float, value: float, high: float) -> ElementTree.Element:
    claim = {"value": value, "low": low, "high": high}
    return ElementTree.fromstring(draw_interval("a <b> minus c", claim, 0.02).svg)


def test_places_are_proportional() -> None:
    svg = drawn(-0.01, 0.03, 0.07)
    dot = float(svg.findall("circle")[0].attrib["cx"])
    bar = next(line for line in svg.findall("line") if line.attrib.get("stroke-width") == "5")
    zero = next(line for line in svg.findall("line") if "stroke-dasharray" in line.attrib)
    margin = svg.findall("rect")[0]
    a_hundredth = float(margin.attrib["width"]) / 4
    assert dot - float(zero.attrib["x1"]) == pytest.approx(3 * a_hundredth, abs=0.3)
    assert float(bar.attrib["x2"]) - float(bar.attrib["x1"]) == pytest.approx(8 * a_hundredth, abs=0.3)
    assert float(margin.attrib["x"]) == pytest.approx(float(zero.attrib["x1"]) - 2 * a_hundredth, abs=0.3)


@pytest.mark.parametrize(("low", "value", "high"), [(-0.9, -0.5, -0.1), (0.1, 0.5, 0.9), (-0.001, 0.0, 0.001)])
def test_all_stays_inside_and_no_colour_is_fixed(low: float, value: float, high: float) -> None:
    svg = drawn(low, value, high)
    places = [float(v) for one in svg.iter() for k, v in one.attrib.items() if k in ("x", "x1", "x2", "cx")]
    assert all(0 <= place <= 400 for place in places)
    text = ElementTree.tostring(svg, encoding="unicode")
    assert not re.search(r"#[0-9a-fA-F]{3}", text)
    assert svg.findall("title")[0].text == (
        f"a <b> minus c: {value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}; margin 0.02 either way"
    )
