"""The plan of a run as a drawing for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table
from rich.tree import Tree

from tlmed.data.manifest import Manifest
from tlmed.evaluation.intervals import MIN_FOLDS
from tlmed.evaluation.statistics.design import (
    CORRELATION_OF_ARMS,
    detectable_difference,
    detectable_difference_over_folds,
    too_few_groups,
)
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.progress import format_seconds
from tlmed.runtime.store import Store
from tlmed.transfer.estimate import TimeEstimate, total
from tlmed.transfer.plan import ChainPlan
from tlmed.transfer.stage_task import STAGES

_LARGEST_DIFFERENCE = 0.4  # of two AUROCs around 0.8: one cannot be above 1


def plan_tree(plan: ChainPlan, estimates: Mapping[str, TimeEstimate], store: Store) -> Tree:
    """Draw the stages as a tree: what stands on one branch shares its beginning and trains it once.

    Under folds the trainings of an arm that start from the same stage are one line.
    """
    root = Tree("[bold]chain[/bold]")
    nodes: dict[str, Tree] = {}
    starts: dict[str, Tree] = {}
    arms: dict[str, list[str]] = {}
    for arm, key in dict.fromkeys((fit.arm, key) for fit, key in plan.last.items()):  # seeds may share a stage
        arms.setdefault(key, []).append(arm)
    for keys in _lines(plan, arms):
        task = plan.tasks[keys[0]]
        if task.parent is not None:
            above = nodes[task.parent.key]
        else:
            digest = task.weights.digest if task.weights else ""
            if digest not in starts:
                starts[digest] = root.add(task.start)
            above = starts[digest]
        missing = [estimates[key] for key in keys if not store.is_complete(STAGES, key)]
        line = above.add(_describe(plan, keys, missing, arms.get(keys[0], [])))
        nodes.update(dict.fromkeys(keys, line))
    return root


def _lines(plan: ChainPlan, arms: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The keys of the tasks that are drawn as one line, parents before children."""
    lines: dict[Any, list[str]] = {}
    for key, task in plan.tasks.items():
        parent = task.parent.key if task.parent is not None else task.start
        alike = (parent, task.step, *arms[key]) if plan.folds is not None and key in arms else key
        lines.setdefault(alike, []).append(key)
    return list(lines.values())


def _describe(plan: ChainPlan, keys: Sequence[str], missing: Sequence[TimeEstimate], arms: Sequence[str]) -> str:
    task = plan.tasks[keys[0]]
    seconds = total(missing)
    to_train = "to train" if len(missing) == len(keys) else f"{len(missing)} to train"
    if not missing:
        state = "[green]cached[/green]"
    elif seconds is None:
        state = f"[yellow]{to_train}[/yellow], time {missing[0].basis}"
    else:
        state = f"[yellow]{to_train}[/yellow], about {format_seconds(seconds)} ({missing[0].basis})"
    ends = f"  => [bold]{', '.join(arms)}[/bold]" if arms else ""
    seeds = sorted({seed for key in keys for seed in plan.seeds_of(key)})
    seed = seeds_in_words(seeds) if task.stage.seed is None else f"seed {task.stage.seed} of its own"
    size = f"{len(task.rows('train'))} images, {task.image.size} px"
    which = f"{len(keys)} trainings" if len(keys) > 1 else task.key[:8]
    return f"{task.step}  {seed}, {size}, {which}: {state}{ends}"


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Return `seed 0`, or `seeds 0, 1, 2` of what several share."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def count_table(domains: Mapping[str, Manifest]) -> Table:
    """Count images and groups by domain, split and class."""
    table = Table("domain", "split", "class", "images", "groups")
    for row in count_rows(domains):
        groups = str(row["groups"]) if row["groups"] is not None else "unknown"
        table.add_row(row["domain"], row["split"], row["class"], str(row["images"]), groups)
    return table


def count_rows(domains: Mapping[str, Manifest], max_classes: int = 12) -> list[dict[str, Any]]:
    """Return a row for each domain, split and class; domains of many classes are summed up."""
    rows = []
    for name, domain in domains.items():
        table = domain.table
        if len(domain.classes) > max_classes:
            table = table.assign(label=f"({len(domain.classes)} classes)")
        others = sorted(set(table["split"]) - {"train", "val", "test"})
        order = pd.Categorical(table["split"], ["train", "val", "test", *others])
        for (split, label), part in table.groupby([order, "label"], observed=True):
            groups = int(part["group"].nunique()) if domain.group_column is not None else None
            rows.append(
                {"domain": name, "split": str(split), "class": str(label), "images": len(part), "groups": groups}
            )
    return rows


def design_sentences(recipe: Recipe, target: Manifest) -> list[str]:
    """Say what the test set can tell: the difference of two arms that would be found, and classes with too few groups.

    Args:
        target: split, or under folds all of it, for then every group is tested.
    """
    evaluation = recipe.evaluation
    tested = target.table if evaluation.protocol.has_folds else target.table[target.table["split"] == "test"]
    groups = {str(label): int(number) for label, number in tested.groupby("label")["group"].nunique().items()}
    warning = too_few_groups(groups)
    if warning is not None:
        return [f"Warning: {warning}."]  # what cannot be compared has no power to speak of
    given = evaluation.positive
    if given is None:
        return []
    is_positive = tested["label"].isin([given] if isinstance(given, str) else given)
    num_positive, num_negative = (int(tested.loc[which, "group"].nunique()) for which in (is_positive, ~is_positive))
    found, how = _detectable(recipe, num_positive, num_negative, tested)
    if found is None:
        return [f"{how}."]
    difference = f"of {100 * found:.0f} points or more" if found < _LARGEST_DIFFERENCE else "of no size"
    return [
        f"Tested on {num_positive} groups with and {num_negative} without disease: a difference between two arms' "
        f"AUROC {difference} would be found with 80 % power (assuming an AUROC of 0.8 and a correlation of "
        f"{CORRELATION_OF_ARMS} between the arms' scores, as on COVID-CT{how})."
    ]


def _detectable(recipe: Recipe, num_positive: int, num_negative: int, tested: pd.DataFrame) -> tuple[float | None, str]:
    """The difference that is found with 80 % power, and by which test."""
    protocol, num_seeds = recipe.evaluation.protocol, len(recipe.evaluation.seeds)
    if not protocol.has_folds:
        return detectable_difference(num_positive, num_negative, num_seeds=num_seeds), ""
    is_kfold = protocol.split == "kfold"
    num_folds = protocol.folds if is_kfold else int(tested["source"].nunique())
    num_repeats = protocol.repeats if is_kfold else 1
    if num_folds * num_repeats < MIN_FOLDS:
        return None, f"{num_folds * num_repeats} folds in all: too few for an interval of a mean over folds"
    found = detectable_difference_over_folds(num_positive, num_negative, num_folds=num_folds, num_repeats=num_repeats)
    return found, f"; over {num_folds} folds x {num_repeats} by Nadeau and Bengio's test, whose power is low"
