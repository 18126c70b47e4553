from __future__ import annotations

from typing import Any

import pytest

from tlmed.evaluation.comparison.contrasts import Asked
from tlmed.evaluation.comparison.recipe_question import arms_without_chance, asked_of_recipe
from tlmed.recipe.recipe import Recipe

_DATA = {"folder": "images"}
_CHAIN = [{"name": "related", "data": _DATA}, {"name": "target", "data": _DATA}]
_ARMS: dict[str, Any] = {
    "scratch": {"stages": ["target"], "weights": "none"},
    "generic": {"stages": ["target"]},
    "related": {"stages": ["related", "target"], "weights": "none"},
    "generic-related": {"stages": ["related", "target"]},
}


def _recipe(comparison: dict[str, Any] | None = None, **arms: dict[str, Any]) -> Recipe:
    content = {
        "name": "small",
        "backbone": "test_resnet",
        "weights": "file:weights.safetensors",
        "chain": _CHAIN,
        "arms": {**_ARMS, **arms},
        "evaluation": {"comparison": comparison or {}},
    }
    return Recipe.model_validate(content)


def _asked(recipe: Recipe, *arms: str) -> Asked:
    asked = asked_of_recipe(recipe, arms)
    assert asked is not None
    return asked


def test_the_default_question_is_whether_the_related_domain_helped() -> None:
    asked = _asked(_recipe(), *_ARMS)
    assert asked.primary == ("generic-related", "generic")
    assert asked.subject == "the related domain"
    assert (asked.metric, asked.margin, dict(asked.contrasts)) == ("auroc", 0.02, {})


def test_controls_are_found_by_kind_as_far_as_they_were_trained() -> None:
    controls = {
        "generic-longer": {"stages": ["target"], "control": "longer"},
        "generic-placebo": {"stages": ["related", "target"], "control": "placebo"},
        "generic-border-only": {"stages": ["target"], "control": "border-only"},
    }
    recipe = _recipe(**controls)
    asked = _asked(recipe, *_ARMS, "generic-longer", "generic-border-only")
    assert asked.controls == {"longer": "generic-longer", "placebo": None}
    assert set(asked.left_out) == set(controls)


def test_settings_are_taken_over_and_contrasts_of_absent_arms_wait() -> None:
    contrasts = {"start": {"generic": 1.0, "scratch": -1.0}, "both": {"related": 1.0, "scratch": -1.0}}
    asked = _asked(_recipe({"metric": "accuracy", "margin": 0.05, "contrasts": contrasts}), *set(_ARMS) - {"related"})
    assert (asked.metric, asked.margin, list(asked.contrasts)) == ("accuracy", 0.05, ["start"])


def test_without_an_arm_of_the_question_there_is_none() -> None:
    assert asked_of_recipe(_recipe(), ["scratch", "generic"]) is None


@pytest.mark.parametrize(
    ("primary", "subject"),
    [
        (["related", "scratch"], "the related domain"),
        (["generic", "scratch"], None),
        (["generic-related", "scratch"], None),
        (["generic", "generic-related"], None),
    ],
)
def test_the_domain_is_the_subject_only_where_the_arms_differ_in_nothing_else(
    primary: list[str], subject: str | None
) -> None:
    assert _asked(_recipe({"primary": primary}), *_ARMS).subject == subject


def test_starting_weights_are_given_by_a_file_or_by_a_stage_with_a_seed_of_its_own() -> None:
    assert _asked(_recipe(), *_ARMS).given_start == ["generic", "generic-related"]
    trained_once = {**_recipe().model_dump(), "chain": [{**_CHAIN[0], "seed": 7}, _CHAIN[1]]}
    asked = _asked(Recipe.model_validate(trained_once), *_ARMS)
    assert asked.given_start == ["generic", "related", "generic-related"]


_SOLVED: dict[str, Any] = {"strategy": {"kind": "logistic-regression"}}


@pytest.mark.parametrize(
    ("arm", "changes", "draws_nothing"),
    [
        ({"stages": ["target"]}, {}, True),
        ({"stages": ["target"], "strategy": {"kind": "finetune"}}, {}, False),
        ({"stages": ["target"], "weights": "none"}, {}, False),
        ({"stages": ["target"]}, {"allow_unmatched": ["conv1"]}, False),
        ({"stages": ["related", "target"]}, {}, False),
        ({"stages": ["related", "target"]}, {"chain": [{**_CHAIN[0], "seed": 7}, _CHAIN[1]]}, True),
        ({"stages": ["target"], "control": "permuted-labels"}, {}, False),
        ({"stages": ["target"], "control": "border-only"}, {}, True),
    ],
)
def test_no_seed_changes_a_head_that_is_solved_for_on_given_weights(
    arm: dict[str, Any], changes: dict[str, Any], draws_nothing: bool
) -> None:
    content = {**_recipe().model_dump(), "arms": {**_ARMS, "probe": {**_SOLVED, **arm}}, **changes}
    assert arms_without_chance(Recipe.model_validate(content)) == (["probe"] if draws_nothing else [])


def test_a_generic_stage_is_no_related_domain() -> None:
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "backbone": "test_resnet",
            "chain": [{"name": "generic", "data": _DATA}, *_CHAIN],
            "evaluation": {"comparison": {"primary": ["generic-related", "related"]}},
        }
    )
    assert _asked(recipe, "generic-related", "related").subject is None
