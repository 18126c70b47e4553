"""`tlmed demo`: the main job on built-in synthetic images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlmed.cli.run import JsonOption


def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"),
    seed: Annotated[list[int] | None, typer.Option(help="Seed; may be repeated.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a probe and four chains on synthetic images, and compare them. Two to three minutes on two cores."""
    import tlmed.recipe
    from tlmed import experiment
    from tlmed.cli.run import print_result, result_card
    from tlmed.cli.screen import print_json, show_log
    from tlmed.recipe.load import load_recipe

    show_log()
    recipe = load_recipe(Path(tlmed.recipe.__file__).parent / "builtin" / "demo.yaml")
    result = experiment.run(recipe, out=out, seeds=seed or ())
    if as_json:
        print_json({**result_card(result), "note": recipe.note})
    else:
        print_result(result, recipe.note)
