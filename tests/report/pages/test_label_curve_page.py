"""A learning curve in words, as Markdown and as a page."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlmed.report.pages.evaluation_page import render_html, render_markdown
from tlmed.report.pages.label_curve_figures import draw_label_curve
from tlmed.report.pages.label_curve_page import label_curve_sections, label_curve_title


def cell(value: float, half_width: float | None = 0.05, **others: Any) -> dict[str, Any]:
    limits = (None, None) if half_width is None else (value - half_width, value + half_width)
    draws = [{"draw": draw, "seed": draw % 3, "value": value + 0.01 * (draw - 1)} for draw in range(3)]
    measured = {"value": value, "low": limits[0], "high": limits[1], "speaks_for": "b", "no_interval": None}
    return {**measured, "draws": draws, **others}


def card(percent: float, num_groups: int, values: tuple[float, float], steps: float) -> dict[str, Any]:
    return {
        "percent": percent,
        "num_draws": 3,
        "num_groups": num_groups,
        "num_groups_by_split": {"train": num_groups - 2, "val": 2},
        "num_images": 3.0 * num_groups,
        "arms": {"generic": cell(values[0], steps=steps), "related <i>": cell(values[1], steps=steps)},
        "difference": cell(values[1] - values[0]),
    }


@pytest.fixture
def curve() -> dict[str, Any]:
    return {
        "name": "chest",
        "metric": "auroc",
        "positive": "ill",
        "unit": "patient",
        "difference_of": ["related <i>", "generic"],
        "design": {
            "num_units": 60,
            "num_groups": 60,
            "num_groups_by_class": {"ill": 30, "well": 30},
            "groups_known": True,
            "seeds": [0, 1, 2],
        },
        "shares": [card(10, 8, (0.6, 0.7), 12), card(100, 80, (0.8, 0.82), 120)],
        "change": {"sentence": "The advantage shrinks.", "verdict": "shrinks"},
        "needed": [{"sentence": "About 240 groups."}],
        "test_openings": 2,
        "registered": {"changed_after_looking": None},
        "audit_warnings": [{"severity": "warning", "kind": "shortcut_metadata", "message": "size tells the class"}],
    }


def words(curve: dict[str, Any]) -> str:
    return render_markdown(label_curve_title(curve), label_curve_sections(curve))


def test_the_answer_stands_first(curve: dict[str, Any]) -> None:
    first = label_curve_sections(curve)[0]
    assert first.sentences[0] == "The advantage shrinks."
    assert (
        "this pool of labelled patients, new draws from it, new patients like those of test, and new seeds"
        in (first.sentences[1])
    )
    assert first.grid is not None
    assert first.grid.header[-3:] == ("generic", "related <i>", "related <i> minus generic")
    assert first.grid.rows[0] == (
        "10 %",
        "8 (6 + 2)",
        "3",
        "12",
        "0.600 (0.550 to 0.650)",
        "0.700 (0.650 to 0.750)",
        "+0.100 (+0.050 to +0.150)",
    )


def test_what_a_reader_must_know(curve: dict[str, Any]) -> None:
    text = words(curve)
    assert "fewer labels also mean fewer optimiser steps of the target stage (12 at 10 %, 120 at 100 %)" in text
    assert "About 240 groups." in text
    assert "60 units of 60 groups (30 with ill, 30 with well)" in text
    assert "Warning, data, shortcut_metadata: size tells the class." in text
    assert "Research use only" in text
    assert "very wide" not in text
    assert "Changed after looking" not in text
    curve["registered"]["changed_after_looking"] = "fixed on Monday, after this recipe had opened the test 3 times"
    assert "Changed after looking: the recipe's question was fixed on Monday" in words(curve)


def test_steps_are_not_named_where_they_are_the_same(curve: dict[str, Any]) -> None:
    curve["shares"][1] = card(100, 80, (0.8, 0.82), 12)
    assert "fewer optimiser steps" not in words(curve)


def test_few_seeds_are_said(curve: dict[str, Any]) -> None:
    curve["design"]["seeds"] = [0, 1]
    assert "intervals very wide" in words(curve)
    curve["design"]["seeds"] = [4]
    curve["shares"][1]["arms"]["generic"]["speaks_for"] = "a"
    text = words(curve)
    assert "not for other seeds, because there is one (4)" in text
    assert "At 100 % there is one training alone" in text


def test_what_has_no_interval_says_why(curve: dict[str, Any]) -> None:
    for share in curve["shares"]:
        for one in (*share["arms"].values(), share["difference"]):
            one.update(low=None, high=None, speaks_for=None, no_interval="too few groups")
    curve["needed"] = []
    text = words(curve)
    assert "Where no interval is given: too few groups." in text
    assert "In brackets" not in text
    assert "still needed" not in text
    assert len(draw_label_curve(curve)) == 2


def test_one_arm_has_no_difference(curve: dict[str, Any]) -> None:
    curve.update(difference_of=None, change=None)
    for share in curve["shares"]:
        share["difference"] = None
        del share["arms"]["related <i>"]
    assert label_curve_sections(curve)[0].grid.header[-1] == "generic"  # type: ignore[union-attr]
    assert [picture.name for picture in draw_label_curve(curve)] == ["label-curve"]


def test_pictures_are_for_light_and_dark_pages(curve: dict[str, Any]) -> None:
    arms, difference = draw_label_curve(curve)
    assert "related <i>: 0.700 with 8, 0.820 with 80" in arms.alternative
    assert "+0.100 with 8, +0.020 with 80" in difference.alternative
    for picture in (arms, difference):
        light, dark = (np.asarray(Image.open(io.BytesIO(png)).convert("L")) for png in (picture.light, picture.dark))
        assert light.mean() > 200
        assert dark.mean() < 60
        assert light.std() > 10


def test_the_page_needs_nothing_beside_it(curve: dict[str, Any]) -> None:
    html = render_html(label_curve_title(curve), label_curve_sections(curve), draw_label_curve(curve))
    assert "<i>" not in html
    assert "http" not in html
    assert html.count("data:image/png;base64,") == 4
