from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tlmed.data.manifest import Manifest
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.recipe import Recipe, resolve_arms, resolved
from tlmed.runtime.store import Store
from tlmed.transfer.plan import ChainPlan, plan_chain

CONTENT: dict[str, Any] = {
    "name": "example",
    "image": {"size": 32},
    "backbone": "resnet18",
    "chain": [
        {"name": "generic", "data": {"phantom": {"kind": "everyday"}}},
        {"name": "related", "data": {"phantom": {"kind": "chest-findings"}}},
        {"name": "target", "data": {"phantom": {"kind": "chest-target"}}},
    ],
    "evaluation": {"positive": "a"},
}


def recipe(**changes: Any) -> Recipe:
    return resolved(parse_recipe({**CONTENT, **changes}, "test"), device="cpu", precision="float32", workers=0)


def manifest(name: str, classes: str = "ab") -> Manifest:
    rows = [
        {
            "path": f"{name}{i}{split}",
            "digest": f"{name}-{i}-{split}",
            "label": classes[i % len(classes)],
            "split": split,
        }
        for i in range(6)
        for split in ("train", "val", "test")
    ]
    table = pd.DataFrame(rows)
    return Manifest(name, Path(), table.assign(group=table["path"], unit=table["path"]), "patient")


def domains() -> dict[str, Manifest]:
    return {"generic": manifest("g", "xyz"), "related": manifest("r"), "target": manifest("t")}


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., ChainPlan]:
    def make(
        made: Recipe | None = None, data: dict[str, Manifest] | None = None, seeds: tuple[int, ...] = (0,)
    ) -> ChainPlan:
        used = made or recipe()
        pairs = [(arm, seed) for seed in seeds for arm in resolve_arms(used)]
        return plan_chain(used, data or domains(), pairs, Store(tmp_path))

    return make


def test_arms_that_share_a_beginning_share_its_stages(plan: Callable[..., ChainPlan]) -> None:
    made = plan()
    # scratch: t; generic: g, t; related: r, t; generic-related: (g), r, t
    assert len(made.tasks) == 7
    full = made.tasks[made.last["generic-related", 0]]
    assert [task.stage.name for task in full.lineage()] == ["generic", "related", "target"]
    short = made.tasks[made.last["generic", 0]]
    assert full.lineage()[0] is short.lineage()[0]
    assert full.route == "random weights -> generic -> related -> target"


def test_parents_stand_before_their_children(plan: Callable[..., ChainPlan]) -> None:
    seen: set[str] = set()
    for key, task in plan().tasks.items():
        assert task.parent is None or task.parent.key in seen
        seen.add(key)


def test_a_new_seed_draws_every_stage_anew_but_one_that_fixes_its_own(plan: Callable[..., ChainPlan]) -> None:
    assert len(plan(seeds=(0, 1)).tasks) == 14
    chain = [{**CONTENT["chain"][0], "seed": 7}, *CONTENT["chain"][1:]]
    assert len(plan(recipe(chain=chain), seeds=(0, 1)).tasks) == 13


@pytest.mark.parametrize(
    "changes",
    [
        {"image": {"size": 48}},
        {"image": {"size": 32, "mode": "rgb"}},
        {"backbone": "resnet34"},
        {"training": {"epochs": 3}},
        {"training": {"views": {"shift": 0.1}}},
        {"preset": "tl-med"},
    ],
)
def test_what_changes_the_weights_changes_every_key(plan: Callable[..., ChainPlan], changes: dict[str, Any]) -> None:
    assert not set(plan().tasks) & set(plan(recipe(**changes)).tasks)


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime": {"workers": 2}},
        {"runtime": {"checkpoint_seconds": 1}},
        {"name": "other"},
        {"note": "x"},
        {"evaluation": {"positive": "b"}},
    ],
)
def test_what_does_not_change_the_weights_changes_no_key(
    plan: Callable[..., ChainPlan], changes: dict[str, Any]
) -> None:
    assert set(plan().tasks) == set(plan(recipe(**changes)).tasks)


def test_paths_row_order_and_test_rows_are_not_in_the_key(plan: Callable[..., ChainPlan]) -> None:
    changed = domains()
    table = changed["target"].table
    shuffled = table.sample(frac=1, random_state=0).assign(path="moved/" + table["path"])
    changed["target"] = changed["target"].with_table(shuffled[shuffled["digest"] != "t-0-test"])
    assert set(plan().tasks) == set(plan(data=changed).tasks)


@pytest.mark.parametrize("column", ["digest", "label"])
def test_rows_are_in_the_key_of_their_stage_and_of_what_follows(plan: Callable[..., ChainPlan], column: str) -> None:
    changed = domains()
    table = changed["related"].table.copy()
    table.loc[0, column] = "b" if column == "label" else "another file"
    changed["related"] = changed["related"].with_table(table)
    before, after = plan(), plan(data=changed)
    same = {arm for (arm, seed), key in before.last.items() if after.last[arm, seed] == key}
    assert same == {"scratch", "generic"}


def test_the_head_goes_on_where_the_classes_are_the_same(plan: Callable[..., ChainPlan]) -> None:
    made = plan()
    _, related, target = made.tasks[made.last["generic-related", 0]].lineage()
    assert not related.keeps_head  # generic has other classes
    assert target.keeps_head
