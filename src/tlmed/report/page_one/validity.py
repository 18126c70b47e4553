"""The item of page one about leakage and shortcuts: what else than disease could explain the results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tlmed.evaluation.assessment.case_data import counted, plural
from tlmed.report.facts.shortcut_reach import matched_shortcuts
from tlmed.report.figure_text import listed, value_text
from tlmed.report.page_one.wording import compared_arms, figure_in_words, limits_in_words
from tlmed.report.parts import Grid, Section
from tlmed.report.record.case_counts import group_noun, positive_classes
from tlmed.report.record.run_record import RunRecord

_NUM_VARIABLES = 3
_NUMBER = 7  # of this item on page one
_TOLD_BY = {
    "shortcut_metadata": "the files' size, form and tags",
    "shortcut_border": "the pictures' outer edge",
    "shortcut_column": "the table's other columns",
    "source_confounding": "the source",
}
_RANGE = re.compile(r"(.+) is (-?[\d.]+(?:e[+-]?\d+)?) to (-?[\d.]+(?:e[+-]?\d+)?)")
_VARIABLES = {
    "border score": "the look of the pictures' outer edge",
    "mode": "colour mode",
    "format": "file format",
    "ratio": "aspect ratio",
    "bytes_per_pixel": "file size per pixel",
    "num_exif_tags": "number of EXIF tags",
    "exif_software": "EXIF software",
}


def caution(record: RunRecord) -> str | None:
    """What must stand right under the verdict: that something else than disease could explain the results."""
    leaks = bool(_waived(record)) or _coarser(record) is not None
    follows, other_follows = bool(_shortcuts(record)), bool(_shortcuts_of_others(record))
    could = [what for what, is_there in (("leakage", leaks), ("a shortcut", follows)) if is_there]
    said = [f"{' and '.join(could)} could explain the results"] if could else []
    if other_follows and not follows:
        said.append("a shortcut could explain the difference")
    if not leaks and not record.metrics["groups_known"]:
        said.append("leakage cannot be excluded")
    if not follows and not other_follows and _told_without_disease(record):
        said.append("the data hold a shortcut")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}: see {_NUMBER}." if said else None


def validity(record: RunRecord) -> Section:
    """Whether leakage or a shortcut could explain the result, answered plainly."""
    usage = _usage(record)
    variables = [] if usage is None else usage["details"]["variables"]
    shown = _shortcuts(record) or [one for one in variables if one["is_followed"]] or variables
    return Section(
        "Could leakage or a shortcut explain it",
        (_leakage(record), _shortcut(record), *_other_arms(record), *_in_the_data(record)),
        _matched(record, shown[:_NUM_VARIABLES]) if shown else None,
    )


def _usage(record: RunRecord, arm: str | None = None) -> Mapping[str, Any] | None:
    """What the score of an arm, by default the delivered one, follows; None where that was not looked at."""
    wanted = record.metrics["delivered"] if arm is None else arm
    return next((one for one in record.metrics["usage"] if one["details"]["arm"] == wanted), None)


def _shortcuts(record: RunRecord, arm: str | None = None) -> list[Mapping[str, Any]]:
    usage = _usage(record, arm)
    return [] if usage is None else [one for one in usage["details"]["variables"] if one["is_shortcut"]]


def _shortcuts_of_others(record: RunRecord) -> dict[str, list[Mapping[str, Any]]]:
    """By compared arm other than the delivered one: the verdict is about those as well."""
    others = [arm for arm in compared_arms(record) if arm != record.metrics["delivered"]]
    return {arm: found for arm in others if (found := _shortcuts(record, arm))}


def _other_arms(record: RunRecord) -> Iterator[str]:
    """One sentence an arm: a shortcut of either arm is in their difference."""
    for arm, found in _shortcuts_of_others(record).items():
        names = list(dict.fromkeys(_of_what(one["variable"]) for one in found))[:_NUM_VARIABLES]
        yield (
            f"Shortcut of {arm}, which is compared: YES, its score follows {listed(names)}; that could make the "
            "difference, or hide one."
        )


def _waived(record: RunRecord) -> list[str]:
    """Kinds of leakage that were found and left."""
    kinds = [one["kind"].replace("_", " ") for one in record.audit["findings"] if one["severity"] == "error"]
    return list(dict.fromkeys(kinds))


def _coarser(record: RunRecord) -> Mapping[str, Any] | None:
    """That patients are known, and stand on both sides all the same."""
    target = record.recipe.target.name
    return next(
        (
            one
            for one in record.audit["findings"]
            if one["kind"] == "coarser_group" and one["details"]["stage"] == target
        ),
        None,
    )


def _leakage(record: RunRecord) -> str:
    waived, coarser, group = _waived(record), _coarser(record), group_noun(record)
    found = f"Found and waived: {', '.join(waived)}.{_without_flagged(record)}" if waived else ""
    if coarser is not None:
        by_patient = (
            f"LEAKAGE by patient: {counted(int(coarser['value']), 'patient')} have images in more than one split or "
            "fold, because images are grouped by something finer than patients. No figure here holds for new patients."
        )
        return f"{by_patient} {found}".rstrip()
    if waived:
        return f"Leakage: YES, it could. {found}"
    if not record.metrics["groups_known"]:
        return (
            "Leakage: cannot be excluded. Which images belong to one patient is not known, so the same patient may "
            "stand in training and test. Copies were looked for, and none is left."
        )
    copies = "or identical file" if record.recipe.target.data.phantom is not None else "identical file or near-copy"
    comma = "" if copies.startswith("or ") else ","
    dropped = record.domains[record.recipe.target.name]["num_dropped"]
    were = "was" if dropped == 1 else "were"
    out = f"; {counted(dropped, 'image')} {were} taken out as copies or leaks" if dropped else ""
    return (
        f"Leakage: none known is left. No {group}{comma} {copies} of test stands in the target's training data{out}."
        f"{_untold_overlap(record)}"
    )


def _untold_overlap(record: RunRecord) -> str:
    """Earlier stages may have seen the same persons under other ids, or none."""
    target, *_ = reversed(record.domains)
    column = record.domains[target]["group_column"]
    chain = {name: domain for name, domain in record.domains.items() if name != target}
    untold = [name for name, domain in chain.items() if domain["group_column"] != column]
    if not untold:
        return ""
    hold = "holds" if len(untold) == 1 else "hold"
    same = f"the same {plural(group_noun(record))}"
    return f" Whether {' and '.join(untold)} {hold} {same} cannot be checked; copies were looked for."


def _without_flagged(record: RunRecord) -> str:
    rest = record.metrics.get("without_flagged")
    if rest is None:
        return ""
    number = counted(rest["num_flagged"], "image")
    if "not_measured" in rest:
        return f" Without the {number} concerned nothing could be measured."
    arm = record.metrics["delivered"]
    return f" Without the {number} concerned {arm} has AUROC {figure_in_words(record, rest['arms'][arm]['auroc'])}."


def _shortcut(record: RunRecord) -> str:
    usage, shortcuts = _usage(record), _shortcuts(record)
    if usage is None:
        why = "no class is named positive" if not positive_classes(record) else "nothing was measured"
        return f"Shortcut: not looked at in the scores, because {why}."
    variables, untold = usage["details"]["variables"], usage["details"]["cannot_be_told"]
    if not variables:
        return "Shortcut: cannot be told. No variable of files and table differs within the classes."
    if shortcuts:
        names = list(dict.fromkeys(_of_what(one["variable"]) for one in shortcuts))
        return (
            f"Shortcut: YES, {_how_much(record, shortcuts)}. Within the classes the score of "
            f"{record.metrics['delivered']} follows {listed(names[:_NUM_VARIABLES])}, by which the class is told as "
            "well. No proof: sicker patients may also have other files."
        )
    followed = any(one["is_followed"] for one in variables)
    said = (
        "the score follows some, but none that would flatter the result"
        if followed
        else "the score follows none of them"
    )
    more = f"; {len(untold)} more could not be" if untold else ""
    looked_at = counted(len(variables), "variable")
    return (
        f"Shortcut: no sign in {record.metrics['delivered']}, as far as {looked_at} of files and table can show: "
        f"{said}. Only these could be looked at{more}; a shortcut elsewhere is not excluded."
    )


def _how_much(record: RunRecord, shortcuts: Sequence[Mapping[str, Any]]) -> str:
    """All, where the cases that are alike leave nothing that can be told from chance; a part, where all leave some."""
    alike, by_chance = matched_shortcuts(shortcuts)
    if by_chance:
        first = by_chance[0]
        found = first["matched"]["auroc"]
        return (
            f"it could explain all of it: where {_of_what(first['variable'])} is alike, the AUROC cannot be told "
            f"from chance ({value_text(found)}, {limits_in_words(record, found)})"
        )
    if len(alike) == len(shortcuts):
        return "it could explain a part: where each of these is alike, the AUROC still lies above chance"
    return f"how much it could explain cannot be told: too few {plural(group_noun(record))} are alike"


def _of_what(variable: str) -> str:
    """The variable itself of a level or range of it: "colour mode" of "mode = RGB"."""
    return _in_words(variable).partition(" = ")[0]


def _in_words(variable: str) -> str:
    """Of a variable, or of a level or range of it, such as "mode = RGB"."""
    name = next((name for name in _VARIABLES if variable.removeprefix("not ").startswith(name)), None)
    return variable if name is None else variable.replace(name, _VARIABLES[name], 1)


def _where(where: str) -> str:
    """Such as "file size per pixel is alike (0.774 to 0.79)" and "colour mode is not RGBA"."""
    name, is_level, level = _in_words(where.removeprefix("not ")).partition(" = ")
    if is_level:
        return f"{name} is {'not ' if where.startswith('not ') else ''}{level}"
    part = _RANGE.fullmatch(_in_words(where))
    return f"{part[1]} is alike ({float(part[2]):.3g} to {float(part[3]):.3g})" if part else _in_words(where)


def _told_without_disease(record: RunRecord) -> list[Mapping[str, Any]]:
    """What tells the class in the data, whether or not a model uses it."""
    return [one for one in record.audit["findings"] if one["kind"] in _TOLD_BY and one["severity"] == "warning"]


def _in_the_data(record: RunRecord) -> Iterator[str]:
    """One sentence a stage."""
    told = _told_without_disease(record)
    for stage in dict.fromkeys(one["details"]["stage"] for one in told):
        figures = [
            f"{_TOLD_BY[one['kind']]} {_figure(one)}" if one["value"] is not None else _TOLD_BY[one["kind"]]
            for one in told
            if one["details"]["stage"] == stage
        ]
        yield (
            f"In the data of {stage} (training and test, cross-validated) these alone tell the class, by AUROC: "
            f"{'; '.join(figures)}."
        )


def _figure(finding: Mapping[str, Any]) -> str:
    limits = "" if finding["low"] is None else f" ({finding['low']:.3f} to {finding['high']:.3f})"
    return f"{finding['value']:.3f}{limits}"


def _matched(record: RunRecord, variables: Sequence[Mapping[str, Any]]) -> Grid:
    """Test cases that are alike; limits of these trained models, unlike those of the items above."""
    usage = _usage(record)
    assert usage is not None  # the variables are its
    group = plural(group_noun(record))
    rows = [("all test cases", figure_in_words(record, usage["details"]["auroc"]))]
    for one in variables:
        matched = one["matched"]
        if matched is None:
            rows.append((f"{_of_what(one['variable'])} is alike", f"too few {group} are alike"))
        else:
            rows.append((_where(matched["where"]), figure_in_words(record, matched["auroc"])))
    return Grid(("test cases where ...", "AUROC (interval: these models alone)"), tuple(rows))
