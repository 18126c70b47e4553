"""`tlmed compare RECIPE --labels`: how the arms' results change with the number of labelled groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def show_label_curve(
    recipe: Path,
    labels: str,
    *,
    out: Path | None,
    store: Path | None,
    settings: Sequence[str],
    arms: Sequence[str],
    seeds: Sequence[int],
    draws: int | None,
    as_json: bool,
) -> None:
    """Train the arms on subsets of the labelled groups, and print what came out.

    Args:
        recipe: its file.
        labels: shares of the labelled groups, such as `10,20,50,100%`.
        out, store, arms, seeds, draws: as in `learning_curve.run_label_curve`.
        settings: KEY=VALUE over the recipe's.
        as_json: print the content of `learning_curve.json`, the folder and the keys of what was trained.
    """
    from tlmed.cli.screen import print_json, print_sections, show_log
    from tlmed.data.label_subsets import parse_shares
    from tlmed.recipe.load import load_recipe

    show_log()
    shares = parse_shares(labels)
    loaded = load_recipe(recipe, settings)
    from tlmed.learning_curve import run_label_curve

    curve = run_label_curve(loaded, shares, out=out, store=store, arms=arms, seeds=seeds, draws=draws)
    if as_json:
        print_json({"folder": str(curve.folder), "trained": curve.trained, "learning_curve": curve.content})
        return
    from tlmed.report.pages.label_curve_page import label_curve_sections

    written = f"Figures, page and pictures: {curve.folder / 'learning_curve.html'}"
    print_sections(label_curve_sections(curve.content), written)
