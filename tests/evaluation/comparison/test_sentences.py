from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.evaluation.comparison.arm_tables import claim, claimed
from tlmed.evaluation.comparison.contrast_claims import KINDS, ONE_SEED, ClaimedContrast
from tlmed.evaluation.comparison.contrasts import Asked
from tlmed.evaluation.comparison.sentences import (
    NOBODY_KNOWS,
    Design,
    headline,
    sentence_of_attribution,
    sentence_of_contrast,
    sentence_of_need,
    sentence_of_registration,
    sentence_of_verdict,
)
from tlmed.evaluation.comparison.verdicts import Attribution, Verdict, attribute, judge

_PAIR = ("generic-related", "generic")
_NAME = "generic-related minus generic"
_ASKED = Asked(_PAIR, controls={"longer": "generic-longer", "placebo": "generic-placebo"}, subject="the related domain")
_FILES = Asked(("A", "B"))
_DESIGN = Design(203, 95, {"generic-related": 3, "generic": 3, "A": 3, "B": 5}, is_macro=False)


def _verdict(value: float, half_width: float, asked: Asked = _ASKED, controls: Sequence[ClaimedContrast] = ()) -> str:
    one = claimed(value, half_width, name=" minus ".join(asked.primary))
    verdict = judge(one, asked.margin, None)
    return sentence_of_verdict(one, verdict, attribute([one, *controls], verdict, asked), asked, _DESIGN)


def _controls(longer: float, placebo: float, placebo_over_second: float = 0.0) -> list[ClaimedContrast]:
    named = {
        "generic-related minus generic-longer": longer,
        "generic-related minus generic-placebo": placebo,
        "generic-placebo minus generic": placebo_over_second,
    }
    return [claimed(value, 0.01, name=name, role="control") for name, value in named.items()]


def test_what_cannot_be_told_says_what_is_excluded() -> None:
    assert _verdict(0.002, 0.037) == (
        "Whether the related domain helped cannot be told here: generic-related minus generic in AUROC is +0.002 "
        "(-0.035 to +0.039), with this training set, over new patients and 3 seeds; gains above 0.039 are excluded."
    )
    assert _verdict(0.002, 0.037, _FILES) == (
        "Whether A is better than B cannot be told here: A minus B in AUROC is +0.002 (-0.035 to +0.039), with this "
        "training set, over new patients and seeds (3 of A, 5 of B); gains above 0.039 are excluded."
    )


def test_one_seed_cannot_tell() -> None:
    one = claimed(0.05, 0.01, name=_NAME, reason=ONE_SEED)
    said = sentence_of_verdict(one, judge(one, 0.02, None), None, _ASKED, _DESIGN)
    assert said == (
        "Whether the related domain helped cannot be told here: one seed. generic-related minus generic in AUROC is "
        "+0.050 (+0.040 to +0.060), for these trained models, over new patients; gains above 0.060 are excluded, but "
        "how other seeds would come out is not known."
    )


@pytest.mark.parametrize(
    ("controls", "begin"),
    [
        (_controls(0.03, 0.04), "The related domain helped, with this training set: generic-related minus generic"),
        (_controls(0.03, 0.00, 0.02), "Extra training helped, with this training set: "),
        (_controls(0.03, 0.00), "The middle stage helped, with this training set: "),
        ([], "The middle stage helped, with this training set: "),
    ],
)
def test_what_helped_is_named_after_what_it_is_due_to(controls: list[ClaimedContrast], begin: str) -> None:
    said = _verdict(0.05, 0.02, controls=controls)
    assert said.startswith(begin)
    assert "+0.050 (+0.030 to +0.070), over new patients and 3 seeds; gains below 0.030 or above 0.070" in said
    assert ("merely more training did it is not known" in said) == (not controls)
    is_not_shown = bool(controls) and begin.startswith("The middle stage")
    assert said.endswith("; that its domain did is not shown.") == is_not_shown


@pytest.mark.parametrize(
    ("value", "half_width", "asked", "sentence"),
    [
        (0.012, 0.008, _FILES, "A is better than B, by less than the margin of 2 points, with this training set: "),
        (-0.05, 0.02, _FILES, "A is worse than B, with this training set: "),
        (-0.05, 0.02, _ASKED, "The related domain hurt, with this training set: "),
        (0.0, 0.01, _FILES, "A and B are equivalent within 2 points, with this training set: "),
        (0.0, 0.01, _ASKED, "With and without the related domain arms are equivalent within 2 points, with this"),
    ],
)
def test_other_verdicts(value: float, half_width: float, asked: Asked, sentence: str) -> None:
    assert _verdict(value, half_width, asked).startswith(sentence)
    if value < 0:
        assert _verdict(value, half_width, asked).endswith("; any gain is excluded.")


def test_without_claims_the_reason_and_the_bare_figure() -> None:
    one = replace(claimed(0.05, 0.01, name="A minus B"), claims=dict.fromkeys(KINDS, "no groups"))
    verdict = judge(one, 0.02, None)
    assert sentence_of_verdict(one, verdict, None, _FILES, _DESIGN) == (
        "No verdict: no groups. A minus B in AUROC is +0.050 on these 203 units."
    )
    assert sentence_of_contrast(one, verdict, _FILES, _DESIGN, None) == (
        "A minus B in AUROC is +0.050 on these 203 units; no verdict: no groups."
    )
    assert "cannot be said" in sentence_of_need(one, None, _DESIGN)


def test_new_training_sets_are_spoken_for_under_folds() -> None:
    one = claimed(0.05, 0.02, name="A minus B")
    folds = replace(one, claims={"a": "folds", "b": "folds", "c": claim(0.05, 0.02, "c")}, decides="c")
    said = sentence_of_verdict(folds, judge(folds, 0.02, None), None, _FILES, _DESIGN)
    assert said.startswith("A is better than B, for training sets of this size: A minus B")
    assert "over new patients and training sets" in said
    assert "cannot be read off folds" in sentence_of_need(folds, None, _DESIGN)


def test_a_secondary_contrast_states_its_corrected_p_value() -> None:
    asked = replace(_FILES, metric="balanced_accuracy")
    one = claimed(0.05, 0.04, name="A minus B", role="secondary")
    assert sentence_of_contrast(one, judge(one, 0.02, 0.03), asked, _DESIGN, 0.03) == (
        "A minus B in balanced accuracy is +0.050 (+0.010 to +0.090), with this training set, over new patients and "
        "seeds (3 of A, 5 of B): better (p = 0.030 after Holm's correction); gains below 0.010 or above 0.090 are "
        "excluded."
    )
    of_several = replace(one, level=0.9875)
    said = sentence_of_contrast(of_several, Verdict("equivalent", within_margin=True), asked, _DESIGN, 0.06)
    assert said.startswith("A minus B in balanced accuracy is +0.050 (98.75 % limits +0.010 to +0.090), with this")
    assert "(p < 0.001 after" in sentence_of_contrast(one, Verdict("helped"), asked, _DESIGN, 1e-5)


def test_macro_averages_are_named() -> None:
    said = sentence_of_contrast(
        claimed(0.05, 0.04, name="A minus B"), Verdict("helped"), _FILES, replace(_DESIGN, is_macro=True), None
    )
    assert said.startswith("A minus B in macro AUROC is")


def test_starting_weights_that_were_given_are_named() -> None:
    one = claimed(0.05, 0.02, name=_NAME)
    asked = replace(_ASKED, given_start=["generic"])
    said = sentence_of_contrast(one, Verdict("helped"), asked, _DESIGN, None)
    assert ", with this training set and these starting weights, over new patients and 3 seeds: helped; " in said
    folds = replace(one, claims={"a": "folds", "b": "folds", "c": claim(0.05, 0.02, "c")}, decides="c")
    said = sentence_of_contrast(folds, Verdict("helped"), asked, _DESIGN, None)
    assert ", for training sets of this size and these starting weights, over new patients and" in said
    models = claimed(0.05, 0.02, name=_NAME, reason=ONE_SEED)
    assert "starting weights" not in sentence_of_contrast(models, judge(models, 0.02, None), asked, _DESIGN, None)


@pytest.mark.parametrize(
    ("attribution", "asked", "sentence"),
    [
        (
            Attribution("related domain", {"longer": True, "placebo": True}),
            _ASKED,
            "generic-related also beats generic-longer (as much training on the target "
            "alone: +0.030, +0.020 to +0.040) and generic-placebo (a middle stage with permuted labels: +0.001, "
            "-0.009 to +0.011), each by itself at two-sided 5 % (an intersection-union test).",
        ),
        (
            Attribution("extra training", {"longer": True, "placebo": False}, ["placebo"]),
            _ASKED,
            "Extra training helped; that the related domain did is not shown, for generic-related does not beat "
            "generic-placebo (a middle stage with permuted labels: +0.001, -0.009 to +0.011), and generic-placebo "
            "itself beats generic (+0.020, +0.010 to +0.030).",
        ),
        (
            Attribution("not shown", {"longer": True, "placebo": False}),
            _ASKED,
            "The middle stage helped; that its domain did is not shown, for generic-related does not beat "
            "generic-placebo (a middle stage with permuted labels: +0.001, -0.009 to +0.011).",
        ),
        (
            Attribution("not known", {"longer": None, "placebo": None}),
            replace(_ASKED, controls={}),
            "The middle stage helped; whether its domain or merely more training did it is not known: add --control "
            "generic-longer --control generic-placebo.",
        ),
        (
            Attribution("not known", {"longer": True, "placebo": None}),
            replace(_ASKED, controls={"longer": "generic-longer"}),
            "The middle stage helped; generic-related beats generic-longer (as much training on the target alone: "
            "+0.030, +0.020 to +0.040), but whether its domain or merely more training did it is not known: add "
            "--control generic-placebo.",
        ),
        (
            Attribution("not known", {"longer": True, "placebo": None}),
            _ASKED,
            "The middle stage helped; generic-related beats generic-longer (as much training on the target alone: "
            "+0.030, +0.020 to +0.040), but whether its domain or merely more training did it is not known: "
            "generic-placebo must be trained with as many seeds or folds as generic-related.",
        ),
    ],
)
def test_to_what_a_gain_is_due(attribution: Attribution, asked: Asked, sentence: str) -> None:
    assert sentence_of_attribution(attribution, _controls(0.03, 0.001, 0.02), asked) == sentence


def test_what_would_tell_more() -> None:
    one = claimed(0.0, 0.1, name=_NAME)
    assert sentence_of_need(one, 240, _DESIGN) == (
        "To narrow the interval to +/- 5 points, about 240 test groups in place of 95 would be needed, if seeds and "
        "cases go on varying as here."
    )
    assert "within +/- 5 points with the 95 test groups" in sentence_of_need(one, 95, _DESIGN)
    assert "seeds, not patients, are the limit" in sentence_of_need(one, None, _DESIGN)
    of_models = claimed(0.0, 0.1, name=_NAME, reason=ONE_SEED)
    assert sentence_of_need(of_models, 380, _DESIGN).endswith("what seeds add cannot be told.")
    assert "(one seed; p = 0.200 after" in sentence_of_contrast(
        of_models, judge(of_models, 0.02, 0.2), _ASKED, _DESIGN, 0.2
    )


@pytest.mark.parametrize(
    ("word", "attribution", "subject", "said"),
    [
        ("helped", "related domain", "the related domain", "related domain helped"),
        ("helped", "extra training", "the related domain", "extra training helped"),
        ("helped", "not shown", "the related domain", "the middle stage helped"),
        ("helped", "not known", "the related domain", "the middle stage helped"),
        ("hurt", None, "the related domain", "hurt"),
        ("helped", None, None, "A is better than B"),
        ("hurt", None, None, "A is worse than B"),
        ("cannot be told here", None, None, "cannot be told here"),
    ],
)
def test_the_headline_names_what_helped(word: str, attribution: str | None, subject: str | None, said: str) -> None:
    comparison = {
        "verdict": {"word": word},
        "attribution": None if attribution is None else {"word": attribution},
        "subject": subject,
        "contrasts": [{"weights": {"B": -1.0, "A": 1.0}}],
    }
    assert headline(comparison) == said


_REGISTERED = {
    "digest": "0123456789abcdef",
    "time": "2026-01-02T03:04:05+0000",
    "changed_after_looking": None,
    "openings_before": 0,
    "others_on_this_test": 0,
    "own_earlier": 0,
}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            "The primary contrast was written down on 2026-01-02 03:04, before this recipe opened the test (digest "
            "0123456789ab). By then the test had not been opened by other recipes of this store; other stores are not "
            "known.",
        ),
        (
            {"openings_before": 3, "others_on_this_test": 2, "own_earlier": 1},
            "The primary contrast was written down on 2026-01-02 03:04, before this recipe opened the test (digest "
            "0123456789ab). By then the test had been opened 3 times by other recipes of this store; other stores are "
            "not known. 2 other recipes of this store asked something of this test and this recipe itself asked 1 "
            "other question of it. The more is asked, the more may be luck.",
        ),
        (
            {"openings_before": 1, "own_earlier": 2, "changed_after_looking": "fixed on Monday, after looking"},
            "CHANGED AFTER LOOKING: fixed on Monday, after looking. By then the test had been opened 1 time by all "
            "recipes of this store; other stores are not known. This recipe itself asked 2 other questions of it. The "
            "more is asked, the more may be luck.",
        ),
    ],
)
def test_when_the_contrast_was_chosen(changes: dict[str, object], sentence: str) -> None:
    assert sentence_of_registration({**_REGISTERED, **changes}) == sentence


def test_of_other_tools_predictions_nobody_knows_when() -> None:
    assert sentence_of_registration(None) == NOBODY_KNOWS
