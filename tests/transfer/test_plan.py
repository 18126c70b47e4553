from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tlmed.data.loaders import LabelledImages, TrainingSteps
from tlmed.data.manifest import Manifest
from tlmed.errors import InputError
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.recipe import Recipe, resolve_arms, resolved, training_of, with_controls
from tlmed.runtime.store import Store
from tlmed.transfer.plan import ChainPlan, Fit, plan_chain

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
    # probe: g, t; scratch: t; generic: (g), t; related: r, t; generic-related: (g), r, t
    assert len(made.tasks) == 8
    full = made.tasks[made.last[Fit("generic-related", 0)]]
    assert [task.stage.name for task in full.lineage()] == ["generic", "related", "target"]
    short = made.tasks[made.last[Fit("generic", 0)]]
    assert full.lineage()[0] is short.lineage()[0]
    assert full.route == "random weights -> generic -> related -> target"
    probe = made.tasks[made.last[Fit("probe", 0)]]
    assert probe.route == "random weights -> generic -> target (logistic-regression)"


def test_parents_stand_before_their_children(plan: Callable[..., ChainPlan]) -> None:
    seen: set[str] = set()
    for key, task in plan().tasks.items():
        assert task.parent is None or task.parent.key in seen
        seen.add(key)


def test_a_new_seed_draws_every_stage_anew_but_one_that_fixes_its_own(plan: Callable[..., ChainPlan]) -> None:
    assert len(plan(seeds=(0, 1)).tasks) == 16
    chain = [{**CONTENT["chain"][0], "seed": 7}, *CONTENT["chain"][1:]]
    # The generic stage, and with it the probe, whose own stage draws nothing.
    assert len(plan(recipe(chain=chain), seeds=(0, 1)).tasks) == 14


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
    same = {fit.arm for fit, key in before.last.items() if after.last[fit] == key}
    assert same == {"probe", "scratch", "generic"}


def test_the_head_goes_on_where_the_classes_are_the_same(plan: Callable[..., ChainPlan]) -> None:
    made = plan()
    _, related, target = made.tasks[made.last[Fit("generic-related", 0)]].lineage()
    assert not related.keeps_head  # generic has other classes
    assert target.keeps_head


def only_target(**changes: Any) -> Recipe:
    return recipe(chain=[{**CONTENT["chain"][2], **changes.pop("target", {})}], **changes)


def weights_file(folder: Path) -> str:
    (folder / "start.safetensors").write_bytes(b"weights")
    return f"file:{folder / 'start.safetensors'}"


LOGISTIC = {"kind": "logistic-regression"}


def test_an_arm_brings_its_strategy_to_the_target_and_equal_ones_share_a_stage(plan: Callable[..., ChainPlan]) -> None:
    arms = {
        "full": {"stages": ["related", "target"]},
        "probed": {"stages": ["related", "target"], "strategy": LOGISTIC},
        "again": {"stages": ["related", "target"], "strategy": LOGISTIC},
    }
    made = plan(recipe(arms=arms))
    assert made.last[Fit("probed", 0)] == made.last[Fit("again", 0)] != made.last[Fit("full", 0)]
    related, target = made.tasks[made.last[Fit("probed", 0)]].lineage()
    assert (related.strategy.kind, target.strategy.kind) == ("finetune", "logistic-regression")


def test_the_probe_comes_first_wherever_its_arm_stands(plan: Callable[..., ChainPlan]) -> None:
    arms = {"scratch": {"stages": ["target"], "weights": "none"}, "late": {"stages": ["target"], "strategy": LOGISTIC}}
    made = plan(recipe(arms=arms), seeds=(0, 1))
    assert [task.strategy.kind for task in made.tasks.values()] == ["logistic-regression"] * 2 + ["finetune"] * 2
    assert list(made.last) == [Fit("scratch", 0), Fit("late", 0), Fit("scratch", 1), Fit("late", 1)]


def test_seeds_share_a_probe_that_draws_nothing(plan: Callable[..., ChainPlan], tmp_path: Path) -> None:
    def num_probes(**changes: Any) -> int:
        last = plan(only_target(**changes), seeds=(0, 1, 2)).last
        return len({key for fit, key in last.items() if fit.arm == "probe"})

    weights = weights_file(tmp_path)
    assert num_probes(weights=weights) == 1
    assert num_probes() == 3  # each seed draws another random backbone
    assert num_probes(weights=weights, allow_unmatched=["blocks.11.*"]) == 3  # or a part of one


def test_a_probe_goes_by_the_seed_of_what_it_starts_from(plan: Callable[..., ChainPlan], tmp_path: Path) -> None:
    made = plan(seeds=(3, 5))
    assert [made.tasks[made.last[Fit("probe", seed)]].seed for seed in (3, 5)] == [3, 5]
    assert made.seeds_of(made.last[Fit("probe", 5)]) == [5]
    shared = plan(only_target(weights=weights_file(tmp_path)), seeds=(3, 5))
    assert shared.tasks[shared.last[Fit("probe", 5)]].seed == 0
    assert shared.seeds_of(shared.last[Fit("probe", 5)]) == [3, 5]
    chain = [{**CONTENT["chain"][0], "seed": 7}, *CONTENT["chain"][1:]]
    fixed = plan(recipe(chain=chain), seeds=(3, 5))
    (start, probe) = fixed.tasks[fixed.last[Fit("probe", 3)]].lineage()
    assert (start.seed, probe.seed) == (7, 7)
    assert fixed.seeds_of(start.key) == fixed.seeds_of(probe.key) == [3, 5]


def test_a_probe_reads_no_settings_of_steps_and_views(plan: Callable[..., ChainPlan]) -> None:
    def key(**training: Any) -> str:
        return plan(only_target(training=training)).last[Fit("probe", 0)]

    assert key() == key(epochs=3, learning_rate=0.1, views={"shift": 0.0})
    assert key() != key(class_weights=True)


def test_cached_views_are_in_the_key_of_a_linear_probe_alone(plan: Callable[..., ChainPlan]) -> None:
    def key(kind: str, views: int) -> str:
        return plan(only_target(target={"strategy": {"kind": kind, "cached_views": views}})).last[Fit("scratch", 0)]

    assert key("linear-probe", 2) != key("linear-probe", 3)
    assert key("finetune", 2) == key("finetune", 3)


def grouped(groups: Callable[[int], str]) -> dict[str, Manifest]:
    """The target with groups by row; rows of one split stand three apart."""
    domain = manifest("t")
    numbers = pd.Series(range(len(domain.table)))
    return {"target": domain.with_table(domain.table.assign(group=numbers.map(groups)))}


@pytest.mark.parametrize(("arm", "sampling"), [("probe", "shuffled"), ("scratch", "balanced")])
def test_groups_are_in_the_key_where_they_count_but_not_their_names(
    plan: Callable[..., ChainPlan], arm: str, sampling: str
) -> None:
    def key(groups: Callable[[int], str]) -> str:
        return plan(only_target(training={"sampling": sampling}), grouped(groups)).last[Fit(arm, 0)]

    pairs = key(lambda row: f"patient {row // 6}")
    assert pairs == key(lambda row: f"{9 - row // 6} renamed")
    assert pairs != key(lambda row: f"patient {row // 9}")


def test_groups_are_not_in_the_key_of_what_never_looks_at_them(plan: Callable[..., ChainPlan]) -> None:
    one, other = (plan(only_target(), grouped(lambda row, n=n: str(row // n))).last for n in (6, 9))
    assert one[Fit("scratch", 0)] == other[Fit("scratch", 0)]


@pytest.mark.parametrize(
    ("training", "devices"),
    [
        ({"batch_size": 4}, 3),
        ({"batch_size": 4, "accumulation": 2}, 4),
        ({"batch_size": 16, "accumulation": 8}, 1),  # of the 6 train images
    ],
)
def test_batches_that_cannot_be_shared_are_refused_before_anything_is_trained(
    plan: Callable[..., ChainPlan], training: dict[str, Any], devices: int
) -> None:
    changes = {"training": training, "runtime": {"devices": devices}}
    with pytest.raises(InputError, match=r"stage 'target': .* training\.batch_size to a multiple of"):
        plan(only_target(**changes))
    solved = only_target(arms={"probe": {"stages": ["target"], "strategy": LOGISTIC}}, **changes)
    assert len(plan(solved).tasks) == 1  # it has no batches


def test_the_plan_refuses_the_batches_that_the_loop_would_refuse(plan: Callable[..., ChainPlan]) -> None:
    images = LabelledImages(np.zeros((6, 1, 4, 4), np.uint8), np.arange(6), np.arange(6) % 2, [""] * 6)
    outcomes = set()
    for batch_size, accumulation, devices in itertools.product((2, 4, 6, 16), (1, 2), (1, 2, 3, 4)):
        training = {"batch_size": batch_size, "accumulation": accumulation}
        made = only_target(training=training, runtime={"devices": devices})
        in_plan = is_refused(lambda made=made: plan(made))
        settings = training_of(made, made.target)
        in_loop = is_refused(lambda s=settings, n=devices: TrainingSteps(images, s, 0, shard=(0, n)))
        assert in_plan == in_loop, (training, devices)
        outcomes.add(in_plan)
    assert outcomes == {True, False}


def is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except InputError:
        return True
    return False


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ({"kind": "finetune"}, 2),
        ({"kind": "linear-probe", "cached_views": 0}, 2),
        ({"kind": "linear-probe", "cached_views": 2}, 1),
        (LOGISTIC, 1),
    ],
)
def test_processes_share_what_loops_over_images(
    plan: Callable[..., ChainPlan], strategy: dict[str, Any], expected: int
) -> None:
    arms = {"only": {"stages": ["target"], "strategy": strategy}}
    (task,) = plan(only_target(arms=arms, runtime={"devices": 2}, training={"batch_size": 4})).tasks.values()
    assert task.num_processes == expected


def in_folds(**changes: Any) -> Recipe:
    protocol = {"split": "kfold", "folds": 3, "repeats": 2, **changes}
    return recipe(evaluation={"positive": "a", "protocol": protocol})


def test_under_folds_every_image_is_predicted_by_a_fit_that_did_not_see_it(plan: Callable[..., ChainPlan]) -> None:
    data = domains()
    data["target"] = data["target"].with_table(data["target"].table.assign(split="train"))
    made = plan(in_folds(), data, seeds=(0, 1))
    assert made.folds is not None
    for seed in (0, 1):
        held_out = []
        for fold in range(3):
            fit = Fit("generic-related", seed, fold)
            seen = set(made.tasks[made.last[fit]].table["path"])
            tested = made.predicted_rows(fit, data["target"].table)
            assert set(tested["split"]) == {"test"}
            assert seen | set(tested["path"]) == set(data["target"].table["path"])
            assert not seen & set(tested["path"])
            held_out += tested["path"].tolist()
        assert sorted(held_out) == sorted(data["target"].table["path"])


def test_folds_share_the_stages_before_the_target(plan: Callable[..., ChainPlan]) -> None:
    data = domains()
    data["target"] = data["target"].with_table(data["target"].table.assign(split="train"))
    made = plan(in_folds(), data, seeds=(0, 1))
    starts = {made.tasks[made.last[Fit("generic-related", 0, fold)]].lineage()[1].key for fold in range(3)}
    assert len(starts) == 1
    assert len({made.last[Fit("generic-related", 0, fold)] for fold in range(3)}) == 3


def test_a_refit_is_trained_on_all_rows_and_tested_on_none(plan: Callable[..., ChainPlan]) -> None:
    data = domains()
    data["target"] = data["target"].with_table(data["target"].table.assign(split="train"))
    made = plan(in_folds(bundle="refit"), data, seeds=(0, 1))
    refit = Fit("generic-related", 0)
    assert [fit for fit in made.last if fit.fold == -1] == [refit]
    assert len(made.tasks[made.last[refit]].table) == len(data["target"].table)
    assert made.predicted_rows(refit, data["target"].table).empty


def test_control_arms_differ_from_their_twin_in_the_target_alone(plan: Callable[..., ChainPlan]) -> None:
    kinds = ("border-only", "centre-blanked", "permuted-labels")
    made = plan(with_controls(recipe(), kinds))
    twin = made.tasks[made.last[Fit("generic-related", 0)]]
    controls = [made.tasks[made.last[Fit(f"generic-related-{kind}", 0)]] for kind in kinds]
    assert all(control.parent is twin.parent for control in controls)
    assert [control.image.blanking for control in controls] == ["border-only", "centre-blanked", None]
    assert len({twin.key, *(control.key for control in controls)}) == 4
    permuted = controls[2]
    assert permuted.table["path"].tolist() == twin.table["path"].tolist()
    assert permuted.table["label"].tolist() != twin.table["label"].tolist()
    assert permuted.step == "target (permuted-labels)"


COMPARED_ARMS: dict[str, Any] = {
    "generic": {"stages": ["generic", "target"]},
    "generic-related": {"stages": ["generic", "related", "target"]},
    "generic-longer": {"stages": ["generic", "target"], "control": "longer"},
    "generic-placebo": {"stages": ["generic", "related", "target"], "control": "placebo"},
}


@pytest.mark.parametrize(
    ("related", "target", "epochs"),
    [
        # 6 train images each. Related: 7 epochs of 1 step; target: 4 of 3 steps, so 3 more epochs make up for 7 steps.
        ({"epochs": 7, "batch_size": 6}, {"epochs": 4, "batch_size": 2}, 7),
        # 6 more steps are 2 epochs, none left over.
        ({"epochs": 2, "batch_size": 2}, {"epochs": 4, "batch_size": 2}, 6),
    ],
)
def test_the_longer_control_takes_as_many_steps_as_the_chain(
    plan: Callable[..., ChainPlan], related: dict[str, int], target: dict[str, int], epochs: int
) -> None:
    generic, middle, last = CONTENT["chain"]
    chain = [generic, {**middle, "training": related}, {**last, "training": target}]
    made = plan(recipe(chain=chain, arms=COMPARED_ARMS))
    longer, full = (made.tasks[made.last[Fit(arm, 0)]] for arm in ("generic-longer", "generic-related"))
    assert [task.stage.name for task in longer.lineage()] == ["generic", "target"]
    assert longer.training.epochs == epochs
    of_chain = sum(task.num_steps for task in full.lineage())
    assert of_chain <= sum(task.num_steps for task in longer.lineage()) < of_chain + 3


def test_the_placebo_permutes_the_labels_of_the_middle_stage_alone(plan: Callable[..., ChainPlan]) -> None:
    made = plan(recipe(arms=COMPARED_ARMS))
    placebo, full = (made.tasks[made.last[Fit(arm, 0)]].lineage() for arm in ("generic-placebo", "generic-related"))
    assert placebo[0] is full[0]
    assert placebo[1].route == "random weights -> generic -> related (permuted-labels)"
    assert placebo[1].num_steps == full[1].num_steps
    for split in ("train", "val"):
        labels = [sorted(lineage[1].rows(split)["label"]) for lineage in (placebo, full)]
        assert labels[0] == labels[1]
    assert placebo[1].table["label"].tolist() != full[1].table["label"].tolist()
    pd.testing.assert_frame_equal(placebo[2].table, full[2].table)


def test_an_arm_may_train_the_target_in_a_way_of_its_own(plan: Callable[..., ChainPlan]) -> None:
    arms = {
        "generic": {"stages": ["generic", "target"]},
        "plain": {"stages": ["generic", "target"], "training": {"views": {"enabled": False}}},
    }
    made = plan(recipe(arms=arms))
    of_arms = [made.tasks[made.last[Fit(arm, 0)]] for arm in arms]
    assert [task.training.views.enabled for task in of_arms] == [True, False]
    assert of_arms[0].training.epochs == of_arms[1].training.epochs
    assert of_arms[0].parent is of_arms[1].parent
