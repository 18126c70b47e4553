"""`tlmed run --dry-run`: the plan, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tlmed.data.manifest import Manifest
from tlmed.recipe.recipe import Recipe


def show_plan(
    recipe: Recipe, *, out: Path | None, store: Path | None, arms: Sequence[str], seeds: Sequence[int], as_json: bool
) -> None:
    """Print what a run would train, what is cached, what the data hold, and how long it will take."""
    from rich.console import Console

    from tlmed.cli.screen import print_json
    from tlmed.experiment import plan_run
    from tlmed.report.run.plan_view import count_rows, count_table, design_sentences, plan_tree
    from tlmed.runtime.progress import format_seconds
    from tlmed.transfer.estimate import TimeEstimate, estimate_seconds, total
    from tlmed.transfer.plan import ChainPlan
    from tlmed.transfer.stage_task import STAGES

    planned = plan_run(recipe, out=out, store=store, arms=arms, seeds=seeds)
    tasks = planned.inner.tasks | planned.plan.tasks
    missing = {task.key for task in ChainPlan(tasks, {}).missing(planned.store)}
    estimates = {
        key: estimate_seconds(task, planned.store) if key in missing else TimeEstimate(0.0, "cached")
        for key, task in tasks.items()
    }
    seconds = total(estimates.values())
    folds = planned.plan.folds
    domains = planned.domains if folds is None else _in_folds(planned.domains, recipe.target.name, len(folds.names))
    if as_json:
        rows = [
            {
                "key": key,
                "stage": task.stage.name,
                "seed": task.seed,
                "parent": task.parent.key if task.parent else None,
                "cached": planned.store.is_complete(STAGES, key),
                "seconds": estimates[key].seconds,
            }
            for key, task in tasks.items()
        ]
        design = design_sentences(recipe, planned.domains[recipe.target.name])
        print_json({"tasks": rows, "counts": count_rows(domains), "seconds": seconds, "design": design})
        return
    console = Console()
    console.print(count_table(domains))
    console.print(plan_tree(planned.plan, estimates, planned.store))
    if planned.inner.fits:
        console.print(
            f"Before these, {len(planned.inner.tasks)} inner trainings choose settings within each training set; the "
            "plan shows the recipe's own settings."
        )
    for sentence in design_sentences(recipe, planned.domains[recipe.target.name]):
        console.print(sentence, style="yellow" if sentence.startswith("Warning") else None, highlight=False)
    left = "unknown" if seconds is None else f"about {format_seconds(seconds)}"
    console.print(
        f"{len(missing)} of {len(estimates)} stages to train; time to train them: {left}. Nothing was trained."
    )


def _in_folds(domains: Mapping[str, Manifest], target: str, num_folds: int) -> dict[str, Manifest]:
    """The same with the target's split called what it is."""
    table = domains[target].table.assign(split=f"{num_folds} folds")
    return {**domains, target: domains[target].with_table(table)}
