"""`tlmed compare`: arms from tables of predictions of any tool, or along a learning curve, to a verdict."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlmed.cli.evaluate import GroupOption, PositiveOption, UnitOption
from tlmed.cli.run import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from tlmed.evaluation.comparison.contrasts import Asked
    from tlmed.evaluation.comparison.joined_arms import ArmOfFile
    from tlmed.recipe.recipe import Recipe
    from tlmed.report.parts import Section

log = logging.getLogger(__name__)

_AS_IN_RUNS = ("generic-related", "generic")
_RECIPE, _PREDICTIONS, _COMPARISON = "recipe.yaml", "predictions.parquet", "comparison.json"


@dataclass(frozen=True)
class _Source:
    """A table and, where it is that of a run, the run's recipe."""

    name: str
    file: Path
    recipe: Recipe | None


def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]PREDICTIONS|RUN|RECIPE",
            help="Tables (.csv, .parquet) or run folders, an arm each or several; or, with --labels, one recipe.",
            show_default=False,
        ),
    ],
    positive: PositiveOption = None,
    unit: UnitOption = None,
    group: GroupOption = None,
    manifest: Annotated[Path | None, typer.Option(metavar="DATA", help="What else is known of the cases.")] = None,
    primary: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="FIRST SECOND", help="The question; default: the first two, or as in runs."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="auroc, accuracy, balanced_accuracy or auprc; default: auroc.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Smallest difference that matters, as a share; default: 0.02, 2 points.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="10,20,50,100%", help="Of a recipe: learning curve over labelled groups.")
    ] = None,
    draws: Annotated[int | None, typer.Option(help="Of the learning curve: subsets of the smallest sizes.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Of the learning curve: this arm; may be repeated.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Of the learning curve: this seed; may be repeated.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Of the learning curve: override a key.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Of the learning curve: folder that runs share.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write comparison.json and comparison.md to.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether one classifier is better than another, how sure that is, and what would tell more.

    A table needs a column p_CLASS for each class, label, and unit or path; group
    or patient, here or in DATA; and seed where trainings were repeated. Each file
    is an arm, or several with a column arm. All must be of the same cases.

    From two seeds of each arm on the answer is about this training set, new
    patients and new seeds; with a column fold, about new training sets. One
    training of each cannot tell, and without groups there is no verdict. The
    question is, unless --primary says so, what a run's recipe asks, or
    generic-related minus generic where one file has both, or else the first
    arm minus the second.
    """
    from tlmed.cli.screen import print_json, print_sections, show_log
    from tlmed.errors import InputError

    show_log()
    if labels is not None:
        from tlmed.cli.label_curve import show_label_curve

        if len(sources) > 1:
            raise InputError(f"--labels: a learning curve is of one recipe, not of {len(sources)} files.")
        show_label_curve(
            Path(sources[0]),
            labels,
            out=out,
            store=store,
            settings=settings or (),
            arms=arm or (),
            seeds=seed or (),
            draws=draws,
            as_json=as_json,
        )
        return
    of_curve = {"--draws": draws, "--arm": arm, "--seed": seed, "--set": settings, "--store": store}
    for option, value in of_curve.items():
        if value is not None:
            raise InputError(f"{option}: only of a learning curve; add --labels, such as --labels 10,20,50,100%.")
    read = [_source(text) for text in sources]
    comparison = _compare(
        read,
        _read_arms(read, manifest, unit, group),
        positive=positive or (),
        unit=unit,
        asked={"primary": primary, "metric": metric, "margin": margin},
    )
    comparison |= _registered(read, comparison)
    said = _write(out, comparison)
    if as_json:
        print_json(comparison)
    else:
        print_sections(said, None if out is None else f"Written: {out / _COMPARISON}, comparison.md")


def _source(text: str) -> _Source:
    from tlmed.errors import InputError
    from tlmed.recipe.load import load_recipe

    name, separator, rest = text.partition("=")
    is_named = bool(separator and name and not Path(text).exists())
    path = Path(rest if is_named else text)
    if path.suffix.lower() in (".yaml", ".yml"):
        raise InputError(
            f"{path}: of a recipe `compare` makes the learning curve, by --labels such as --labels 10,20,50,100%; its "
            "arms are compared by `tlmed run`, and again by `tlmed compare RUN`."
        )
    if path.is_dir():
        if not (path / _PREDICTIONS).is_file():
            raise InputError(f"{path}: no {_PREDICTIONS} lies there; name a run folder, or a table of predictions.")
        own = name if is_named else path.resolve().name
        return _Source(own, path / _PREDICTIONS, load_recipe(path / _RECIPE))
    return _Source(name if is_named else path.stem, path, None)


def _read_arms(
    sources: Sequence[_Source], manifest: Path | None, unit: str | None, group: str | None
) -> list[ArmOfFile]:
    """Every arm of every file, called by the file, or, where a file has several, by both."""
    from tlmed.data.prediction_files import read_case_file, read_prediction_file
    from tlmed.errors import InputError
    from tlmed.evaluation.assessment.case_data import gather_cases
    from tlmed.evaluation.comparison.joined_arms import ArmOfFile
    from tlmed.evaluation.comparison.recipe_question import arms_without_chance

    known = None if manifest is None else read_case_file(manifest)
    arms = []
    for source in sources:
        table = read_prediction_file(source.file)
        names = list(dict.fromkeys(table["arm"].dropna())) if "arm" in table else []
        without_chance = [] if source.recipe is None else arms_without_chance(source.recipe)
        for arm in names if len(names) > 1 else [None]:
            name = source.name if arm is None else arm if len(sources) == 1 else f"{source.name}:{arm}"
            try:
                cases = gather_cases(table, known, unit=unit, group=group, arm=arm)
            except InputError as error:
                raise InputError(f"{source.file}: {error}") from error
            log.info("%s: %d rows of %s", name, len(cases.test), source.file)
            is_deterministic = any(own in without_chance for own in ([arm] if arm is not None else names))
            arms.append(ArmOfFile(name, str(source.file), cases, is_deterministic))
    if len(arms) < 2:
        raise InputError(
            f"{sources[0].file}: one arm alone, and a comparison needs two; name another table, or one with a column "
            "`arm`."
        )
    return arms


def _compare(
    sources: Sequence[_Source],
    arms: Sequence[ArmOfFile],
    *,
    positive: Sequence[str],
    unit: str | None,
    asked: dict[str, Any],
) -> dict[str, Any]:
    from tlmed.evaluation.comparison.compare import compare_arms
    from tlmed.evaluation.comparison.joined_arms import join_arms

    joined = join_arms(arms)
    recipe = sources[0].recipe
    return compare_arms(
        joined.rows,
        _asked(sources, [arm.name for arm in arms], asked),
        positive=_positive(positive, joined.rows, recipe),
        # The table of a run holds its units already, under another name than theirs.
        unit=recipe.evaluation.unit if recipe is not None and unit is None else arms[0].cases.unit,
        groups_known=joined.groups_known,
        split=_split(joined.rows) if recipe is None else recipe.evaluation.protocol.split,
        deterministic=[arm.name for arm in arms if arm.is_deterministic],
    )


def _positive(stated: Sequence[str], rows: pd.DataFrame, recipe: Recipe | None) -> str | Sequence[str] | None:
    """What was stated, of more than two classes against the rest, as in `tlmed evaluate`; else the recipe's."""
    if not stated:
        return None if recipe is None else recipe.evaluation.positive
    num_classes = sum(str(name).startswith("p_") for name in rows)
    return stated[0] if len(stated) == 1 and num_classes == 2 else list(dict.fromkeys(stated))


def _registered(sources: Sequence[_Source], comparison: dict[str, Any]) -> dict[str, Any]:
    """When the contrast was chosen and what its arms cost, where that is a run's own contrast."""
    own = sources[0].file.parent / _COMPARISON
    if len(sources) == 1 and sources[0].recipe is not None and own.is_file():
        stored = json.loads(own.read_text(encoding="utf-8"))
        if all(stored[key] == comparison[key] for key in ("primary", "metric", "margin", "positive", "unit")):
            return {key: stored[key] for key in ("registered", "cost")}
    return {"registered": None, "cost": {}}


def _split(rows: pd.DataFrame) -> str:
    return "kfold" if (rows["fold"] >= 0).any() else "manifest"


def _asked(sources: Sequence[_Source], arms: Sequence[str], stated: dict[str, Any]) -> Asked:
    """What was stated, over what a run's recipe asks, over the first two arms."""
    from dataclasses import replace
    from typing import get_args

    from tlmed.errors import InputError, did_you_mean
    from tlmed.evaluation.comparison.contrasts import Asked
    from tlmed.evaluation.comparison.recipe_question import asked_of_recipe
    from tlmed.recipe.comparison import ComparedMetric

    given = {key: value for key, value in stated.items() if value is not None}
    known = get_args(ComparedMetric)
    if "metric" in given and given["metric"] not in known:
        raise InputError(f"--metric: there is no {given['metric']!r}.{did_you_mean(given['metric'], known)}")
    recipe = sources[0].recipe
    by_recipe = asked_of_recipe(recipe, arms) if recipe is not None and len(sources) == 1 else None
    if by_recipe is not None:
        is_own = given.get("primary", by_recipe.primary) == by_recipe.primary
        return replace(by_recipe, **given, subject=by_recipe.subject if is_own else None)
    if "primary" not in given and len(sources) == 1 and set(_AS_IN_RUNS) <= set(arms):
        given["primary"] = _AS_IN_RUNS
    if "primary" not in given:
        if len(arms) > max(len(sources), 2):
            raise InputError(
                f"there are {len(arms)} arms ({', '.join(arms)}); say which two the question is about: --primary FIRST "
                "SECOND, first minus second."
            )
        given["primary"] = (arms[0], arms[1])
    return Asked(**given)


def _write(folder: Path | None, comparison: dict[str, Any]) -> list[Section]:
    from tlmed.report.pages.comparison_sections import comparison_sections
    from tlmed.report.pages.evaluation_page import render_markdown
    from tlmed.runtime.store import write_durably, write_json_durably

    said = comparison_sections(comparison)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json_durably(folder / _COMPARISON, comparison)
        write_durably(folder / "comparison.md", render_markdown(f"Comparison: {comparison['primary']}", said))
    return said
