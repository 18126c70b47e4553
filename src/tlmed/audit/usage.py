"""Whether a trained model follows what is no disease: a set with a shortcut is not yet a model that takes it."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from tlmed.audit.findings import Finding
from tlmed.errors import name_some
from tlmed.evaluation.intervals import Estimate
from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.auroc import auroc, auroc_covariance, auroc_interval, logit_auroc_interval
from tlmed.evaluation.statistics.multiplicity import holm

NUM_PERMUTATIONS = 2000
MIN_GROUPS_OF_A_CLASS, MIN_GROUPS_OF_A_LEVEL = 10, 5
MAX_P_VALUE = 0.05
MIN_SHIFT = 0.10  # of an AUROC from 0.5, for a warning; of a rank correlation twice that

_MAX_LEVELS = 8
_NUM_RANGES = 3
_VALUES_AT_ONCE = 5_000_000
_Measure = Literal["AUROC", "Spearman"]
_ONE_VALUE = "each class has one value"
_FEW_GROUPS = f"too few groups ({MIN_GROUPS_OF_A_CLASS} of a class, {MIN_GROUPS_OF_A_LEVEL} of them unlike the others)"


@dataclass(frozen=True)
class Following:
    """How the score goes with a variable among units of one class.

    Attributes:
        measure: `AUROC` of the score for having a level, 0.5 where it knows nothing; `Spearman` for numbers, then 0.
        value: of each class with 10 groups or more, averaged.
        by_class: of each.
        p_value: two-sided, by permuting the variable among the groups of a class.
    """

    measure: _Measure
    value: float
    by_class: dict[str, float]
    p_value: float

    @property
    def shift(self) -> float:
        """From knowing nothing, on the scale of the AUROC; above 0 the score rises with the variable."""
        return self.value - 0.5 if self.measure == "AUROC" else self.value / 2


@dataclass(frozen=True)
class _Variable:
    """What a score could follow.

    Attributes:
        name: such as `format = PNG` or `width`.
        column: it was made of.
        values: (U,) numbers, or booleans for a level; missing where unknown.
    """

    name: str
    column: str
    values: pd.Series[Any]


def score_follows(units: pd.DataFrame, variable: pd.Series[Any], *, seed: int = 0) -> Following | None:
    """Say whether the score goes with a variable within each class, where the class itself cannot be the reason.

    A group counts once in each class, with the mean of its scores and of its numbers, or the level of most of its
    units.

    Args:
        units: a row a unit: `p_positive` (any score), `label`, `group`.
        variable: of the same rows: booleans for a level, or numbers; units where it is missing are left out.
        seed: of the permutations.

    Returns:
        None where no class has 10 groups, 5 of them with and 5 without the level, or 5 whose number is
        not the commonest.

    Source: p of random permutations, Phipson & Smyth, Stat Appl Genet Mol Biol 2010;9:39.
    """
    is_level = variable.dtype == bool
    known = units.assign(variable=variable.astype(np.float64))[variable.notna()]
    generator = np.random.default_rng(seed)
    by_class: dict[str, float] = {}
    permuted = np.zeros(NUM_PERMUTATIONS)
    for label, of_class in known.groupby("label"):
        groups = of_class.groupby("group")[["p_positive", "variable"]].mean()
        values = (groups["variable"] > 0.5).to_numpy() if is_level else groups["variable"].to_numpy()
        if not _can_tell(values, is_level=is_level):
            continue
        weights = _centred(values.astype(np.float64) if is_level else rankdata(values))
        ranks = _centred(rankdata(groups["p_positive"].to_numpy()))
        scale = _scale(ranks, weights, values, is_level=is_level)
        by_class[str(label)] = float(ranks @ weights * scale)
        permuted += _permuted_products(weights, ranks, generator) * scale
    if not by_class:
        return None
    value, by_chance = float(np.mean(list(by_class.values()))), permuted / len(by_class)
    p_value = float((1 + (np.abs(by_chance) >= abs(value) - 1e-12).sum()) / (1 + NUM_PERMUTATIONS))
    chance = 0.5 if is_level else 0.0
    around = {label: chance + one for label, one in by_class.items()}
    return Following("AUROC" if is_level else "Spearman", chance + value, around, p_value)


def check_usage(
    predictions: pd.DataFrame,
    metadata_by_path: pd.DataFrame,
    *,
    positive: str | Sequence[str],
    unit: str,
    seed: int = 0,
) -> list[Finding]:
    """Say for each arm which variables its score follows, and how well it does where such a variable is held fixed.

    A `warning` is a variable that tells the class in test (AUROC of 0.60 or more, or 0.40 or less), that the score
    follows as strongly within the classes and the same way, and whose p-value, adjusted (Holm) for the arm's variables,
    is below 0.05. Sicker patients may also have other files, so it is a reason to look, no proof.

    The score of several seeds is the mean of the ranks that they give; with folds these are ranks within the fold.

    Args:
        predictions: as for evaluation; its test rows are looked at.
        metadata_by_path: index: path. A column a variable: numbers, or anything else for levels.
        positive: the class that counts as disease, or several.
        unit: what a decision is about, for the message.
        seed: of the permutations.

    Returns:
        One finding of the kind `shortcut_usage` an arm. `value` is that of the variable that is named, `details` has
        all: `variables`, each with the AUROC on a `matched` subset; `auroc`, that on all units; and `cannot_be_told`,
        the variables that differ between units but within no class, or in too few groups, with the reason. Variables
        that are the same in all units are not mentioned, for no score can follow them.
    """
    names = [positive] if isinstance(positive, str) else list(positive)
    tested = predictions[predictions["split"] == "test"]
    tested = tested.assign(p_positive=tested[[f"p_{name}" for name in names]].sum(axis=1))
    reference = tested.drop_duplicates("path").set_index("path")["unit"]
    variables = _variables(metadata_by_path.loc[reference.index], reference)
    return [_finding(str(arm), rows, variables, names, unit, seed) for arm, rows in tested.groupby("arm", sort=False)]


def _finding(
    arm: str, rows: pd.DataFrame, variables: Sequence[_Variable], positive: Sequence[str], unit: str, seed: int
) -> Finding:
    scores = rows.groupby(["seed", "unit"], as_index=False).agg(
        p_positive=("p_positive", "mean"), label=("label", "first"), group=("group", "first"), fold=("fold", "first")
    )
    scores["is_positive"] = scores["label"].isin(positive)
    units = scores.drop_duplicates("unit").set_index("unit")
    of_fold = scores.groupby(["seed", "fold"])["p_positive"]
    ranks = (of_fold.rank() - 0.5) / of_fold.transform("size")
    units["p_positive"] = ranks.groupby(scores["unit"]).mean().loc[units.index]
    overall = _auroc_within_folds(scores)
    told, untold = [], []
    for variable in variables:
        values = variable.values.loc[units.index]
        following = score_follows(units, values, seed=seed)
        if following is not None:
            told.append((variable, following, _tells_class(units, variable)))
        elif values.nunique() > 1:
            untold.append((variable, _why_not(units, values)))
    unknown = _cannot_be_told(untold, variables)
    details: dict[str, Any] = {"arm": arm, "auroc": asdict(overall), "num_units": len(units), "variables": []}
    details["cannot_be_told"] = [
        {"variable": variable.name, "reason": reason, "auroc_of_variable": _tells_class(units, variable)}
        for variable, reason in untold
    ]
    if not told:
        what = f"whether the score follows a variable {unknown or 'cannot be told: all are the same in all units'}"
        return Finding("shortcut_usage", "note", f"arm {arm!r}: {what}", details=details)
    adjusted = holm([following.p_value for _, following, _ in told]).tolist()
    described = []
    for (variable, following, tells), p_value in zip(told, adjusted, strict=True):
        is_followed = p_value < MAX_P_VALUE and abs(following.shift) >= MIN_SHIFT
        described.append(
            {
                "variable": variable.name,
                **asdict(following),
                "p_value_holm": p_value,
                "auroc_of_variable": tells,
                "is_followed": is_followed,
                "is_shortcut": is_followed and abs(tells - 0.5) >= MIN_SHIFT and (tells > 0.5) == (following.shift > 0),
                "matched": _matched(scores, units, variable),
                "shift": following.shift,
            }
        )
    described.sort(key=lambda one: (not one["is_shortcut"], not one["is_followed"], one["p_value"], -abs(one["shift"])))
    return Finding(
        "shortcut_usage",
        "warning" if described[0]["is_shortcut"] else "note",
        f"arm {arm!r}: {_sentence(described, overall, unit)}{f'; this {unknown}' if unknown else ''}",
        value=described[0]["value"],
        details={**details, "variables": described},
    )


def _why_not(units: pd.DataFrame, values: pd.Series[Any]) -> str:
    """Why a variable that is not the same in all units gives no `Following`."""
    return _ONE_VALUE if (values.groupby(units["label"]).nunique() <= 1).all() else _FEW_GROUPS


def _cannot_be_told(untold: Sequence[tuple[_Variable, str]], variables: Sequence[_Variable]) -> str:
    """For the message: names of columns, or of levels where others of the column were looked at; empty for none."""
    num_levels = Counter(variable.column for variable in variables)
    said = []
    for wanted in (_ONE_VALUE, _FEW_GROUPS):
        chosen = [variable for variable, reason in untold if reason == wanted]
        num_chosen = Counter(variable.column for variable in chosen)
        names = list(
            dict.fromkeys(
                one.column if num_chosen[one.column] == num_levels[one.column] else one.name for one in chosen
            )
        )
        if names:
            said.append(f"for {', '.join(names) if wanted == _ONE_VALUE else name_some(names)}: {wanted}")
    return f"cannot be told {'; '.join(said)}" if said else ""


def _sentence(described: Sequence[dict[str, Any]], overall: Estimate, unit: str) -> str:
    first = described[0]
    higher = "higher" if first["shift"] > 0 else "lower"
    what = f"{higher} {'where' if first['measure'] == 'AUROC' else 'the larger'} {first['variable']}"
    num = f"{len(described)} variable{'' if len(described) == 1 else 's'}"
    said = f"{first['measure']} {first['value']:.2f}, p {first['p_value_holm']:.2g} adjusted for {num}"
    if not first["is_followed"]:
        return f"of {num} that can be looked at the score follows none within the classes (most: {what}; {said})"
    if first["is_shortcut"]:
        way = "the same way as the class"
    elif abs(first["auroc_of_variable"] - 0.5) < MIN_SHIFT:
        way = "which hardly tells the class here"
    else:
        way = "against the class, which does not flatter the result"
    text = f"within the classes the score is {what}, {way} ({said})"
    if first["matched"] is None:
        return f"{text}; no part of the {unit}s that is alike in it holds {MIN_GROUPS_OF_A_CLASS} groups of each class"
    matched = first["matched"]
    return f"{text}; AUROC {_written(matched['auroc'])} where {matched['where']}, {_written(asdict(overall))} on all"


def _written(estimate: dict[str, float | None]) -> str:
    limits = "" if estimate["low"] is None else f" ({estimate['low']:.3f} to {estimate['high']:.3f})"
    return f"{estimate['value']:.3f}{limits}"


def _tells_class(units: pd.DataFrame, variable: _Variable) -> float:
    values = variable.values.loc[units.index]
    known = values.notna()
    is_positive = units.loc[known, "is_positive"]
    return auroc(is_positive, values[known].astype(np.float64)) if is_positive.nunique() == 2 else 0.5


def _matched(scores: pd.DataFrame, units: pd.DataFrame, variable: _Variable) -> dict[str, Any] | None:
    """The AUROC where the variable is the same, or in the same third, on the part with most groups of either class."""
    values = variable.values.loc[units.index]
    if values.dtype == bool:
        parts = {variable.name: values, f"not {variable.name}": ~values}
    else:
        edges = np.unique(np.quantile(values.dropna(), np.linspace(0, 1, _NUM_RANGES + 1)))
        parts = {
            f"{variable.name} is {low:.4g} to {high:.4g}": (values >= low) & (values <= high)
            for low, high in itertools.pairwise(edges)
        }
    num_groups = {where: _fewest_groups(units[chosen]) for where, chosen in parts.items()}
    where = max(num_groups, key=lambda name: num_groups[name])
    if num_groups[where] < MIN_GROUPS_OF_A_CLASS:
        return None
    kept = scores[scores["unit"].isin(units.index[parts[where]])]
    return {"where": where, "num_groups": num_groups[where], "auroc": asdict(_auroc_within_folds(kept))}


def _fewest_groups(units: pd.DataFrame) -> int:
    """Groups that hold a positive unit, or that hold a negative one: the fewer."""
    counts = units.groupby("is_positive")["group"].nunique()
    return int(counts.min()) if len(counts) == 2 else 0


def _auroc_within_folds(scores: pd.DataFrame) -> Estimate:
    """AUROC and its limits over the choice of groups: within each fold, averaged, then over seeds.

    Folds hold different groups, so the variances of their AUROCs add; a fold with fewer than two groups of a class is
    left out. Limits are the mean of those of the seeds, cautious because seeds differ in part by chance.
    """
    of_seeds = [_of_one_seed(of_seed) for _, of_seed in scores.groupby("seed")]
    values = [one.value for one in of_seeds if one.value is not None]
    limits = [(one.low, one.high) for one in of_seeds if one.low is not None and one.high is not None]
    if not values or len(limits) < len(of_seeds):
        return Estimate(float(np.mean(values)) if values else None, None, None)
    low, high = np.mean(limits, axis=0)
    return Estimate(float(np.mean(values)), float(low), float(high))


def _of_one_seed(scores: pd.DataFrame) -> Estimate:
    folds = [of_fold for _, of_fold in scores.groupby("fold") if _fewest_groups(of_fold) >= 2]
    if len(folds) == 1:
        return auroc_interval(*_columns(folds[0]))
    if not folds:
        return Estimate(None, None, None)
    parts = [auroc_covariance(is_positive, rows[None, :], groups) for is_positive, rows, groups in map(_columns, folds)]
    value = float(np.mean([part.values[0] for part in parts]))
    variance = sum(float(part.covariance[0, 0]) for part in parts) / len(parts) ** 2
    if not 0 < value < 1 or variance <= 0:
        return Estimate(value, None, None)
    return logit_auroc_interval(value, variance, degrees_of_freedom=math.inf)


def _columns(scores: pd.DataFrame) -> tuple[NDArray[np.bool_], Floats, NDArray[Any]]:
    return scores["is_positive"].to_numpy(), scores["p_positive"].to_numpy(), scores["group"].to_numpy()


def _permuted_products(weights: Floats, ranks: Floats, generator: np.random.Generator) -> Floats:
    """(R,) products of the ranks with the weights in random order, a bounded number of orders at a time."""
    step = max(1, _VALUES_AT_ONCE // len(weights))
    parts = [
        generator.permuted(np.tile(weights, (min(step, NUM_PERMUTATIONS - start), 1)), axis=1) @ ranks
        for start in range(0, NUM_PERMUTATIONS, step)
    ]
    return np.concatenate(parts)


def _can_tell(values: NDArray[Any], *, is_level: bool) -> bool:
    if len(values) < MIN_GROUPS_OF_A_CLASS:
        return False
    if is_level:
        return bool(min(values.sum(), (~values).sum()) >= MIN_GROUPS_OF_A_LEVEL)
    return bool(len(values) - np.unique(values, return_counts=True)[1].max() >= MIN_GROUPS_OF_A_LEVEL)


def _scale(ranks: Floats, weights: Floats, values: NDArray[Any], *, is_level: bool) -> float:
    """From the product of centred ranks and weights to AUROC minus a half, or to a correlation."""
    if is_level:
        return 1.0 / float(values.sum() * (~values).sum())
    size = float(np.linalg.norm(ranks) * np.linalg.norm(weights))
    return 1.0 / size if size > 0 else 0.0


def _centred(values: Floats) -> Floats:
    return np.asarray(values - values.mean())


def _variables(metadata: pd.DataFrame, unit_of_path: pd.Series[Any]) -> list[_Variable]:
    """Each column of numbers, and each level of the others, by unit; of two levels one says all."""
    variables = []
    for column in map(str, metadata):
        numbers = pd.to_numeric(metadata[column], errors="coerce").astype(np.float64)
        if numbers.isna().equals(metadata[column].isna()):
            variables.append(_Variable(column, column, numbers.groupby(unit_of_path).mean()))
            continue
        texts = metadata[column].astype("string").fillna("(none)")
        of_unit = _commonest(texts, unit_of_path)
        levels = of_unit.value_counts().index[:_MAX_LEVELS]
        for level in levels[: 1 if len(levels) == 2 else None]:
            variables.append(_Variable(f"{column} = {level}", column, (of_unit == level).astype(bool)))
    return variables


def _commonest(texts: pd.Series[Any], unit_of_path: pd.Series[Any]) -> pd.Series[Any]:
    """The text of most images of each unit; of equally many the first in the alphabet."""
    counts = texts.to_frame("text").assign(unit=unit_of_path).value_counts(sort=False).rename("count").reset_index()
    counts = counts.sort_values(["count", "text"], ascending=[False, True]).drop_duplicates("unit")
    return counts.set_index("unit")["text"]
