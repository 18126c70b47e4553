"""`tlmed run`: a recipe to numbers, pictures and a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlmed.experiment import RunResult
    from tlmed.recipe.recipe import Recipe

OutOption = Annotated[Path | None, typer.Option(help="Run folder; default: runs/NAME.")]
StoreOption = Annotated[Path | None, typer.Option(help="Folder that runs share; default: the run folder's parent.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON on stdout.")]


def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe (.yaml).")],
    out: OutOption = None,
    store: StoreOption = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")
    ] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Train this arm only; may be repeated.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Train with this seed only; may be repeated.")] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="Also train a control: generic-longer and generic-placebo tell a domain from more training; "
            "border-only, centre-blanked and permuted-labels show what the delivered chain reaches on images or labels "
            "it cannot learn from honestly. May be repeated."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; train nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train along the recipe's chain and the chains it is compared with."""
    from tlmed.cli.screen import print_json, show_log
    from tlmed.recipe.load import load_recipe

    show_log()
    loaded = _with_controls(load_recipe(recipe, settings or ()), control or ())
    if dry_run:
        from tlmed.cli.dry_run import show_plan

        show_plan(loaded, out=out, store=store, arms=arm or (), seeds=seed or (), as_json=as_json)
        return
    from tlmed import experiment

    result = experiment.run(loaded, out=out, store=store, arms=arm or (), seeds=seed or ())
    if as_json:
        print_json(result_card(result))
    else:
        print_result(result, loaded.note)


def _with_controls(recipe: Recipe, kinds: Sequence[str]) -> Recipe:
    from tlmed.errors import InputError
    from tlmed.recipe.recipe import with_controls

    try:
        return with_controls(recipe, kinds) if kinds else recipe
    except ValueError as error:
        raise InputError(str(error)) from error


def result_card(result: RunResult) -> dict[str, Any]:
    """Return the machine-readable answer."""
    return {
        "folder": str(result.folder),
        "trained": result.trained,
        "metrics": result.metrics,
        "comparison": result.comparison,
    }


def print_result(result: RunResult, note: str | None) -> None:
    """Print the results table, where everything lies, and at last the verdict."""
    from rich.console import Console

    from tlmed.report.run.run_summary import summary_sentences
    from tlmed.report.run.tables import baselines_table, results_table

    console = Console()
    console.print(results_table(result.metrics))
    console.print(result.metrics["interval"], style="dim")
    console.print(baselines_table(result.metrics))
    for sentence in summary_sentences(result.metrics):
        console.print(sentence, style="yellow" if sentence.startswith("Warning") else None, highlight=False)
    what = "Pictures, tables and the bundle" if (result.folder / "bundle").exists() else "Pictures and tables"
    console.print(f"{what}: {result.folder}", soft_wrap=True)
    console.print(f"To read and to print: {result.folder / 'report.html'}", soft_wrap=True)
    console.print("Research use only, not a medical device.")
    if note is not None:
        console.print(note, highlight=False)
    if result.comparison is not None:
        console.print(result.comparison["verdict"]["sentence"], style="bold", highlight=False)
        if result.comparison["attribution"] is not None:
            console.print(result.comparison["attribution"]["sentence"], highlight=False)
