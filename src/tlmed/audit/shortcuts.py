"""Whether the class can be told without the disease: from file metadata, border, columns, source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlmed.audit.findings import Finding
from tlmed.audit.held_out import MAX_UNITS, HeldOutUnits, Telling, measure
from tlmed.audit.probed_units import ProbedUnits, draw_units
from tlmed.audit.simple_classifiers import predict_by_forest, predict_by_neighbour
from tlmed.audit.thumbnails import Thumbnails, border, halved, intensity_statistics
from tlmed.errors import name_some
from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.multiplicity import holm

MIN_LOW, MAX_P_VALUE = 0.60, 0.05
# What a class lacks in training it has more of in the held-out fold; scores without information then rank it low.
LEAN = "held-out folds lean below 0.5 where there is nothing to learn"

# Everything that is not one of these is metadata of the image or patient.
_KNOWN_COLUMNS = frozenset(
    ("path", "file", "label", "patient", "study", "series", "split", "source", "group", "unit", "digest")
)
# From here to 200 trees AUROC moves by about 0.01, from one draw of folds to the next by 0.04 (COVID-CT, phantoms).
_NUM_TREES, _NUM_TREES_OF_A_COLUMN = 64, 32
_MAX_LEVELS = 30
_MAX_COLUMNS = 40

_Scores = Callable[["ProbedUnits"], Floats]


@dataclass(frozen=True)
class _Probe:
    """One question.

    Attributes:
        kind: of its finding.
        what: what the class is told from, for the message.
        score: (U, K) held-out scores of the classes.
        details: more about it.
        is_baseline: whether it may see disease, and so is never a warning.
    """

    kind: str
    what: str
    score: _Scores
    details: Callable[[ProbedUnits, Telling], dict[str, Any]] = field(default=lambda *_: {})
    is_baseline: bool = False


def probe_shortcuts(
    table: pd.DataFrame, thumbnails: Thumbnails, *, name: str, groups: NDArray[Any] | None = None, seed: int = 0
) -> list[Finding]:
    """Say how well the class can be told from what is no disease, and by the simplest looks at the picture.

    Grouped, stratified cross-validation of a forest of decision trees; AUROC within each held-out fold, averaged, each
    class against the rest where there are more than two. A `warning` is a lower limit above 0.60 together with a
    p-value below 0.05, adjusted (Holm) for the number of shortcuts that were looked for. Simple baselines may see
    disease and are notes. At most 5,000 units are looked at, whole groups drawn by turns from the classes, and at most
    the 20 classes with most groups.

    Args:
        table: of a manifest.
        thumbnails: of its rows.
        name: of the data set, for messages.
        groups: (N,) what is independent, where that is coarser than the table's `group` (copies of one picture).
        seed: of draws, folds and forests; equal seeds give equal findings.
    """
    table = table.assign(group=table["group"] if groups is None else groups)
    units = draw_units(table, thumbnails, seed)
    if isinstance(units, str):
        return [Finding("shortcuts_unknown", "note", f"{name}: {units}", details={"stage": name})]
    probes = list(_probes(units, seed))
    told = [measure(units.held_out, probe.score(units)) for probe in probes]
    adjusted = iter(holm([one.p_value for probe, one in zip(probes, told, strict=True) if not probe.is_baseline]))
    return [
        _finding(name, probe, one, None if probe.is_baseline else float(next(adjusted)), units)
        for probe, one in zip(probes, told, strict=True)
    ]


def border_score(
    table: pd.DataFrame, thumbnails: Thumbnails, *, positive: str | Sequence[str], seed: int = 0
) -> pd.Series[float]:
    """How much the border alone speaks for the positive class: what `check_usage` may ask whether a model follows.

    The border, the forest and the folds are those of `shortcut_border`.

    Args:
        table: of a manifest.
        thumbnails: of its rows.
        positive: the class that counts as disease, or several.
        seed: of draw, folds and forests.

    Returns:
        By path, in the table's order: the score of the image's unit by a forest that was grown without its fold.
        Missing where the image is unreadable or unlabelled, for units beyond the 5,000 that are drawn, and everywhere
        where positives or negatives are of fewer than 10 groups.
    """
    is_positive = table["label"].isin([positive] if isinstance(positive, str) else list(positive))
    sides = is_positive.map({False: "0", True: "1"}).where(table["label"].notna())  # as they sort: 1 is positive
    scores = pd.Series(np.nan, index=table["path"])
    units = draw_units(table.assign(label=sides), thumbnails, seed)
    if not isinstance(units, str):
        of_units = forest_scores(_border_features(units), units.held_out, seed, num_trees=_NUM_TREES)[:, 1]
        scores[units.rows["path"]] = of_units[units.unit_of_row]
    return scores


def _finding(name: str, probe: _Probe, told: Telling, adjusted: float | None, units: ProbedUnits) -> Finding:
    more = probe.details(units, told)
    is_warning = adjusted is not None and told.low is not None and told.low > MIN_LOW and adjusted < MAX_P_VALUE
    alone = more.get("single_class_sources", {})
    of_one_class = f"; one class alone in {name_some(f'{k} ({v})' for k, v in alone.items())}" if alone else ""
    drawn = f"; {len(units.held_out.labels)} of {units.num_all} units drawn" if units.num_all > MAX_UNITS else ""
    if units.num_all_classes > len(units.classes):
        drawn += f"; the {len(units.classes)} of {units.num_all_classes} classes with most groups"
    details = {
        "stage": name,
        "p_value": told.p_value,
        "p_value_holm": adjusted,
        "is_told": _is_told(told),
        "limits": f"approximate: group bootstrap and permutation of held-out scores, without refit; {LEAN}",
        "classes": list(units.classes),
        "num_units": len(units.held_out.labels),
        "num_groups": len(units.held_out.strata),
        "num_units_before_draw": units.num_all,
        **more,
    }
    return Finding(
        probe.kind,
        "warning" if is_warning or alone else "note",
        f"{name}: {probe.what} {_in_words(told)}{of_one_class}{drawn}",
        value=told.value,
        low=told.low,
        high=told.high,
        details=details,
    )


def _is_told(told: Telling) -> bool:
    return told.low is not None and told.low > 0.5


def _in_words(told: Telling) -> str:
    """Limits stand beside a class that is told alone: below 0.5 they would seem to prove something."""
    if _is_told(told):
        limits = f"({told.low:.3f} to {told.high:.3f})"
        return f"the class is told in cross-validation with AUROC {told.value:.3f} {limits}"
    if told.value < 0.5:
        return f"the class is not told (AUROC {told.value:.3f}; {LEAN})"
    return f"the class is not told beyond chance (AUROC {told.value:.3f})"


def _probes(units: ProbedUnits, seed: int) -> Iterator[_Probe]:
    def forest(features: Floats | pd.DataFrame) -> _Scores:
        return lambda units: forest_scores(np.asarray(features), units.held_out, seed, num_trees=_NUM_TREES)

    metadata = _metadata_features(units)
    yield _Probe(
        "shortcut_metadata",
        "from the files' size, form and tags alone",
        forest(metadata),
        lambda units, told: {"alone": _each_alone(units, _by_column(metadata), seed, told)},
    )
    yield _Probe(
        "shortcut_border",
        "from the outer 12.5 % of the pictures alone",
        forest(_border_features(units)),
    )
    columns = [column for column in units.rows.columns if column not in {*_KNOWN_COLUMNS, "unit_index"}]
    if columns:
        by_column = {column: _encode(units, units.rows[column]) for column in columns[:_MAX_COLUMNS]}
        yield _Probe(
            "shortcut_column",
            f"from the table's columns alone ({name_some(columns)})",
            forest(np.concatenate(list(by_column.values()), axis=1)),
            lambda units, told: {"alone": _each_alone(units, by_column, seed, told)},
        )
    if "source" in units.rows.columns:
        counts = pd.crosstab(units.rows["source"], units.rows["label"])
        yield _Probe(
            "source_confounding",
            "from the source alone",
            forest(_encode(units, units.rows["source"])),
            lambda units, _: {
                "images_by_source": counts.head(_MAX_LEVELS).to_dict("index"),
                "single_class_sources": single_class_sources(units.rows),
            },
        )
    yield from _baselines(units, forest, seed)


def single_class_sources(rows: pd.DataFrame) -> dict[str, str]:
    """Sources whose groups are all of one class, more of them than chance would give; with that class.

    The chance that a source's groups, drawn from all, are of one class (hypergeometric), times the number of sources
    (Bonferroni), is below 0.05.

    Args:
        rows: source, group, label.
    """
    from scipy.stats import hypergeom

    of_groups = rows.dropna(subset=["source"]).drop_duplicates(["group", "label"])
    of_groups = of_groups[~of_groups["group"].duplicated(keep=False)]  # a group of both classes says nothing here
    totals, by_source = of_groups["label"].value_counts(), of_groups.groupby("source")["label"]
    alone = {}
    for source, labels in by_source:
        if labels.nunique() == 1:
            label = labels.iloc[0]
            chance = hypergeom.sf(len(labels) - 1, len(of_groups), totals[label], len(labels))
            if chance * by_source.ngroups < MAX_P_VALUE:
                alone[str(source)] = str(label)
    return alone


def _baselines(units: ProbedUnits, forest: Callable[[Floats], _Scores], seed: int) -> Iterator[_Probe]:
    small = halved(units.thumbnails).reshape(len(units.rows), -1)
    flat = units.mean_of_rows(small)
    statistics = units.mean_of_rows(intensity_statistics(units.thumbnails))
    for baseline, what, score in (
        ("thumbnail_forest", "by a forest on the pictures at 32 x 32 pixels", forest(flat)),
        (
            "thumbnail_neighbour",
            "by the most alike picture at 32 x 32 pixels",
            partial(_neighbour_scores, flat),
        ),
        ("intensity_statistics", "from brightness and contrast of the whole pictures", forest(statistics)),
    ):
        yield _Probe("simple_baseline", what, score, partial(_named, baseline), is_baseline=True)


def _named(baseline: str, *_: object) -> dict[str, Any]:
    return {"baseline": baseline}


def forest_scores(features: Floats, units: HeldOutUnits, seed: int, *, num_trees: int) -> Floats:
    """(U, K) class probabilities of each unit by a forest that was grown without its fold."""
    scores = np.full((len(features), units.num_classes), 1.0 / units.num_classes)
    if (features == features[:1]).all():
        return scores
    for fold in np.unique(units.folds):
        held_out = units.folds == fold
        scores[held_out] = predict_by_forest(
            features, units.labels, ~held_out, units.num_classes, seed, num_trees=num_trees
        )
    return scores


def _neighbour_scores(flat: Floats, probed: ProbedUnits) -> Floats:
    """(U, K) the higher, the nearer the most alike picture of a class in the other folds."""
    units = probed.held_out
    scores = np.empty((len(flat), units.num_classes))
    for fold in np.unique(units.folds):
        held_out = units.folds == fold
        scores[held_out] = predict_by_neighbour(flat, units.labels, ~held_out, units.num_classes)
    return scores


def _border_features(units: ProbedUnits) -> Floats:
    """(U, B) pixels."""
    return units.mean_of_rows(border(np.round(halved(units.thumbnails)).astype(np.uint8)))


def _metadata_features(units: ProbedUnits) -> pd.DataFrame:
    parts = {column: _encode(units, units.metadata[column]) for column in units.metadata.columns}
    parts["num_images"] = np.bincount(units.unit_of_row)[:, None].astype(np.float64)
    columns = [f"{column}.{index}" for column, part in parts.items() for index in range(part.shape[1])]
    return pd.DataFrame(np.concatenate(list(parts.values()), axis=1), columns=columns)


def _by_column(features: pd.DataFrame) -> dict[str, Floats]:
    names = [column.rsplit(".", 1)[0] for column in features.columns]
    return {name: features.to_numpy()[:, [other == name for other in names]] for name in dict.fromkeys(names)}


def _each_alone(units: ProbedUnits, by_column: Mapping[str, Floats], seed: int, together: Telling) -> dict[str, float]:
    """AUROC of each column by itself, the highest first; those that are the same everywhere are left out."""
    varying = {column: part for column, part in by_column.items() if not (part == part[:1]).all()}
    if len(varying) == 1:
        return dict.fromkeys(varying, together.value)
    values = {
        column: measure(
            units.held_out, forest_scores(part, units.held_out, seed, num_trees=_NUM_TREES_OF_A_COLUMN)
        ).value
        for column, part in varying.items()
    }
    return dict(sorted(values.items(), key=lambda item: -item[1]))


def _encode(units: ProbedUnits, column: pd.Series[Any]) -> Floats:
    """(U, F): numbers as they are, anything else as one column a level; missing is a column of its own."""
    missing = column.isna().to_numpy()
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    if np.array_equal(np.isnan(numbers), missing) and not missing.all():
        parts = [np.where(missing, np.nanmedian(numbers), numbers)[:, None]]
    else:
        levels = column.astype("string").value_counts().index[:_MAX_LEVELS]
        parts = [
            (column.astype("string") == level).fillna(False).to_numpy(dtype=np.float64)[:, None] for level in levels
        ]
    if missing.any():
        parts.append(missing.astype(np.float64)[:, None])
    return units.mean_of_rows(np.concatenate(parts, axis=1))
