from __future__ import annotations

from typing import Any

from tlmed.evaluation.comparison.sentences import NOBODY_KNOWS
from tlmed.report.pages.comparison_sections import comparison_sections
from tlmed.report.pages.evaluation_page import render_markdown


def comparison(**changes: Any) -> dict[str, Any]:
    claim = {"value": 0.012, "low": -0.02, "high": 0.044, "p_value": 0.5}
    contrasts = [
        {
            "name": "a minus b",
            "role": "primary",
            "value": 0.012,
            "claims": {"a": claim, "b": claim},
            "speaks_for": "b",
            "verdict": "cannot be told here",
            "p_holm": None,
            "level": 0.95,
            "sentence": "The sentence of the primary contrast.",
        },
        {
            "name": "a minus c",
            "role": "secondary",
            "value": 0.1,
            "claims": {},
            "speaks_for": None,
            "verdict": "no verdict",
            "p_holm": 0.00004,
            "level": 0.975,
            "sentence": "The sentence of another.",
        },
    ]
    design = {
        "split": "fixed",
        "num_units": 203,
        "num_groups": 95,
        "num_groups_by_class": {"ill": 45, "well": 50},
        "groups_known": True,
        "seeds": {"a": [0, 1], "b": [0, 1], "c": [0]},
        "alike": [],
        "given_start": False,
    }
    content: dict[str, Any] = {
        "verdict": {"word": "cannot be told here", "sentence": "Whether a is better cannot be told here."},
        "attribution": None,
        "subject": "the related domain",
        "contrasts": contrasts,
        "needed": {"sentence": "About 240 groups would be needed."},
        "unit": "image",
        "design": design,
        "registered": None,
    }
    return content | changes


def test_the_verdict_comes_first_then_contrasts_then_reasons() -> None:
    verdict, contrasts, reasons, cases = comparison_sections(comparison())
    assert verdict.title == "Verdict: cannot be told here"
    assert verdict.sentences == ("Whether a is better cannot be told here.",)
    assert contrasts.grid is not None
    assert contrasts.grid.rows == (
        (
            "a minus b",
            "+0.012 (-0.020 to +0.044)",
            "this training set",
            "cannot be told here",
            "",
        ),
        ("a minus c", "+0.100", "-", "no verdict", "< 0.001"),
    )
    assert contrasts.sentences == (
        "Differences with 95 % limits, for this training set, with new patients and new seeds.",
        "Secondary contrasts, those with a Holm p, have 97.5 % limits, 95 % for all of them together (Bonferroni); "
        "primary and controls stand by themselves.",
    )
    assert reasons.sentences == ("Secondary: The sentence of another.", "About 240 groups would be needed.")
    assert cases.sentences == (
        "203 units (image) of 95 groups (45 ill, 50 well), on a fixed test set.",
        "Seeds: a: 0, 1; b: 0, 1; c: 0.",
        NOBODY_KNOWS,
    )


def test_what_a_registered_contrast_is_due_to() -> None:
    registered = {
        "digest": "abc",
        "time": "2026-01-02T03:04:05+0000",
        "changed_after_looking": None,
        "openings_before": 2,
        "others_on_this_test": 0,
        "own_earlier": 0,
    }
    said = comparison_sections(
        comparison(registered=registered, attribution={"word": "extra training", "sentence": "It is not."})
    )
    assert (said[0].title, said[0].sentences[1]) == ("Verdict: extra training helped", "It is not.")
    assert "written down on 2026-01-02 03:04" in said[-1].sentences[-1]
    assert "opened 2 times by other recipes" in said[-1].sentences[-1]
    assert NOBODY_KNOWS not in render_markdown("Comparison", said)


def test_what_is_not_known_of_the_cases_is_said() -> None:
    content = comparison()
    content["design"] |= {"groups_known": False, "alike": ["c"], "split": "k-fold"}
    *_, cases = comparison_sections(content)
    assert cases.sentences[0] == "203 units (image) of an unknown number of groups, out of fold."
    assert cases.sentences[1].endswith("All seeds of c came to the same.")


def test_tables_of_other_tools_are_better_or_worse() -> None:
    content = comparison(subject=None, verdict={"word": "hurt", "sentence": "a is worse."})
    content["contrasts"][0] |= {"verdict": "hurt", "weights": {"a": 1.0, "b": -1.0}}
    verdict, contrasts, *_ = comparison_sections(content)
    assert verdict.title == "Verdict: a is worse than b"
    assert contrasts.grid is not None
    assert [row[3] for row in contrasts.grid.rows] == ["worse", "no verdict"]


def test_given_starting_weights_are_said_not_to_be_drawn_anew() -> None:
    content = comparison()
    content["design"]["given_start"] = True
    assert "The starting weights were given" in comparison_sections(content)[1].sentences[1]
