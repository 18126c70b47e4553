"""`tlmed evaluate`: a bundle and labelled images, or a table of predictions from any tool, to figures and pictures."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    import pandas as pd

    from tlmed.data.manifest import Manifest
    from tlmed.evaluation.assessment.assessment import Assessment, Question
    from tlmed.evaluation.assessment.case_data import Cases
    from tlmed.evaluation.assessment.threshold_choice import Target
    from tlmed.report.parts import Section
    from tlmed.runtime.store import Store
    from tlmed.serving.bundle import Bundle

log = logging.getLogger(__name__)

_BUNDLE_CARD = "bundle.json"

PositiveOption = Annotated[
    list[str] | None, typer.Option(help="Class that counts as disease; several: their probabilities are summed.")
]
UnitOption = Annotated[str | None, typer.Option(help="Column that a decision is about, or `image`.")]
GroupOption = Annotated[
    str | None, typer.Option(help="Column of what is independent, such as the patient; default: group, patient ...")
]


def evaluate(
    source: Annotated[
        Path, typer.Argument(metavar="BUNDLE|PREDICTIONS", help="Bundle folder, or a table (.csv, .parquet).")
    ],
    data: Annotated[
        Path | None,
        typer.Argument(help="For a bundle: labelled images. For a table: what else is known of its cases."),
    ] = None,
    positive: PositiveOption = None,
    unit: UnitOption = None,
    group: GroupOption = None,
    arm: Annotated[str | None, typer.Option(help="Which arm of the table.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed of the table.")] = None,
    sampling: Annotated[
        Literal["consecutive", "case-control", "unknown"], typer.Option(help="How the cases came together.")
    ] = "unknown",
    prevalence: Annotated[
        float | None, typer.Option(help="Of disease where the classifier is to be used; re-weights PPV and others.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Fixed before these cases were seen.")] = None,
    aim: Annotated[
        str | None, typer.Option(metavar="sensitivity=0.95", help="Choose the threshold on val rows to reach this.")
    ] = None,
    assure: Annotated[
        str | None,
        typer.Option(metavar="sensitivity=0.95", help="The same, to be reached in new cases with 95 % confidence."),
    ] = None,
    subgroup: Annotated[list[str] | None, typer.Option(help="Column to measure by; may be repeated.")] = None,
    indeterminate: Annotated[
        list[str] | None, typer.Option(help="Label that means the truth is not known; counted, not measured.")
    ] = None,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Fit to half of the groups, report on the other half.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default: runs/evaluate-NAME[-on-DATA].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON on stdout.")] = False,
) -> None:
    """Measure a classifier on labelled cases: its bundle on images, or predictions of any tool.

    A table needs a column p_CLASS for each class, label, and unit or path; and,
    here or in DATA, group or patient, without which intervals may be too narrow.
    With a column split, figures are those of its test rows, and val rows serve
    --aim and --assure. With a column fold, rows are taken as out-of-fold.

    Three mistakes leave no trace in a table: scores of several folds without a
    column fold, a best epoch or threshold that was picked on these cases, and
    cases that the model was trained on.
    """
    from tlmed.cli.screen import print_json, print_sections, show_log
    from tlmed.errors import InputError

    show_log()
    log.info("evaluating %s", source)
    target = _target(aim, assure)
    asked = {
        "unit": unit,
        "group": group,
        "columns": subgroup or (),
        "arm": arm,
        "seed": seed,
        "indeterminate": indeterminate or (),
    }
    from tlmed.evaluation.assessment.assessment import Question, assess
    from tlmed.evaluation.assessment.case_data import counted
    from tlmed.runtime.store import Store

    question = Question(
        positive=tuple(positive or ()),
        sampling=sampling,
        prevalence=prevalence,
        threshold=threshold,
        target=target,
        subgroups=tuple(subgroup or ()),
        recalibrate=recalibrate,
    )
    is_bundle = (source / _BUNDLE_CARD).is_file()
    # To a table DATA adds what is known of its cases; a bundle is measured on other cases with each.
    name = _name(source) + (f"-on-{_name(data)}" if is_bundle and data is not None else "")
    folder = out if out is not None else Path("runs") / f"evaluate-{name}"
    found: dict[str, Any] = {}
    if is_bundle:
        if data is None:
            raise InputError(f"{source}: a bundle is measured on labelled images; name a table or folder of them.")
        cases, question, found = _predict(source, data, question, asked, Store(folder.parent))
    else:
        cases = _read_tables(source, data, asked)
    log.info("measuring %s", counted(cases.test["unit"].nunique(), "unit"))
    assessment = assess(cases, question)
    assessment.metrics.update(found, source=str(source), data=None if data is None else str(data))
    said = _write(folder, assessment, f"Evaluation of {name}")
    if as_json:
        print_json(assessment.metrics)
    else:
        print_sections(said, f"Figures, page and pictures: {folder / 'evaluation.html'}")


def _target(aim: str | None, assure: str | None) -> Target | None:
    from tlmed.errors import InputError
    from tlmed.evaluation.assessment.threshold_choice import parse_target

    if aim is not None and assure is not None:
        raise InputError("--aim and --assure both choose the threshold; give one.")
    if aim is not None:
        return parse_target("aim", aim)
    return parse_target("assure", assure) if assure is not None else None


def _read_tables(source: Path, data: Path | None, asked: dict[str, Any]) -> Cases:
    import pandas as pd

    from tlmed.data.prediction_files import read_case_file, read_prediction_file
    from tlmed.evaluation.assessment.case_data import gather_cases
    from tlmed.evaluation.assessment.exclusions import check_indeterminate

    predictions = read_prediction_file(source)
    known = None if data is None else read_case_file(data)
    labels = [table["label"] for table in (predictions, known) if table is not None and "label" in table]
    if labels:
        check_indeterminate(asked["indeterminate"], pd.concat(labels))
    return gather_cases(predictions, known, **asked)


def _predict(
    source: Path, data: Path, question: Question, asked: dict[str, Any], store: Store
) -> tuple[Cases, Question, dict[str, Any]]:
    """A bundle's predictions of a data set, with its own threshold; how the images differ from training, and how often
    they were tested on.
    """
    from dataclasses import replace

    import pandas as pd

    from tlmed.data.sources import read_manifest
    from tlmed.errors import InputError
    from tlmed.evaluation.assessment.case_data import gather_cases
    from tlmed.runtime.digests import FileDigests
    from tlmed.serving.bundle import Bundle
    from tlmed.serving.labelled_predictions import check_apart_from_training, compare_with_training, predict_labelled

    manifest = read_manifest(data, group=asked["group"], unit=asked["unit"] or "image")
    bundle = Bundle.load(source)
    positive = bundle.rule.positive
    if question.positive and positive and set(question.positive) != set(positive):
        raise InputError(
            f"--positive: the bundle's calibration and thresholds are about {', '.join(positive)}; leave it out."
        )
    is_apart = check_apart_from_training(bundle, manifest, FileDigests(store))
    predictions, unreadable = predict_labelled(bundle, manifest, indeterminate=asked["indeterminate"])
    cases = gather_cases(predictions, **asked)
    lost = unreadable[~unreadable["unit"].isin(cases.table["unit"])].drop_duplicates("unit")
    left_out = pd.concat([cases.left_out, lost[["unit", "label", "reason"]]], ignore_index=True)
    points = tuple(
        (
            chosen.point.threshold,
            f"The bundle's own, unchanged: to {chosen.settings.kind} {chosen.settings.of} {chosen.settings.target:g}.",
        )
        for chosen in bundle.rule.points
        if chosen.point is not None
    )
    found = {
        "apart_from_training": is_apart,
        "drift": compare_with_training(bundle, manifest, predictions["path"]),
        "test_openings": _note_opening(bundle, manifest, predictions["path"], store),
    }
    question = replace(question, positive=question.positive or positive, delivered=points)
    return replace(cases, left_out=left_out), question, found


def _note_opening(bundle: Bundle, manifest: Manifest, paths: pd.Series[str], store: Store) -> int:
    """Note in the store's ledger that these images were tested on; returns how often they were."""
    from tlmed.runtime.digests import FileDigests
    from tlmed.runtime.ledger import TestSet, open_test

    files = manifest.table.loc[manifest.table["path"].isin(paths), "file"]
    test = TestSet.of(FileDigests(store).of([Path(file) for file in files]))
    members = [f"bundle {member['digest']}" for member in bundle.card.get("members", [bundle.card])]
    return open_test(store, test, members, recipe=str(bundle.card["name"]))


def _name(path: Path) -> str:
    """What to call the folder after: a bundle and a table of predictions lie in their run's folder, which names them,
    a manifest in that of its images; anything else that does not lie here is named with its folder.
    """
    path = path.resolve()
    if path.stem in ("bundle", "predictions"):
        return path.parent.name
    path = path.parent if path.name == "manifest.csv" else path
    own = path.stem if path.suffix.lower() in (".csv", ".parquet") else path.name
    return own if path.parent in (Path.cwd(), path) else f"{path.parent.name}-{own}".lstrip("-")


def _write(folder: Path, assessment: Assessment, title: str) -> list[Section]:
    """Write the answer, after all of it was made: what fails leaves the folder as it was."""
    from tlmed.report.pages.evaluation_figures import draw_assessment
    from tlmed.report.pages.evaluation_page import render_html, render_markdown, sections
    from tlmed.runtime.store import write_durably

    metrics = assessment.metrics
    said = sections(metrics)
    files = {
        "metrics.json": _as_json(metrics),
        "evaluation.md": render_markdown(title, said),
        "evaluation.html": render_html(title, said, draw_assessment(assessment)),
    }
    recalibration = metrics["recalibration"]
    if recalibration is not None:
        files["recalibration.json"] = _as_json(recalibration["map"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_durably(folder / name, content)
    if recalibration is None:
        (folder / "recalibration.json").unlink(missing_ok=True)  # of an evaluation before this one
    return said


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
