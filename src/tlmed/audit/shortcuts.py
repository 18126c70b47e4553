"""Whether the class can be told without the disease: from file metadata, border, columns, source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlmed.audit.findings import Finding
from tlmed.audit.held_out import (
    MAX_UNITS,
    MIN_GROUPS_OF_A_CLASS,
    HeldOutUnits,
    Telling,
    draw_by_group,
    fold_by_group,
    measure,
)
from tlmed.audit.thumbnails import Thumbnails, border, halved, intensity_statistics
from tlmed.errors import name_some
from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.multiplicity import holm

MIN_LOW, MAX_P_VALUE = 0.60, 0.05

# Everything that is not one of these is metadata of the image or patient.
_KNOWN_COLUMNS = frozenset(
    ("path", "file", "label", "patient", "study", "series", "split", "source", "group", "unit", "digest")
)
# From here to 200 trees AUROC moves by about 0.01, from one draw of folds to the next by 0.04 (COVID-CT, phantoms).
_NUM_TREES, _NUM_TREES_OF_A_COLUMN = 64, 32
_MAX_LEVELS = 30
_MAX_CLASSES = 20  # time grows with their number: each is compared with the rest in every resample
_MAX_COLUMNS = 40

_Scores = Callable[["_Units"], Floats]


@dataclass(frozen=True, eq=False)
class _Units:
    """What the probes look at.

    Attributes:
        rows: table rows of the units that were drawn, with `unit_index` (R,).
        thumbnails: (R, S, S).
        metadata: R rows.
        held_out: labels, groups and folds of the U units.
        classes: their names.
        num_all: units of them there were before the draw.
        num_all_classes: that have enough groups.
    """

    rows: pd.DataFrame
    thumbnails: NDArray[np.uint8]
    metadata: pd.DataFrame
    held_out: HeldOutUnits
    classes: tuple[str, ...]
    num_all: int
    num_all_classes: int

    @property
    def unit_of_row(self) -> Integers:
        """(R,) index of each row's unit."""
        return self.rows["unit_index"].to_numpy()

    def mean_of_rows(self, values: NDArray[Any]) -> Floats:
        """(R, F) -> (U, F)."""
        sums = np.zeros((len(self.held_out.labels), values.shape[1]))
        np.add.at(sums, self.unit_of_row, values)
        return sums / np.bincount(self.unit_of_row)[:, None]


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
    details: Callable[[_Units, Telling], dict[str, Any]] = field(default=lambda *_: {})
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
    readable = ~table["digest"].isin(thumbnails.unreadable.keys()).to_numpy()
    units = _draw_units(table, thumbnails, readable, seed)
    if isinstance(units, str):
        return [Finding("shortcuts_unknown", "note", f"{name}: {units}", details={"stage": name})]
    probes = list(_probes(units, seed))
    told = [measure(units.held_out, probe.score(units)) for probe in probes]
    adjusted = iter(holm([one.p_value for probe, one in zip(probes, told, strict=True) if not probe.is_baseline]))
    return [
        _finding(name, probe, one, None if probe.is_baseline else float(next(adjusted)), units)
        for probe, one in zip(probes, told, strict=True)
    ]


def _finding(name: str, probe: _Probe, told: Telling, adjusted: float | None, units: _Units) -> Finding:
    more = probe.details(units, told)
    is_warning = adjusted is not None and told.low is not None and told.low > MIN_LOW and adjusted < MAX_P_VALUE
    alone = more.get("single_class_sources", {})
    of_one_class = f"; one class alone in {name_some(f'{k} ({v})' for k, v in alone.items())}" if alone else ""
    limits = "" if told.low is None else f" ({told.low:.3f} to {told.high:.3f})"
    drawn = f"; {len(units.held_out.labels)} of {units.num_all} units drawn" if units.num_all > MAX_UNITS else ""
    if units.num_all_classes > len(units.classes):
        drawn += f"; the {len(units.classes)} of {units.num_all_classes} classes with most groups"
    details = {
        "stage": name,
        "p_value": told.p_value,
        "p_value_holm": adjusted,
        "limits": "approximate: group bootstrap and permutation of held-out scores, without refit",
        "classes": list(units.classes),
        "num_units": len(units.held_out.labels),
        "num_groups": len(units.held_out.strata),
        "num_units_before_draw": units.num_all,
        **more,
    }
    return Finding(
        probe.kind,
        "warning" if is_warning or alone else "note",
        f"{name}: {probe.what} the class is told with AUROC {told.value:.3f}{limits}{of_one_class}{drawn}",
        value=told.value,
        low=told.low,
        high=told.high,
        details=details,
    )


def _draw_units(table: pd.DataFrame, thumbnails: Thumbnails, readable: NDArray[np.bool_], seed: int) -> _Units | str:
    """Return what to probe, or why there is nothing to."""
    labelled = readable & table["label"].notna().to_numpy()
    groups_of = table[labelled].groupby("label")["group"].nunique()
    enough = groups_of[groups_of >= MIN_GROUPS_OF_A_CLASS]
    classes = tuple(sorted(enough.nlargest(_MAX_CLASSES).index))
    if len(classes) < 2:
        few = name_some(f"{label} ({count})" for label, count in groups_of.items()) or "no labels"
        return f"too few groups to look for shortcuts, which takes two classes of {MIN_GROUPS_OF_A_CLASS}: {few}"
    positions = np.flatnonzero(labelled & table["label"].isin(classes).to_numpy())
    rows = table.iloc[positions].reset_index(drop=True)
    first = rows.drop_duplicates("unit")
    labels = pd.Categorical(first["label"], categories=list(classes)).codes.astype(np.int64)
    groups = pd.factorize(first["group"])[0]
    drawn = draw_by_group(labels, groups, seed)
    unit_index = pd.Series(np.arange(len(drawn)), index=first["unit"].to_numpy()[drawn])
    kept = rows["unit"].isin(unit_index.index).to_numpy()
    rows = rows[kept].assign(unit_index=rows["unit"][kept].map(unit_index).astype(np.int64)).reset_index(drop=True)
    return _Units(
        rows,
        thumbnails.pixels[positions[kept]],
        thumbnails.metadata.iloc[positions[kept]].reset_index(drop=True),
        fold_by_group(labels[drawn], groups[drawn], seed),
        classes,
        len(first),
        len(enough),
    )


def _probes(units: _Units, seed: int) -> Iterator[_Probe]:
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
        forest(units.mean_of_rows(border(np.round(halved(units.thumbnails)).astype(np.uint8)))),
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


def _baselines(units: _Units, forest: Callable[[Floats], _Scores], seed: int) -> Iterator[_Probe]:
    small = halved(units.thumbnails).reshape(len(units.rows), -1)
    flat = units.mean_of_rows(small)
    statistics = units.mean_of_rows(intensity_statistics(units.thumbnails))
    for baseline, what, score in (
        ("thumbnail_forest", "by a forest on the pictures at 32 x 32 pixels", forest(flat)),
        ("thumbnail_neighbour", "by the most alike picture at 32 x 32 pixels", lambda u: _neighbour_scores(flat, u)),
        ("intensity_statistics", "from brightness and contrast of the whole pictures", forest(statistics)),
    ):
        yield _Probe("simple_baseline", what, score, partial(_named, baseline), is_baseline=True)


def _named(baseline: str, *_: object) -> dict[str, Any]:
    return {"baseline": baseline}


def forest_scores(features: Floats, units: HeldOutUnits, seed: int, *, num_trees: int) -> Floats:
    """(U, K) class probabilities of each unit by a forest that was grown without its fold."""
    from sklearn.ensemble import ExtraTreesClassifier

    scores = np.full((len(features), units.num_classes), 1.0 / units.num_classes)
    if (features == features[:1]).all():
        return scores
    for fold in np.unique(units.folds):
        held_out = units.folds == fold
        forest = ExtraTreesClassifier(num_trees, min_samples_leaf=2, class_weight="balanced", random_state=seed)
        forest.fit(features[~held_out], units.labels[~held_out])
        scores[np.ix_(held_out, forest.classes_)] = forest.predict_proba(features[held_out])
    return scores


def _neighbour_scores(flat: Floats, units: _Units) -> Floats:
    """(U, K) the higher, the nearer the most alike picture of a class in the other folds; contrast does not count."""
    from scipy.spatial.distance import cdist

    pictures = flat - flat.mean(axis=1, keepdims=True)
    pictures /= np.maximum(np.linalg.norm(pictures, axis=1, keepdims=True), 1e-9)
    labels, folds = units.held_out.labels, units.held_out.folds
    distances = np.full((len(flat), len(units.classes)), np.inf)
    for fold in np.unique(folds):
        held_out = folds == fold
        for index in range(len(units.classes)):
            others = pictures[~held_out & (labels == index)]
            distances[held_out, index] = cdist(pictures[held_out], others).min(axis=1)
    closeness = np.exp(-distances)
    return np.asarray(closeness / closeness.sum(axis=1, keepdims=True))


def _metadata_features(units: _Units) -> pd.DataFrame:
    parts = {column: _encode(units, units.metadata[column]) for column in units.metadata.columns}
    parts["num_images"] = np.bincount(units.unit_of_row)[:, None].astype(np.float64)
    columns = [f"{column}.{index}" for column, part in parts.items() for index in range(part.shape[1])]
    return pd.DataFrame(np.concatenate(list(parts.values()), axis=1), columns=columns)


def _by_column(features: pd.DataFrame) -> dict[str, Floats]:
    names = [column.rsplit(".", 1)[0] for column in features.columns]
    return {name: features.to_numpy()[:, [other == name for other in names]] for name in dict.fromkeys(names)}


def _each_alone(units: _Units, by_column: Mapping[str, Floats], seed: int, together: Telling) -> dict[str, float]:
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


def _encode(units: _Units, column: pd.Series[Any]) -> Floats:
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
