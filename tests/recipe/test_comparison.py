from __future__ import annotations

from typing import Any

import pytest

from tlmed.errors import InputError
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.recipe import Recipe, primary_pair, resolve_arms, with_controls

TARGET = {"name": "target", "data": {"phantom": {"kind": "chest-target"}}}
RELATED = {"name": "related", "data": {"phantom": {"kind": "chest-findings"}}}


def recipe(*, chain: Any = (RELATED, TARGET), comparison: Any = None, **changes: Any) -> Recipe:
    evaluation = {"positive": "a", "comparison": comparison or {}}
    content = {"name": "example", "backbone": "resnet18", "weights": "file:weights.safetensors", "chain": list(chain)}
    return parse_recipe({**content, "evaluation": evaluation, **changes}, "test")


def test_the_question_is_whether_the_related_stage_adds_to_generic_weights() -> None:
    assert primary_pair(recipe()) == ("generic-related", "generic")
    assert recipe().evaluation.comparison.margin == 0.02


def test_without_these_arms_it_is_the_delivered_one_against_the_one_before() -> None:
    arms = {"first": {"stages": ["target"]}, "second": {"stages": ["related", "target"]}}
    assert primary_pair(recipe(arms=arms)) == ("second", "first")
    assert primary_pair(recipe(arms=arms, deliver="first")) == ("first", "second")
    assert primary_pair(recipe(arms={"only": {"stages": ["target"]}})) is None
    control = {"only": {"stages": ["target"]}, "blind": {"stages": ["target"], "control": "border-only"}}
    assert primary_pair(recipe(arms=control)) is None


def test_it_may_be_another() -> None:
    assert primary_pair(recipe(comparison={"primary": ["related", "scratch"]})) == ("related", "scratch")


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        ({"primary": ["generic-relatd", "generic"]}, "unknown arm 'generic-relatd'. Did you mean 'generic-related'"),
        ({"primary": ["generic", "generic"]}, "cannot be compared with itself"),
        ({"margin": 0}, "margin"),
        ({"margin": 1}, "margin"),
        ({"metric": "f1"}, "metric"),
        ({"contrasts": {"x": {"generic": 1, "scratch": -0.5}}}, "add up to 0"),
        ({"contrasts": {"x": {"generic": 1, "scrach": -1}}}, "unknown arm 'scrach'"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(comparison: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        recipe(comparison=comparison)


def test_controls_of_the_comparison_are_named_after_what_they_control() -> None:
    arms = resolve_arms(with_controls(recipe(), ["longer", "generic-placebo", "border-only"]))
    assert arms["generic-longer"].stages == ("target",)
    assert arms["generic-placebo"].stages == ("related", "target")
    assert [arms[name].control for name in ("generic-longer", "generic-placebo", "generic-related-border-only")] == [
        "longer",
        "placebo",
        "border-only",
    ]
    assert with_controls(recipe(), ["longer"]).delivered_arm == "generic-related"


def test_controls_of_another_contrast_are_named_after_its_second_arm() -> None:
    asked = recipe(comparison={"primary": ["related", "scratch"]})
    for name in ("generic-longer", "longer", "scratch-longer"):
        arm = resolve_arms(with_controls(asked, [name]))["scratch-longer"]
        assert (arm.stages, arm.weights, arm.control) == (("target",), "none", "longer")


def test_controls_need_something_to_control() -> None:
    with pytest.raises(ValueError, match=r"unknown kind 'generic-longr'.*generic-longer"):
        with_controls(recipe(), ["generic-longr"])
    with pytest.raises(ValueError, match="one arm alone"):
        with_controls(recipe(arms={"only": {"stages": ["target"]}}), ["longer"])


def test_settings_of_an_arm_are_checked_with_the_recipe() -> None:
    with pytest.raises(InputError, match="epoch"):
        recipe(arms={"only": {"stages": ["target"], "training": {"epoch": 3}}})
