from __future__ import annotations

import pytest

from tlmed.errors import InputError
from tlmed.evaluation.comparison.contrasts import Asked, list_contrasts

_ARMS = ["probe", "scratch", "generic", "generic-related", "generic-longer", "generic-border-only"]
_PAIR = ("generic-related", "generic")


def test_the_primary_one_comes_first_then_controls_then_both_ways_with_every_other_arm() -> None:
    asked = Asked(
        _PAIR,
        contrasts={"two stages": {"generic-related": 0.5, "generic": 0.5, "scratch": -1.0}},
        controls={"longer": "generic-longer", "placebo": None},
        left_out=["generic-border-only"],
    )
    contrasts = list_contrasts(asked, _ARMS)
    assert [(one.name, one.role) for one in contrasts] == [
        ("generic-related minus generic", "primary"),
        ("generic-related minus generic-longer", "control"),
        ("generic-longer minus generic", "control"),
        ("generic-related minus probe", "secondary"),
        ("probe minus generic", "secondary"),
        ("generic-related minus scratch", "secondary"),
        ("scratch minus generic", "secondary"),
        ("two stages", "secondary"),
    ]
    assert contrasts[0].weights == {"generic-related": 1.0, "generic": -1.0}
    assert contrasts[-1].weights == {"generic-related": 0.5, "generic": 0.5, "scratch": -1.0}


def test_what_is_asked_by_name_is_not_asked_twice() -> None:
    asked = Asked(_PAIR, contrasts={"any start": {"scratch": 1.0, "generic": -1.0}})
    names = [one.name for one in list_contrasts(asked, ["scratch", "generic", "generic-related"])]
    assert names == ["generic-related minus generic", "generic-related minus scratch", "any start"]


def test_a_control_that_is_part_of_the_question_is_no_control() -> None:
    asked = Asked(("generic-related", "generic-longer"), controls={"longer": "generic-longer"})
    contrasts = list_contrasts(asked, ["generic", "generic-related", "generic-longer"])
    assert [one.role for one in contrasts] == ["primary", "secondary", "secondary"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Asked(("generic-relatd", "generic")), "names the arm 'generic-relatd', .* Did you mean 'generic-related'"),
        (Asked(_PAIR, contrasts={"mine": {"probe": 1, "scrach": -1}}), "'mine' names .* Did you mean 'scratch'"),
    ],
)
def test_an_unknown_arm_is_refused(asked: Asked, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        list_contrasts(asked, _ARMS)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.02, 2.0])
def test_a_margin_is_a_share(margin: float) -> None:
    with pytest.raises(InputError, match="not between 0 and 1"):
        Asked(_PAIR, margin=margin)


def test_an_arm_is_not_compared_with_itself() -> None:
    with pytest.raises(InputError, match="'generic' cannot be compared with itself"):
        Asked(("generic", "generic"))
