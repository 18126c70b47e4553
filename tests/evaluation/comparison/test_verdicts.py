from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.evaluation.comparison.arm_tables import claim, claimed
from tlmed.evaluation.comparison.contrast_claims import KINDS, ONE_SEED
from tlmed.evaluation.comparison.contrasts import Asked, ControlKind
from tlmed.evaluation.comparison.verdicts import (
    Verdict,
    attribute,
    correct_for_several,
    groups_needed,
    judge,
)

_ASKED = Asked(
    ("first", "second"), controls={"longer": "long", "placebo": "fake"}, subject="the related domain", margin=0.02
)
_HELPED = Verdict("helped")


@pytest.mark.parametrize(
    ("value", "half_width", "verdict"),
    [
        (0.050, 0.040, Verdict("helped")),
        (-0.050, 0.040, Verdict("hurt")),
        (0.012, 0.008, Verdict("helped", within_margin=True)),
        (-0.012, 0.008, Verdict("hurt", within_margin=True)),
        (0.002, 0.015, Verdict("equivalent", within_margin=True)),
        # 95 % limits beyond the margin and 90 % limits within it: 0.0205 and 0.0171.
        (0.000, 0.0205, Verdict("equivalent", within_margin=True)),
        (0.000, 0.025, Verdict("cannot be told here")),
        (0.030, 0.040, Verdict("cannot be told here")),
    ],
)
def test_limits_become_words(value: float, half_width: float, verdict: Verdict) -> None:
    assert judge(claimed(value, half_width), 0.02, None) == verdict


def test_of_several_contrasts_the_corrected_p_value_decides_and_limits_for_all_show_equivalence() -> None:
    one = claimed(0.05, 0.04, role="secondary")
    assert judge(one, 0.02, 0.04) == Verdict("helped")
    assert judge(claimed(-0.05, 0.04, role="secondary"), 0.02, 0.04) == Verdict("hurt")
    assert judge(one, 0.02, 0.06) == Verdict("cannot be told here")
    # 95 % limits 0.0205 wide at each side are not within 2 points, though those at 90 % are.
    assert judge(claimed(0.0, 0.0205, role="secondary"), 0.02, 0.9) == Verdict("cannot be told here")
    assert judge(claimed(0.012, 0.007, role="secondary"), 0.02, 0.06) == Verdict("equivalent", within_margin=True)


def test_limits_are_no_wider_than_a_difference_can_be() -> None:
    claim = claimed(0.1, 5.0).deciding
    assert claim is not None
    assert (claim.low, claim.high, claim.low_90, claim.high_90) == (-1, 1, -1, 1)


def test_these_models_alone_cannot_tell() -> None:
    assert judge(claimed(0.3, 0.01, reason=ONE_SEED), 0.02, None) == Verdict("cannot be told here", ONE_SEED)


def test_without_any_claim_there_is_no_verdict_but_a_reason() -> None:
    one = claimed(0.3, 0.01)
    assert judge(replace(one, claims=dict.fromkeys(KINDS, "few")), 0.02, None) == Verdict("no verdict", "few")
    still = replace(one, claims={"a": "no variation", "b": ONE_SEED, "c": "fixed"})
    assert judge(still, 0.02, None) == Verdict("no verdict", "no variation")
    under_folds = replace(one, claims={"a": "folds", "b": "folds", "c": "3 folds"}, decides="c")
    assert judge(under_folds, 0.02, None) == Verdict("no verdict", "3 folds")
    decided = replace(under_folds, claims={"a": "folds", "b": "folds", "c": claim(0.3, 0.01, "c")})
    assert judge(decided, 0.02, None).word == "helped"


def test_secondary_contrasts_are_corrected_for_their_number_and_others_are_not() -> None:
    contrasts = [
        claimed(0.05, 0.01),
        claimed(0.05, 0.01, name="first minus long", role="control"),
        claimed(0.05, 0.04, name="first minus x", role="secondary"),
        claimed(0.05, 0.06, name="x minus second", role="secondary"),
    ]
    smaller, larger = (one.claims["b"].p_value for one in contrasts[2:])  # type: ignore[union-attr]
    assert correct_for_several(contrasts) == pytest.approx({"first minus x": 2 * smaller, "x minus second": larger})
    assert correct_for_several(contrasts[:2]) == {}


@pytest.mark.parametrize(
    ("long", "fake", "word", "beaten"),
    [
        ((0.05, 0.04), (0.05, 0.04), "related domain", {"longer": True, "placebo": True}),
        ((0.05, 0.04), (0.05, 0.06), "not shown", {"longer": True, "placebo": False}),
        ((-0.05, 0.04), (0.05, 0.04), "not shown", {"longer": False, "placebo": True}),
        ((0.05, 0.04), None, "not known", {"longer": True, "placebo": None}),
        ((0.05, 0.06), None, "not shown", {"longer": False, "placebo": None}),
        (None, None, "not known", {"longer": None, "placebo": None}),
    ],
)
def test_a_gain_is_the_domains_only_where_both_controls_are_beaten(
    long: tuple[float, float] | None,
    fake: tuple[float, float] | None,
    word: str,
    beaten: Mapping[ControlKind, bool | None],
) -> None:
    controls = [
        claimed(*limits, name=f"first minus {arm}", role="control")
        for arm, limits in (("long", long), ("fake", fake))
        if limits is not None
    ]
    attribution = attribute([claimed(0.1, 0.01), *controls], _HELPED, _ASKED)
    assert attribution is not None
    assert (attribution.word, attribution.beaten) == (word, beaten)


@pytest.mark.parametrize(
    ("of_long", "of_fake", "word", "gained"),
    [
        ((0.05, 0.04), (0.05, 0.04), "extra training", ["placebo"]),
        # That a control which is beaten beats the second arm too does not take the gain from the domain.
        ((0.05, 0.04), (0.05, 0.06), "not shown", []),
        ((0.05, 0.04), (-0.05, 0.04), "not shown", []),
        ((0.05, 0.04), None, "not shown", []),
    ],
)
def test_extra_training_helped_only_where_a_control_that_is_not_beaten_beats_the_second_arm(
    of_long: tuple[float, float], of_fake: tuple[float, float] | None, word: str, gained: list[ControlKind]
) -> None:
    limits = {"first minus long": (0.05, 0.04), "first minus fake": (0.05, 0.06), "long minus second": of_long}
    contrasts = [claimed(*found, name=name, role="control") for name, found in limits.items()]
    if of_fake is not None:
        contrasts.append(claimed(*of_fake, name="fake minus second", role="control"))
    attribution = attribute([claimed(0.1, 0.01), *contrasts], _HELPED, _ASKED)
    assert attribution is not None
    assert (attribution.word, attribution.gained) == (word, gained)


def test_a_control_of_one_seed_tells_nothing() -> None:
    control = claimed(0.1, 0.01, name="first minus long", role="control", reason=ONE_SEED)
    attribution = attribute([claimed(0.1, 0.01), control], _HELPED, _ASKED)
    assert attribution is not None
    assert attribution.word == "not known"


def test_nothing_is_attributed_without_a_gain_or_where_no_subject_is_known() -> None:
    contrasts = [claimed(0.1, 0.01)]
    assert attribute(contrasts, Verdict("equivalent"), _ASKED) is None
    assert attribute(contrasts, _HELPED, replace(_ASKED, subject=None)) is None
    assert attribute(contrasts, _HELPED, replace(_ASKED, primary=("first", "long"))) is None


def test_groups_needed() -> None:
    # Cases alone: the half width falls with the root of their number.
    assert groups_needed(claimed(0.0, 0.10, reason=ONE_SEED), 95) == 380
    # 0.10^2 = 0.08^2 of cases + 0.06^2 of seeds, and the seeds' part alone is more than 0.05.
    assert groups_needed(claimed(0.0, 0.10, of_models=0.08), 95) is None
    # 0.0025 - (0.0064 - 0.0055) is left for 0.0055 of cases: 95 * 0.0055 / 0.0016 = 326.6.
    assert groups_needed(claimed(0.0, 0.08, of_models=0.0055**0.5), 95) == 327
    assert groups_needed(claimed(0.0, 0.03), 95) == 95
    nothing = replace(claimed(0.0, 0.1), claims=dict.fromkeys(KINDS, "few"))
    assert groups_needed(nothing, 95) is None
