from __future__ import annotations

from typing import Any

import pytest

from tlmed.errors import InputError
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.recipe import Recipe


def with_study(study: dict[str, Any]) -> Recipe:
    content = {"name": "example", "backbone": "resnet18", "chain": [{"name": "target", "data": {"folder": "images"}}]}
    return parse_recipe({**content, "study": study}, where="recipe.yaml")


def test_what_is_left_out_is_not_stated() -> None:
    study = with_study({"question": " Does it help? "}).study
    assert study.question == "Does it help?"
    assert study.years is None


def test_a_year_alone_is_text() -> None:
    assert with_study({"years": 2020}).study.years == "2020"


def test_an_empty_statement_is_none() -> None:
    with pytest.raises(InputError, match=r"study\.ethics"):
        with_study({"ethics": " "})


def test_a_misspelt_key_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'eligibility'"):
        with_study({"elegibility": "adults"})
