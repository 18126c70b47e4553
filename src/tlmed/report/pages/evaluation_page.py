"""The answer of `tlmed evaluate` in words and tables: for the screen, as Markdown, as an HTML page with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlmed.evaluation.assessment.case_data import counted
from tlmed.report.page_template import as_data, render_template
from tlmed.report.parts import Grid, Picture, Section
from tlmed.report.run.run_summary import openings_in_words

_LEAD = ("auroc", "calibration_in_the_large", "calibration_slope", "sensitivity", "specificity")
_LEAD_OF_SEVERAL_CLASSES = ("auroc", "auroc_hand_till", "brier", "ece", "sensitivity", "specificity")
_TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "auroc_hand_till": "AUROC (Hand-Till)",
    "calibration_in_the_large": "calibration-in-the-large (0 is right)",
    "calibration_slope": "calibration slope (1 is right)",
    "calibration_intercept": "calibration intercept",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "f1": "F1",
    "ppv": "PPV",
    "npv": "NPV",
    "mcc": "MCC",
    "brier": "Brier score",
    "ece": "ECE",
    "quadratic_weighted_kappa": "quadratic weighted kappa",
}
_SUBGROUP_METRICS = ("auroc", "sensitivity", "specificity")
_AT_A_POINT = ("sensitivity", "specificity", "ppv", "npv")
_RESEARCH = "Research use only, not a medical device."


def sections(metrics: Mapping[str, Any]) -> list[Section]:
    """Return what is to be said of an assessment, the most important first.

    Args:
        metrics: content of `metrics.json` as `evaluation.assessment` makes it, of one arm.
    """
    cells: Mapping[str, Any] = next(iter(metrics["arms"].values()))
    is_macro = metrics["positive"] is None
    leading = _LEAD_OF_SEVERAL_CLASSES if is_macro else _LEAD
    titles = {**_TITLES, "auroc": "AUROC (macro)"} if is_macro else _TITLES
    lead = [name for name in leading if name in cells]
    rest = [name for name in cells if name not in lead]
    said = [
        Section(
            _counted(metrics),
            (*_threshold(metrics), *metrics["notes"], *_training(metrics), *_openings(metrics)),
            _figures(cells, lead, titles),
        ),
        Section("Further figures", (metrics["interval"],), _figures(cells, rest, titles)),
    ]
    said += [
        Section(f"At the further threshold {point['threshold']:.4g}", (point["origin"],), _figures(point, _AT_A_POINT))
        for point in metrics["operating_points"]
    ]
    if metrics["excluded"]:
        said.append(_excluded(metrics))
    if metrics["subgroups"] is not None:
        said += subgroup_sections(metrics["subgroups"])
    if "drift" in metrics:
        said += _drift(metrics["drift"])
    if metrics["recalibration"] is not None:
        said.append(_recalibration(metrics["recalibration"]))
    return said


def _training(metrics: Mapping[str, Any]) -> list[str]:
    """Of images; a table of predictions does not tell."""
    if "apart_from_training" not in metrics:
        return []
    if metrics["apart_from_training"] is None:
        return [
            "Whether any of these images trained the bundle cannot be told: it does not record its training images."
        ]
    return ["No file of these images trained the bundle; near-copies were not looked for."]


def _openings(metrics: Mapping[str, Any]) -> list[str]:
    """Of images; a table of predictions does not tell."""
    return [openings_in_words(metrics["test_openings"])] if "test_openings" in metrics else []


def render_markdown(title: str, said: Sequence[Section]) -> str:
    """Return the answer as Markdown."""
    parts = [f"# {title}"]
    for section in said:
        parts.append(f"## {section.title}")
        if section.grid is not None:
            ruler = tuple("---" for _ in section.grid.header)
            lines = (section.grid.header, ruler, *section.grid.rows)
            parts.append("\n".join("| " + " | ".join(_escaped(line)) + " |" for line in lines))
        parts += section.sentences
    return "\n\n".join([*parts, _RESEARCH]) + "\n"


def render_html(title: str, said: Sequence[Section], pictures: Sequence[Picture]) -> str:
    """Return the answer as one HTML page that needs nothing beside it; the pictures are inside, for light and dark."""
    drawn = [
        {
            "part": picture,
            "light": as_data(picture.light),
            "dark": as_data(picture.dark) if picture.dark != picture.light else None,
        }
        for picture in pictures
    ]
    return render_template("evaluation.html.j2", title=title, sections=said, drawn=drawn, closing=_RESEARCH)


def _escaped(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]


def _counted(metrics: Mapping[str, Any]) -> str:
    by_class = ", ".join(f"{number} {name}" for name, number in metrics["num_units_by_class"].items())
    groups = f" of {counted(metrics['num_groups'], 'group')}" if metrics["groups_known"] else ""
    is_plain = metrics["unit"] in ("image", "unit")
    units = counted(metrics["num_units"], metrics["unit"] if is_plain else "unit")
    by = "" if is_plain else f" by {metrics['unit']}"
    what = "Test" if metrics["num_folds"] is None else "Out-of-fold"
    return f"{what}: {units}{by}{groups} ({by_class})"


def _threshold(metrics: Mapping[str, Any]) -> list[str]:
    stated = metrics["threshold"]
    if stated is None:
        return []
    if stated["threshold"] is None:
        return [f"Thresholds {stated['lowest']:.3f} to {stated['highest']:.3f}. {stated['origin']}"]
    return [f"Threshold {stated['threshold']:.4g}. {stated['origin']}"]


def _figures(cells: Mapping[str, Any], names: Sequence[str], titles: Mapping[str, str] = _TITLES) -> Grid:
    rows = [
        (titles.get(name, name.replace("_", " ")), _value(cells[name]), _interval(cells[name]), _remark(cells[name]))
        for name in names
    ]
    return Grid(("figure", "value", "95 % interval", "remark"), tuple(rows))


def _value(cell: Mapping[str, Any]) -> str:
    return "undefined" if cell["value"] is None else f"{cell['value']:.3f}"


def _interval(cell: Mapping[str, Any]) -> str:
    if cell["low"] is not None:
        return f"{cell['low']:.3f} to {cell['high']:.3f}"
    return "too few" if "too_few" in cell else ""


def _remark(cell: Mapping[str, Any]) -> str:
    counts = f"{cell['numerator']}/{cell['denominator']}" if "numerator" in cell else None
    inside = cell.get("range_if_calibrated")
    perfect = f"{inside[0]:.3f} to {inside[1]:.3f} if the probabilities were right" if inside is not None else None
    method = cell.get("method") or ""
    approximate = "approximate" if "approximate" in method else None
    told = [counts, perfect, approximate, *(cell.get(name) for name in ("undefined", "too_few", "no_interval", "note"))]
    return "; ".join(text for text in told if text)


def _with_interval(cell: Mapping[str, Any]) -> str:
    if cell["value"] is None:
        return "-"
    interval = _interval(cell)
    return _value(cell) + (f" ({interval})" if interval else "")


def _excluded(metrics: Mapping[str, Any]) -> Section:
    rows = [(one["class"], one["reason"], str(one["num_units"])) for one in metrics["excluded"]]
    worst = metrics["if_excluded_were_wrong"]
    sentences = ["They are in no figure above; what cannot be read or told is often not like the rest."]
    if worst is not None:
        sentences.append(
            f"If all excluded units of a known class had been called wrongly, sensitivity would be "
            f"{worst['sensitivity']:.3f} and specificity {worst['specificity']:.3f}."
        )
    return Section(
        "Excluded and indeterminate units", tuple(sentences), Grid(("class", "reason", "units"), tuple(rows))
    )


def subgroup_sections(subgroups: Mapping[str, Any]) -> list[Section]:
    """Return a section a column: one row a figure, for side by side they would not fit a terminal of 80 columns."""
    header = ("level", "figure", "value", f"{subgroups['level']:.2%} interval", "difference to the rest")
    said = []
    for index, (column, levels) in enumerate(subgroups["columns"].items()):
        rows = [row for level in levels for row in _rows_of_level(level)]
        sentences = (subgroups["note"],) if index == 0 else ()
        said.append(Section(f"By {column} (exploratory)", sentences, Grid(header, tuple(rows))))
    return said


def _rows_of_level(level: Mapping[str, Any]) -> list[tuple[str, ...]]:
    counts = f"{level['num_positives']} positive, {counted(level['num_groups'], 'group')}"
    return [
        (level["value"], "units", str(level["num_units"]), counts, ""),
        *(
            (
                level["value"],
                _TITLES.get(name, name),
                _value(level[name]),
                _interval(level[name]),
                _signed(level[f"{name}_difference"]),
            )
            for name in _SUBGROUP_METRICS
        ),
    ]


def _signed(cell: Mapping[str, Any]) -> str:
    if cell["value"] is None:
        return "-"
    if cell["low"] is None:
        return f"{cell['value']:+.3f}"
    return f"{cell['value']:+.3f} ({cell['low']:+.3f} to {cell['high']:+.3f})"


def _drift(drift: Mapping[str, Any] | None) -> list[Section]:
    title = "Input drift against training"
    if drift is None:
        return [Section(title, ("Not recorded: this bundle does not know how its training images looked.",))]
    rows = [
        (
            name.replace("_", " "),
            f"{one['training_mean']:.4g}",
            f"{one['local_mean']:.4g}",
            "-" if one["standardised_difference"] is None else f"{one['standardised_difference']:+.2f}",
            f"{one['share_outside']:.0%}",
        )
        for name, one in drift["features"].items()
    ]
    warnings = tuple(f"Warning: {sentence}" for sentence in drift["warnings"])
    counts = f"{counted(drift['num_local_images'], 'image')} here, {drift['num_training_images']} in training."
    outside = "Outside the range of training: beyond the central 98 % of its images; 2 % are to be expected."
    header = ("feature", "training", "here", "standardised difference", "images outside the range of training")
    said = [Section(title, (*warnings, _told_apart(drift["told_apart"]), counts, outside), Grid(header, tuple(rows)))]
    if drift["shares"]:
        files = tuple(
            (name, _shares(one["training"]), _shares(one["local"]), f"{one['shifted']:.0%}")
            for name, one in drift["shares"].items()
        )
        moved = (
            "Moved: the share of the images here that would have to be of another kind for the mix to be training's."
        )
        said.append(Section("Kinds of files", (moved,), Grid(("feature", "training", "here", "moved"), files)))
    return said


def _told_apart(apart: Mapping[str, Any]) -> str:
    found = apart["auroc"]
    if found is None:
        return f"Whether they can be told apart: too few ({apart['too_few']})."
    if found["low"] is None:
        return f"Local and training images are not told apart (AUROC {_value(found)}; {found['no_interval']})."
    return f"Local and training images are told apart with AUROC {_with_interval(found)}; 0.5 is not at all."


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{share:.0%} {name}" for name, share in sorted(shares.items(), key=lambda pair: -pair[1])[:3])


def _recalibration(recalibration: Mapping[str, Any]) -> Section:
    fitted, reported, scaling = (recalibration[name] for name in ("fitted_on", "reported_on", "map"))
    rows = [
        (_TITLES.get(name, name), _with_interval(cell), _with_interval(recalibration["after"][name]))
        for name, cell in recalibration["before"].items()
    ]
    counts = (
        f"Fitted on {fitted['num_units']} units of {fitted['num_groups']} groups ({fitted['num_positives']} positive), "
        f"reported on {reported['num_units']} of {reported['num_groups']} ({reported['num_positives']} positive)."
    )
    formula = f"log-odds -> {scaling['slope']:.3f} x log-odds {scaling['intercept']:+.3f} (recalibration.json)."
    sentences = (counts, formula, recalibration["note"])
    return Section("Local recalibration", sentences, Grid(("figure", "before", "after"), tuple(rows)))
