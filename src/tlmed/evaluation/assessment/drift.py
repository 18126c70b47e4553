"""Whether images look like those that a model was trained on: brightness, contrast, size, format.

What is kept of the training images are sums and a few hundred rows of such figures, no image and no identifier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS
from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.array_checks import group_index
from tlmed.evaluation.statistics.auroc import auroc_interval
from tlmed.evaluation.statistics.multiplicity import bonferroni_level

MAX_IMAGES = 2000
_NUM_KEPT_ROWS = 400
_QUANTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)
_HEADER_NUMBERS, _HEADER_NAMES = ("width", "height", "ratio"), ("format", "mode")
_IMAGES_AT_ONCE = 64
_LARGE_DIFFERENCE, _LARGE_SHARE_OUTSIDE, _LARGE_SHIFT_OF_SHARES, _TOLD_APART = 0.5, 0.2, 0.2, 0.6
_NUM_TREES = 200
_LEAN = "held-out scores lean below 0.5 where there is nothing to learn"


def intensity_levels(pixels: NDArray[np.uint8]) -> pd.DataFrame:
    """Return mean, standard deviation and 5, 50 and 95 % percentiles of each of (N, C, H, W) images, from 0 to 255."""
    parts = []
    for start in range(0, len(pixels), _IMAGES_AT_ONCE):
        flat = np.asarray(pixels[start : start + _IMAGES_AT_ONCE]).reshape(len(pixels[start:][:_IMAGES_AT_ONCE]), -1)
        percentiles = np.percentile(flat, [5, 50, 95], axis=1)
        parts.append(np.column_stack([flat.mean(axis=1), flat.std(axis=1), *percentiles]))
    names = ["intensity_mean", "intensity_std", "intensity_p5", "intensity_p50", "intensity_p95"]
    return pd.DataFrame(np.concatenate(parts), columns=names)


def draw_images(num_images: int, seed: int = 0) -> Integers:
    """Return the rising row numbers of at most 2,000 images, drawn at random where there are more."""
    if num_images <= MAX_IMAGES:
        return np.arange(num_images)
    return np.sort(np.random.default_rng(seed).choice(num_images, MAX_IMAGES, replace=False))


def input_summary(
    pixels: NDArray[np.uint8],
    headers: pd.DataFrame | None = None,
    groups: ArrayLike | None = None,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return what a bundle remembers of its training images, as JSON holds it.

    Args:
        pixels: (N, C, H, W) training images in the form that the model sees; of more than 2,000 some are drawn.
        headers: width, height, ratio, format and mode of their N files, see `data.image_headers`.
        groups: (N,) the group of each image; kept as numbers without meaning.
        seed: of the draws.

    Raises:
        ValueError: no images, or lengths that differ.
    """
    if len(pixels) == 0 or (headers is not None and len(headers) != len(pixels)):
        raise ValueError(f"{len(pixels)} images with {0 if headers is None else len(headers)} headers do not fit")
    rows = draw_images(len(pixels), seed)
    of_image = group_index(groups, len(pixels))[rows]
    features = input_features(pixels[rows], None if headers is None else headers.iloc[rows].reset_index(drop=True))
    numbers = features[_numeric(features)]
    generator = np.random.default_rng(seed)
    kept = generator.permutation(len(rows))[:_NUM_KEPT_ROWS]
    return {
        "num_images": len(pixels),
        "num_measured": len(rows),
        "num_groups": len(np.unique(of_image)),
        "features": {name: _describe(numbers[name].to_numpy()) for name in numbers},
        "shares": {name: _shares(features[name]) for name in _HEADER_NAMES if name in features},
        "sample": {
            "columns": list(numbers),
            "rows": [[float(f"{value:.5g}") for value in row] for row in numbers.to_numpy()[kept]],
            "groups": pd.factorize(of_image[kept])[0].tolist(),
        },
    }


def input_features(pixels: NDArray[np.uint8], headers: pd.DataFrame | None) -> pd.DataFrame:
    """Return a row an image: its `intensity_levels` and, where known, what its file's header says."""
    levels = intensity_levels(pixels)
    return levels if headers is None else pd.concat([levels, headers], axis=1)


def compare_input(summary: Mapping[str, Any], features: pd.DataFrame, groups: ArrayLike) -> dict[str, Any]:
    """Compare local images with the training images.

    Args:
        summary: of training, see `input_summary`.
        features: of N local images, see `input_features`.
        groups: (N,) the group of each image.

    Returns:
        `features` {NAME: {training_mean, local_mean, standardised_difference, share_outside}}: the difference in units
        of the standard deviation (None where neither varies), and the share of local images outside the central 98 %
        of training (2 % are to be expected); `shares` {NAME: {training, local, shifted}}: what share would have to
        change; `told_apart`: how well a random forest that learned on half of the groups tells local from training
        images in the other half, an AUROC with its interval, 0.5 being not at all, and below it no interval but
        `no_interval`: why; `warnings`: a sentence on each difference that is large and more than chance.

    Source: standardised difference, Austin, Stat Med 2009;28:3083; classifier two-sample test, Lopez-Paz & Oquab,
    ICLR 2017.
    """
    compared = {
        name: _compare_one(trained, features[name].to_numpy())
        for name, trained in summary["features"].items()
        if name in features
    }
    shares = {
        name: _compare_shares(trained, _shares(features[name]))
        for name, trained in summary["shares"].items()
        if name in features
    }
    of_image = group_index(groups, len(features))
    told_apart = _told_apart(summary["sample"], features, of_image)
    chance = _chance_difference((summary["num_groups"], len(np.unique(of_image))), len(compared))
    return {
        "num_training_images": summary["num_images"],
        "num_local_images": len(features),
        "features": compared,
        "shares": shares,
        "told_apart": told_apart,
        "warnings": _warnings(compared, shares, told_apart, chance),
    }


def _numeric(features: pd.DataFrame) -> list[str]:
    return [name for name in map(str, features) if name.startswith("intensity") or name in _HEADER_NUMBERS]


def _describe(values: Floats) -> dict[str, Any]:
    quantiles = np.percentile(values, _QUANTILES)
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "percentiles": dict(zip(map(str, _QUANTILES), quantiles.tolist(), strict=True)),
    }


def _shares(names: pd.Series[str]) -> dict[str, float]:
    return {str(name): float(share) for name, share in names.value_counts(normalize=True).items()}


def _compare_one(trained: Mapping[str, Any], local: Floats) -> dict[str, float | None]:
    spread = math.sqrt((trained["std"] ** 2 + local.var()) / 2)
    low, high = trained["percentiles"]["1"], trained["percentiles"]["99"]
    # Constant features differ by rounding alone.
    margin = 1e-9 * max(abs(low), abs(high), 1.0)
    difference = float(local.mean()) - trained["mean"]
    return {
        "training_mean": trained["mean"],
        "local_mean": float(local.mean()),
        "standardised_difference": difference / spread if spread > margin else None,
        "share_outside": float(((local < low - margin) | (local > high + margin)).mean()),
    }


def _compare_shares(trained: Mapping[str, float], local: Mapping[str, float]) -> dict[str, Any]:
    names = sorted({*trained, *local})
    shifted = sum(abs(trained.get(name, 0.0) - local.get(name, 0.0)) for name in names) / 2
    return {"training": dict(trained), "local": dict(local), "shifted": shifted}


def _told_apart(sample: Mapping[str, Any], features: pd.DataFrame, groups: Integers) -> dict[str, Any]:
    columns = [name for name in sample["columns"] if name in features]
    trained = np.array(sample["rows"], dtype=np.float64)[:, [sample["columns"].index(name) for name in columns]]
    local = features[columns].to_numpy(dtype=np.float64)
    generator = np.random.default_rng(0)
    chosen = np.sort(generator.permutation(len(local))[:_NUM_KEPT_ROWS])
    local, groups = local[chosen], groups[chosen]
    sides = [np.array(sample["groups"], dtype=np.int64), groups]
    fewest = min(len(np.unique(side)) for side in sides)
    if fewest < 2 * MIN_GROUPS_IN_A_CLASS:
        return {
            "auroc": None,
            "too_few": f"{fewest} groups of training or local images, not {2 * MIN_GROUPS_IN_A_CLASS}",
        }
    from sklearn.ensemble import RandomForestClassifier

    learns = np.concatenate([_half_of_groups(side, generator) for side in sides])
    is_local = np.repeat([False, True], [len(trained), len(local)])
    values = np.concatenate([trained, local])
    owners = np.concatenate([sides[0], sides[1] + sides[0].max() + 1])
    forest = RandomForestClassifier(
        _NUM_TREES, min_samples_leaf=3, class_weight="balanced", random_state=0, n_jobs=1
    ).fit(values[learns], is_local[learns])
    scores = forest.predict_proba(values[~learns])[:, 1]
    found = auroc_interval(is_local[~learns], scores, owners[~learns])
    if found.value is not None and found.value < 0.5:
        # What a side has less of in the half to learn from it has more of in the other: limits would exclude 0.5.
        return {"auroc": {"value": found.value, "low": None, "high": None, "no_interval": _LEAN}}
    return {"auroc": {"value": found.value, "low": found.low, "high": found.high}}


def _half_of_groups(groups: Integers, generator: np.random.Generator) -> NDArray[np.bool_]:
    names = generator.permutation(np.unique(groups))
    return np.isin(groups, names[: len(names) // 2])


def _chance_difference(num_groups: tuple[int, int], num_features: int) -> float:
    """The standardised difference that chance exceeds, in any of the features, in at most 5 % of all sets.

    Images of a group count as one, as if they were all alike; features are judged at the Bonferroni level.
    """
    quantile = float(norm.ppf((1 + bonferroni_level(0.95, num_features)) / 2))
    return quantile * math.sqrt(sum(1 / number for number in num_groups))


def _warnings(
    compared: Mapping[str, Mapping[str, float | None]],
    shares: Mapping[str, Mapping[str, Any]],
    told_apart: Mapping[str, Any],
    chance: float,
) -> list[str]:
    sentences: list[str] = []
    for name, one in compared.items():
        difference, outside = one["standardised_difference"], one["share_outside"] or 0.0
        is_far = difference is not None and abs(difference) > max(_LARGE_DIFFERENCE, chance)
        if is_far or outside > _LARGE_SHARE_OUTSIDE:
            by = "" if difference is None else f" ({difference:+.1f} standard deviations)"
            sentences.append(
                f"{name.replace('_', ' ')}: {one['local_mean']:.4g} here, {one['training_mean']:.4g} in training{by}; "
                f"{outside:.0%} of the images lie outside the range of training."
            )
    for name, one_share in shares.items():
        if one_share["shifted"] > _LARGE_SHIFT_OF_SHARES:
            sentences.append(
                f"{name}: {_in_words(one_share['local'])} here, {_in_words(one_share['training'])} in training."
            )
    found = told_apart["auroc"]
    if found is not None and found["low"] is not None and found["low"] > _TOLD_APART:
        sentences.append(
            f"Local and training images can be told apart (AUROC {found['value']:.2f}, {found['low']:.2f} to "
            f"{found['high']:.2f}; 0.5 is not at all): the model meets images unlike those it learned on."
        )
    return sentences


def _in_words(shares: Mapping[str, float]) -> str:
    ordered: Sequence[tuple[str, float]] = sorted(shares.items(), key=lambda pair: -pair[1])[:3]
    return ", ".join(f"{share:.0%} {name}" for name, share in ordered)
