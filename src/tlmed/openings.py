"""What a run writes down around the opening of its test set: first the question, then that it looked."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from tlmed.data.manifest import Manifest
from tlmed.external import ExternalSet
from tlmed.recipe.recipe import Recipe, primary_pair, resolve_arms
from tlmed.runtime.ledger import Registration, TestSet, open_test, register_question
from tlmed.runtime.store import Store, content_key
from tlmed.transfer.plan import ChainPlan


def register_primary(recipe: Recipe, plan: ChainPlan, target: Manifest, store: Store) -> Registration | None:
    """Write the primary contrast down before test is opened; None where there is nothing to compare."""
    pair = primary_pair(recipe)
    if pair is None:
        return None
    evaluation, arms = recipe.evaluation, resolve_arms(recipe)
    comparison = evaluation.comparison
    question = {
        "text": f"{pair[0]} minus {pair[1]}, {comparison.metric} by {evaluation.unit}, margin {comparison.margin:g}",
        "arms": [[list(arms[name].stages), arms[name].weights] for name in pair],
        "positive": evaluation.positive,
        "group": evaluation.group,
        "protocol": evaluation.protocol.model_dump(mode="json"),
    }
    return register_question(store, TestSet.of(_tested(plan, target)["digest"]), question, recipe=recipe.name)


def open_tests(
    recipe: Recipe, plan: ChainPlan, target: Manifest, sets: Mapping[str, ExternalSet], store: Store
) -> dict[str, int]:
    """Note in the store's ledger what is tested on, and how; returns how often each set was opened, `test` first."""
    digests = {
        "test": _tested(plan, target)["digest"],
        **{name: one.manifest.table["digest"] for name, one in sets.items()},
    }
    settings = content_key(recipe.evaluation.model_dump(mode="json", exclude={"seeds", "external", "comparison"}))
    looks = [*plan.last.values(), settings]
    return {name: open_test(store, TestSet.of(of_set), looks, recipe=recipe.name) for name, of_set in digests.items()}


def _tested(plan: ChainPlan, target: Manifest) -> pd.DataFrame:
    """The rows that are tested on: all of them under folds."""
    return target.table if plan.folds is not None else target.table[target.table["split"] == "test"]
