"""What the intervals of `metrics.json` cover and what they do not, in sentences for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tlmed.evaluation.estimates.figure_cells import Cell
from tlmed.evaluation.estimates.unit_scores import UnitScores
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS, NUM_RESAMPLES

_OF_FOLDS = (
    "The 95 % intervals are approximate, because the folds' models share training data (Nadeau and Bengio's correction "
    "for the means over folds)."
)


def describe_intervals(
    scores: UnitScores, arms: Mapping[str, Mapping[str, Cell]], unit: str, *, groups_known: bool
) -> str:
    """Return what the intervals rest on, which chance they cover, and why some figures have none.

    Args:
        scores: of the arms.
        arms: their figures by name.
        unit: what a decision is about.
        groups_known: False where each unit passes for a group of its own.
    """
    cells = [(name, cell) for row in arms.values() for name, cell in row.items()]
    tested = f"{scores.num_groups} {'groups' if groups_known else plural_of_unit(unit)}"
    has_intervals = any(cell.low is not None for _, cell in cells)
    sentences = []
    if scores.num_folds is not None:
        sentences.append(_over_folds(scores, tested))
        sentences += [_OF_FOLDS] if has_intervals else []
    elif has_intervals:
        sentences.append(_on_fixed_test(scores, tested))
    without = list(dict.fromkeys(name for name, cell in cells if cell.too_few is not None))
    if without:
        sentences.append(_too_few(scores, without))
    if scores.alike:
        sentences.append(f"All seeds come to the same in {', '.join(scores.alike)}: that counts as one seed.")
    if scores.left_out_of_macro:
        sentences.append(f"Left out of macro averages, being of too few groups: {', '.join(scores.left_out_of_macro)}.")
    if not groups_known:
        sentences.append(
            f"Groups are unknown: each {unit} is its own, so the figures are image-level; leakage cannot be excluded, "
            "and the intervals are too narrow if patients have several."
        )
    return " ".join(sentences)


def plural_of_unit(unit: str) -> str:
    """Return what to call several units that are each a `unit`, such as images."""
    return {"image": "images", "unit": "units"}.get(unit, f"units by {unit}")


def _on_fixed_test(scores: UnitScores, tested: str) -> str:
    counts = [len(seeds) for seeds in scores.arms.values()]
    most, least = max(counts), min(counts)
    what = (
        f"95 % intervals by the {tested} in test (shares: Wilson; AUROC: DeLong or Obuchowski; others: "
        f"{NUM_RESAMPLES:,} resamples of the {tested}, by class)"
    )
    if least > 1:
        seeds = str(most) if most == least else f"{least} to {most}"
        return f"{what}, and by the {seeds} seeds: they cover the choice of cases and the chance of training."
    if most == 1:
        return f"{what}; one seed, so they cover the choice of cases, not the chance of training."
    return f"{what}, and by the seeds where an arm has several; with one seed they leave out the chance of training."


def _too_few(scores: UnitScores, without: Sequence[str]) -> str:
    counts = zip(scores.classes, scores.num_groups_by_class.tolist(), strict=True)
    few = [f"{name}: {count}" for name, count in counts if count < MIN_GROUPS_IN_A_CLASS]
    if not few:
        return (
            f"Too few groups or folds for an interval of {', '.join(without)}; metrics.json says how many it takes, "
            "under `too_few`."
        )
    return (
        f"Too few groups for some intervals, which would not hold: they need at least {MIN_GROUPS_IN_A_CLASS} groups "
        f"of each class ({', '.join(few)})."
    )


def _over_folds(scores: UnitScores, tested: str) -> str:
    repeats = max(len(seeds) for seeds in scores.arms.values())
    times = "once" if repeats == 1 else f"once in each of {repeats} repeats"
    return (
        f"Each of the {tested} was tested {times}, in {scores.num_folds} folds, by a model that was not trained on it. "
        "AUROC, AUPRC, Brier score and calibration are means over folds, for pooled scores of several models are no "
        "one model's; decisions are pooled."
    )
