"""`tlmed run --dry-run`: the plan, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlmed.recipe.recipe import Recipe


def show_plan(
    recipe: Recipe, *, out: Path | None, store: Path | None, arms: Sequence[str], seeds: Sequence[int], as_json: bool
) -> None:
    """Print what a run would train, what is cached, what the data hold, and how long it will take."""
    from rich.console import Console

    from tlmed.cli.screen import print_json
    from tlmed.experiment import plan_run
    from tlmed.report.plan_view import count_rows, count_table, plan_tree
    from tlmed.runtime.progress import format_seconds
    from tlmed.transfer.estimate import TimeEstimate, estimate_seconds, total
    from tlmed.transfer.plan import STAGES

    planned = plan_run(recipe, out=out, store=store, arms=arms, seeds=seeds)
    missing = {task.key for task in planned.plan.missing(planned.store)}
    estimates = {
        key: estimate_seconds(task, planned.store) if key in missing else TimeEstimate(0.0, "cached")
        for key, task in planned.plan.tasks.items()
    }
    seconds = total(estimates.values())
    if as_json:
        tasks = [
            {
                "key": key,
                "stage": task.stage.name,
                "seed": task.seed,
                "parent": task.parent.key if task.parent else None,
                "cached": planned.store.is_complete(STAGES, key),
                "seconds": estimates[key].seconds,
            }
            for key, task in planned.plan.tasks.items()
        ]
        print_json({"tasks": tasks, "counts": count_rows(planned.domains), "seconds": seconds})
        return
    console = Console()
    console.print(count_table(planned.domains))
    console.print(plan_tree(planned.plan, estimates, planned.store))
    left = "unknown" if seconds is None else f"about {format_seconds(seconds)}"
    console.print(
        f"{len(missing)} of {len(estimates)} stages to train; time to train them: {left}. Nothing was trained."
    )
