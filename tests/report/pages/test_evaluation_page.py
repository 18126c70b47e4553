from __future__ import annotations

import io
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlmed.evaluation.assessment.assessment import Assessment, Question, assess
from tlmed.evaluation.assessment.case_data import gather_cases
from tlmed.report.pages.evaluation_figures import draw_assessment
from tlmed.report.pages.evaluation_page import render_html, render_markdown, sections
from tlmed.report.parts import Grid, Picture, Section

DRIFT = {
    "num_training_images": 100,
    "num_local_images": 40,
    "features": {
        "intensity_mean": {
            "training_mean": 100.0,
            "local_mean": 130.0,
            "standardised_difference": 2.5,
            "share_outside": 0.5,
        }
    },
    "shares": {"format": {"training": {"PNG": 1.0}, "local": {"JPEG": 1.0}, "shifted": 1.0}},
    "told_apart": {"auroc": {"value": 0.9, "low": 0.8, "high": 0.95}},
    "warnings": ["brighter"],
}


def _assess(**columns: Any) -> Assessment:
    generator = np.random.default_rng(0)
    ill = np.arange(120) % 2 == 0
    score = generator.beta(2 + ill, 3 - ill)
    table = pd.DataFrame(
        {"unit": [f"u{i}" for i in range(120)], "label": np.where(ill, "ill <b>", "well"), "p_ill <b>": score}
    ).assign(p_well=1 - score, sex=np.where(np.arange(120) % 4 < 2, "f", "m"), **columns)
    table.loc[0, ["p_ill <b>", "p_well"]] = np.nan
    question = Question(
        positive=("ill <b>",), prevalence=0.1, threshold=0.4, subgroups=("sex",), recalibrate="fold" not in columns
    )
    found = assess(gather_cases(table.astype({"unit": object, "label": object}), columns=("sex",)), question)
    found.metrics["drift"] = DRIFT
    return found


@pytest.fixture(scope="module")
def assessment() -> Assessment:
    return _assess()


@pytest.fixture(scope="module")
def pictures(assessment: Assessment) -> list[Picture]:
    return draw_assessment(assessment)


def test_the_most_important_figures_come_first(assessment: Assessment) -> None:
    first, second, *rest = sections(assessment.metrics)
    assert first.grid is not None
    assert [row[0] for row in first.grid.rows] == [
        "AUROC",
        "calibration-in-the-large (0 is right)",
        "calibration slope (1 is right)",
        "sensitivity",
        "specificity",
    ]
    assert first.title == "Test: 119 units (59 ill <b>, 60 well)"
    assert first.sentences[0].startswith("Threshold 0.4. Stated as fixed beforehand")
    assert second.title == "Further figures"
    assert [section.title for section in rest] == [
        "Excluded and indeterminate units",
        "By sex (exploratory)",
        "Input drift against training",
        "Kinds of files",
        "Local recalibration",
    ]


def test_out_of_fold_is_said_in_the_title_and_below_every_picture() -> None:
    found = _assess(fold=np.arange(120) // 2 % 3)
    assert sections(found.metrics)[0].title.startswith("Out-of-fold: 119 units")
    assert all(picture.caption.startswith("Out-of-fold.") for picture in draw_assessment(found))


def test_the_markdown_has_every_table(assessment: Assessment) -> None:
    said = sections(assessment.metrics)
    text = render_markdown("Evaluation of x", said)
    assert text.count("| --- |") >= len([section for section in said if section.grid is not None])
    assert "Research use only" in text
    for row in text.splitlines():
        if row.startswith("| AUROC |"):
            assert row.count("|") == 5


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_needs_nothing_beside_it_and_says_what_its_pictures_show(
    assessment: Assessment, pictures: list[Picture]
) -> None:
    page = render_html("Evaluation of <x>", sections(assessment.metrics), pictures)
    tags = _Tags()
    tags.feed(page)
    images = [attributes for tag, attributes in tags.seen if tag == "img"]
    assert len(images) == 4
    assert all(attributes["alt"] for attributes in images)
    sources = [
        value for _, attributes in tags.seen for key in ("src", "srcset", "href") if (value := attributes.get(key))
    ]
    assert len(sources) == 8
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not [tag for tag, _ in tags.seen if tag in ("script", "link", "b")]
    assert "Evaluation of &lt;x&gt;" in page
    assert "prefers-color-scheme: dark" in page


def test_pictures_differ_for_light_and_dark(pictures: list[Picture]) -> None:
    for picture in pictures:
        light, dark = (Image.open(io.BytesIO(png)).convert("L") for png in (picture.light, picture.dark))
        assert light.size == dark.size
        assert np.asarray(light)[1, 1] == 255
        assert np.asarray(dark)[1, 1] < 60


def test_few_events_make_the_reliability_curve_indicative(pictures: list[Picture]) -> None:
    by_name = {picture.name: picture for picture in pictures}
    assert list(by_name) == ["roc", "reliability", "decision-curve", "confusion"]
    assert by_name["reliability"].title == "Reliability (indicative)"
    assert "the rarer class has fewer than 100 units, 59" in by_name["reliability"].caption
    assert "at a prevalence of 0.1" in by_name["decision-curve"].caption
    assert "true ill <b> called" in by_name["confusion"].alternative


def test_a_class_without_units_has_no_curve_and_auroc_leads() -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"unit": [f"u{i}" for i in range(90)], "label": np.array(["a", "b"])[np.arange(90) % 2]})
    table[["p_a", "p_b", "p_never"]] = generator.dirichlet((2, 2, 1), 90)
    found = assess(gather_cases(table.astype({"unit": object, "label": object})), Question())
    roc, confusion = draw_assessment(found)
    assert "2 of 3 classes: a, b." in roc.caption
    assert confusion.name == "confusion"
    lead = sections(found.metrics)[0].grid
    assert lead is not None
    assert [row[0] for row in lead.rows[:4]] == ["AUROC (macro)", "AUROC (Hand-Till)", "Brier score", "ECE"]
    assert "if the probabilities were right" in lead.rows[3][3]


def _grid(said: list[Section], title: str) -> Grid:
    (section,) = [one for one in said if one.title == title]
    assert section.grid is not None
    return section.grid


def test_subgroups_have_a_row_a_figure(assessment: Assessment) -> None:
    grid = _grid(sections(assessment.metrics), "By sex (exploratory)")
    women, men = assessment.metrics["subgroups"]["columns"]["sex"]
    assert [row[:2] for row in grid.rows] == [
        (sex, figure) for sex in ("f", "m") for figure in ("units", "AUROC", "sensitivity", "specificity")
    ]
    assert grid.header[3] == "99.58% interval"
    assert grid.rows[0][2:4] == (str(women["num_units"]), f"{women['num_positives']} positive, 59 groups")
    assert grid.rows[5][3] == f"{men['auroc']['low']:.3f} to {men['auroc']['high']:.3f}"


def test_kinds_of_files_have_a_table_of_their_own(assessment: Assessment) -> None:
    said = sections(assessment.metrics)
    assert _grid(said, "Input drift against training").rows == (("intensity mean", "100", "130", "+2.50", "50%"),)
    assert _grid(said, "Kinds of files").rows == (("format", "100% PNG", "100% JPEG", "100%"),)


def test_below_a_half_images_are_not_told_apart(assessment: Assessment) -> None:
    lean = {"auroc": {"value": 0.292, "low": None, "high": None, "no_interval": "they lean"}}
    drift = sections({**assessment.metrics, "drift": {**DRIFT, "told_apart": lean}})
    (section,) = [one for one in drift if one.title == "Input drift against training"]
    assert "Local and training images are not told apart (AUROC 0.292; they lean)." in section.sentences


def test_further_thresholds_have_a_table_each(assessment: Assessment) -> None:
    cells = {name: assessment.cells[name] for name in ("sensitivity", "specificity", "ppv", "npv")}
    point = {"threshold": 0.75, "origin": "its own.", **cells}
    said = sections({**assessment.metrics, "operating_points": [point]})
    (section,) = [one for one in said if one.title == "At the further threshold 0.75"]
    assert section.sentences == ("its own.",)
    assert [row[0] for row in _grid(said, section.title).rows] == ["sensitivity", "specificity", "PPV", "NPV"]


def test_one_unit_is_no_units(assessment: Assessment) -> None:
    said = sections({**assessment.metrics, "num_units": 1, "num_groups": 1, "groups_known": True})
    assert said[0].title.startswith("Test: 1 unit of 1 group (")


@pytest.mark.parametrize(("is_apart", "sentence"), [(None, "cannot be told"), (True, "No file of these images")])
def test_whether_images_trained_the_bundle_is_said(
    assessment: Assessment, is_apart: bool | None, sentence: str
) -> None:
    said = sections({**assessment.metrics, "apart_from_training": is_apart})
    assert any(sentence in one for one in said[0].sentences)


def test_without_a_record_of_training_drift_is_not_recorded(assessment: Assessment) -> None:
    told = sections({**assessment.metrics, "drift": None})
    (section,) = [one for one in told if one.title == "Input drift against training"]
    assert section.sentences[0].startswith("Not recorded")
