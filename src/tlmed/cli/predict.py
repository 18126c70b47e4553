"""`tlmed predict`: a bundle and images to class probabilities."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import pandas as pd

    from tlmed.evaluation.decisions.decision_rule import DecisionRule


def predict(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, such as runs/NAME/bundle.")],
    paths: Annotated[list[Path], typer.Argument(help="Image files, or folders of images.")],
    table_format: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="Form of the answer.")
    ] = "table",
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of disease where the images come from, as 0.05: shifts the calibrated probabilities."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write CSV or JSON to this file instead of stdout.")] = None,
) -> None:
    """Predict image files with a trained bundle."""
    from tlmed.cli.screen import show_log
    from tlmed.data.images import UnreadableImage
    from tlmed.errors import InputError
    from tlmed.serving.bundle import Bundle

    show_log()
    if out is not None and not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: no such folder; make it first.")
    loaded = Bundle.load(bundle)
    if loaded.card["synthetic"]:
        print("Trained on synthetic images: what follows says nothing about a patient.", file=sys.stderr)
    unreadable: list[UnreadableImage] = []
    table = loaded.predict(paths, unreadable=unreadable, prevalence=prevalence)
    _show(table, "json" if as_json else table_format, out)
    _explain(loaded.rule, prevalence)
    if unreadable:
        named = " ".join(map(str, unreadable))
        raise InputError(f"{len(unreadable)} of {len(table) + len(unreadable)} images were not predicted: {named}")


def _explain(rule: DecisionRule, prevalence: float | None) -> None:
    """Say beside the table what its probabilities and decisions are."""
    if rule.map is None:
        print("The probabilities are not calibrated.", file=sys.stderr)
    else:
        share = rule.prevalence if prevalence is None else prevalence
        where = "" if share is None else f" to a share of disease of {share:.1%}"
        hint = "; --prevalence tells another one" if prevalence is None and share is not None else ""
        print(f"Probabilities p_: calibrated{where}{hint}.", file=sys.stderr)
    for chosen in rule.points:
        what = f"{chosen.settings.kind} {chosen.settings.of} {chosen.settings.target:g}"
        if chosen.point is None:
            print(f"No decision for {what}: {chosen.refused}.", file=sys.stderr)
        else:
            print(f"Decision: positive from {chosen.point.threshold:.4g} ({what}).", file=sys.stderr)


def _show(table: pd.DataFrame, chosen: str, out: Path | None) -> None:
    if chosen == "table" and out is None:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = table[[name for name in table if name != "unit" and not str(name).startswith("raw_")]]
        shown = Table(*(escape(str(name)) for name in table))
        for row in table.itertuples(index=False):
            shown.add_row(*(f"{value:.3f}" if isinstance(value, float) else escape(str(value)) for value in row))
        Console().print(shown)
        return
    text = table.to_json(orient="records", indent=2) if chosen == "json" else table.to_csv(index=False)
    if out is None:
        print(text.rstrip("\n"))
    else:
        from tlmed.runtime.store import write_durably

        write_durably(out, text)
