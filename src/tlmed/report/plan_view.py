"""The plan of a run as a drawing for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table
from rich.tree import Tree

from tlmed.data.manifest import Manifest
from tlmed.runtime.progress import format_seconds
from tlmed.runtime.store import Store
from tlmed.transfer.estimate import TimeEstimate
from tlmed.transfer.plan import STAGES, ChainPlan, StageTask


def plan_tree(plan: ChainPlan, estimates: Mapping[str, TimeEstimate], store: Store) -> Tree:
    """Draw the stages as a tree: what stands on one branch shares its beginning and trains it once."""
    root = Tree("[bold]chain[/bold]")
    nodes: dict[str, Tree] = {}
    starts: dict[str, Tree] = {}
    arms: dict[str, list[str]] = {}
    for arm, key in dict.fromkeys((arm, key) for (arm, _), key in plan.last.items()):  # seeds may share a stage
        arms.setdefault(key, []).append(arm)
    for key, task in plan.tasks.items():
        if task.parent is not None:
            above = nodes[task.parent.key]
        else:
            digest = task.weights.digest if task.weights else ""
            if digest not in starts:
                starts[digest] = root.add(task.start)
            above = starts[digest]
        is_cached = store.is_complete(STAGES, key)
        nodes[key] = above.add(_describe(task, plan.seeds_of(key), estimates[key], is_cached, arms.get(key, [])))
    return root


def _describe(
    task: StageTask, seeds: Sequence[int], estimate: TimeEstimate, is_cached: bool, arms: Sequence[str]
) -> str:
    if is_cached:
        state = "[green]cached[/green]"
    elif estimate.seconds is None:
        state = f"[yellow]to train[/yellow], time {estimate.basis}"
    else:
        state = f"[yellow]to train[/yellow], about {format_seconds(estimate.seconds)} ({estimate.basis})"
    ends = f"  => [bold]{', '.join(arms)}[/bold]" if arms else ""
    seed = seeds_in_words(seeds) if task.stage.seed is None else f"seed {task.stage.seed} of its own"
    size = f"{len(task.rows('train'))} images, {task.image.size} px"
    return f"{task.step}  {seed}, {size}, {task.key[:8]}: {state}{ends}"


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
        order = pd.Categorical(table["split"], ["train", "val", "test"])
        for (split, label), part in table.groupby([order, "label"], observed=True):
            groups = int(part["group"].nunique()) if domain.group_column is not None else None
            rows.append(
                {"domain": name, "split": str(split), "class": str(label), "images": len(part), "groups": groups}
            )
    return rows
