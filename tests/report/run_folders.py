"""Small run folders for the tests of the report: figures by the real functions, from random scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from tlmed.evaluation.comparison.compare import compare_arms
from tlmed.evaluation.comparison.recipe_question import asked_of_recipe
from tlmed.evaluation.decisions.calibrated_metrics import measure_calibrated
from tlmed.evaluation.estimates.baseline_comparison import compare_with_baselines
from tlmed.evaluation.evaluate import evaluate_predictions
from tlmed.recipe.load import load_recipe
from tlmed.recipe.recipe import Recipe, resolve_arms

PLACE = "/srv/hidden-hospital"
WEIGHTS = "generic-model.safetensors"
SIZES = {"ill": 14, "well": 16}
_IMAGES_A_GROUP = 2


def make_run(
    folder: Path,
    *,
    arms: Sequence[str] = ("generic", "generic-related"),
    seeds: Sequence[int] = (0, 1, 2),
    sizes: Mapping[str, int] = SIZES,
    positive: str | None = "ill",
    gain: float = 0.0,
    folds: bool = False,
    synthetic: bool = False,
    waive: Sequence[str] = (),
    study: Mapping[str, str] | None = None,
    **evaluation: Any,
) -> Path:
    """Write a run folder.

    Args:
        arms: of those that a chain of two stages and starting weights has.
        seeds: of each arm.
        sizes: test groups of each class; val has 12 of each, and each group has two images.
        positive: the class that counts as disease.
        gain: of the log-odds of the arm `generic-related`.
        folds: test in three folds, the seeds being repeats.
        waive: `groups_unknown` makes each image its own group; `near_duplicate` an error of two test images.
        evaluation: further settings of the recipe's.
    """
    folder.mkdir(parents=True)
    recipe = _write_recipe(folder, arms, seeds, positive, folds, synthetic, waive, study or {}, evaluation)
    cases = _cases(sizes, folds=folds, groups_known="groups_unknown" not in waive)
    predictions = pd.concat(
        [_scores(cases, arm, seed, gain if arm == "generic-related" else 0.0, folds) for arm in arms for seed in seeds],
        ignore_index=True,
    )
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    _splits(cases, predictions, folds).to_csv(folder / "splits.csv", index=False)
    audit = _audit(cases, waive)
    metrics = _measure(recipe, predictions, audit)
    _write(folder / "audit.json", audit)
    _write(folder / "metrics.json", metrics)
    _write(folder / "domains.json", _domains(cases, folds, synthetic, metrics["groups_known"]))
    _write(folder / "lineage.json", _lineage(arms, seeds))
    pd.DataFrame(columns=["key", "epoch", "learning_rate", "train_loss", "val_loss", "val_accuracy"]).to_csv(
        folder / "histories.csv", index=False
    )
    if len(arms) > 1:
        _write(folder / "comparison.json", _compare(recipe, predictions, metrics))
    return folder


def change(folder: Path, name: str, **values: Any) -> None:
    """Replace top-level values of one of the folder's JSON files."""
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    _write(folder / name, {**content, **values})


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def _write_recipe(
    folder: Path,
    arms: Sequence[str],
    seeds: Sequence[int],
    positive: str | None,
    folds: bool,
    synthetic: bool,
    waive: Sequence[str],
    study: Mapping[str, str],
    evaluation: Mapping[str, Any],
) -> Recipe:
    weights = f"file:{PLACE}/weights/{WEIGHTS}"
    known = {
        "probe": {"stages": ["target"], "strategy": {"kind": "logistic-regression"}},
        "generic": {"stages": ["target"]},
        "generic-related": {"stages": ["related", "target"]},
        "generic-longer": {"stages": ["target"], "control": "longer"},
        "generic-placebo": {"stages": ["related", "target"], "control": "placebo"},
    }
    phantoms = {"related": {"kind": "chest-findings"}, "target": {"kind": "chest-target"}}
    data = {
        name: {"phantom": phantoms[name]} if synthetic else {"manifest": f"{PLACE}/{name}-images/manifest.csv"}
        for name in ("related", "target")
    }
    content = {
        "name": "small",
        "backbone": "test_resnet",
        "weights": weights,
        "chain": [{"name": name, "data": data[name]} for name in data],
        "arms": {arm: known[arm] for arm in arms},
        "deliver": [arm for arm in ("probe", "generic", "generic-related") if arm in arms][-1],
        "evaluation": {
            "positive": positive,
            "seeds": list(seeds),
            "sampling": "case-control",
            **({"protocol": {"split": "kfold", "folds": 3, "repeats": len(seeds)}} if folds else {}),
            **evaluation,
        },
        "waive": list(waive),
        "study": dict(study),
        **({"note": "Constructed so that the middle domain helps."} if synthetic else {}),
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_recipe(folder / "recipe.yaml")


def _cases(sizes: Mapping[str, int], *, folds: bool, groups_known: bool) -> pd.DataFrame:
    rows = []
    for split, of_split in (("test", sizes), ("val", dict.fromkeys(sizes, 12)), ("train", dict.fromkeys(sizes, 20))):
        if folds and split != "test":
            continue
        for label, number in of_split.items():
            for index in range(number):
                for image in range(_IMAGES_A_GROUP):
                    path = f"scans/{label}/{split}-smith-{index}-{image}.png"
                    group = f"Smith_{label}_{split}_{index}" if groups_known else path
                    rows.append({"path": path, "unit": path, "group": group, "label": label, "split": split})
    return pd.DataFrame(rows)


def _scores(cases: pd.DataFrame, arm: str, seed: int, gain: float, folds: bool) -> pd.DataFrame:
    """Softmax of random log-odds that the images share over arms; seeds and arms add a little of their own."""
    known = cases[cases["split"] != "train"].reset_index(drop=True)
    labels = sorted(known["label"].unique())
    own = np.random.default_rng([seed, len(arm)])
    logits = np.random.default_rng(0).normal(0, 1, (len(known), len(labels)))
    logits += own.normal(0, 0.0 if arm == "probe" else 0.3, logits.shape)
    logits += (0.8 + gain) * (known["label"].to_numpy()[:, None] == np.array(labels))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    groups = pd.factorize(known["group"])[0]
    fold = (groups + seed) % 3 if folds else np.full(len(known), -1)
    probabilities = {f"p_{label}": shares[:, position] for position, label in enumerate(labels)}
    return known.assign(arm=arm, seed=seed, fold=fold, **probabilities)


def _splits(cases: pd.DataFrame, predictions: pd.DataFrame, folds: bool) -> pd.DataFrame:
    columns = ["path", "unit", "group", "split", "fold"]
    if not folds:
        return cases.assign(fold=-1)[columns]
    return pd.DataFrame(predictions.loc[predictions["arm"] == predictions["arm"].iloc[0], [*columns, "seed"]])


def _audit(cases: pd.DataFrame, waive: Sequence[str]) -> dict[str, Any]:
    first, second = cases["path"].iloc[0], cases["path"].iloc[-1]
    known = {"low": None, "high": None}
    near = {
        "kind": "near_duplicate",
        "severity": "error" if "near_duplicate" in waive else "note",
        "message": f"target: 1 pair of near-duplicates across splits ({first} and {second})",
        "paths": [first, second],
        "value": 1.0,
        **known,
        "details": {"stage": "target", "pairs": [{"paths": [first, second], "correlation": 0.99}]},
    }
    shortcut: dict[str, Any] = {
        "kind": "shortcut_metadata",
        "severity": "warning",
        "message": "target: from the files' size, form and tags alone the class is told with AUROC 0.910",
        "paths": [],
        "value": 0.91,
        **known,
        "details": {"stage": "target", "p_value": 0.01, "p_value_holm": 0.02, "alone": {"width": 0.9}},
    }
    unreadable = {
        "stage": "related",
        "path": "b/jones-1.png",
        "label": "well",
        "split": "train",
        "reason": "jones-1.png",
    }
    return {
        "findings": [near, shortcut],
        "waived": list(waive),
        "dropped": [{"stage": "related", "path": "b/jones-0.png", "label": "well", "split": "train", "reason": "copy"}],
        "unreadable": [unreadable],
        "not_done": [],
    }


def _measure(recipe: Recipe, predictions: pd.DataFrame, audit: Mapping[str, Any]) -> dict[str, Any]:
    settings, known = recipe.evaluation, "groups_unknown" not in recipe.waive
    stated: dict[str, Any] = {"positive": settings.positive, "sampling": settings.sampling}
    metrics = evaluate_predictions(predictions, unit="image", groups_known=known, **stated)
    arm = recipe.delivered_arm
    tested = predictions[(predictions["split"] == "test") & (predictions["arm"] == arm)]
    columns = [name for name in map(str, tested) if name.startswith("p_")]
    guess = tested.assign(arm="majority", **dict.fromkeys(columns, 1 / len(columns)))
    baselines = guess if (tested["fold"] >= 0).any() else guess[guess["seed"] == guess["seed"].min()]
    metrics |= {
        "delivered": arm,
        "weighted_training": False,
        "protocol": settings.protocol.model_dump(mode="json"),
        "baselines": compare_with_baselines(predictions, baselines, arm=arm, unit="image", **stated),
        "usage": [] if settings.positive is None else [_usage(arm, metrics["arms"][arm]["auroc"])],
        "external": {},
        "external_openings": {},
        "test_openings": 1,
        "chosen": [],
        "audit_warnings": [
            {name: one[name] for name in ("kind", "severity", "message")}
            for one in audit["findings"]
            if one["severity"] != "note"
        ],
    }
    metrics |= measure_calibrated(
        predictions, calibration=settings.calibration, operating_points=settings.operating_points, **stated
    )
    if any(one["severity"] == "error" for one in audit["findings"]):
        flagged = audit["findings"][0]["paths"]
        rest = predictions[~predictions["path"].isin(flagged)]
        metrics["without_flagged"] = {
            "num_flagged": len(flagged),
            **evaluate_predictions(rest, unit="image", groups_known=known, **stated),
        }
    return metrics


def _usage(arm: str, auroc: Mapping[str, Any]) -> dict[str, Any]:
    matched = {"where": "mode = RGB", "num_groups": 12, "auroc": {"value": 0.613, "low": 0.412, "high": 0.781}}
    variable = {
        "variable": "mode = RGB",
        "measure": "AUROC",
        "value": 0.8,
        "by_class": {},
        "p_value": 0.001,
        "p_value_holm": 0.001,
        "auroc_of_variable": 0.75,
        "is_followed": True,
        "is_shortcut": True,
        "matched": matched,
        "shift": 0.3,
    }
    untold = [{"variable": "column doctor = Dr Brown", "reason": "too few groups", "auroc_of_variable": 0.5}]
    overall = {name: auroc[name] for name in ("value", "low", "high")}
    return {
        "kind": "shortcut_usage",
        "severity": "warning",
        "message": f"arm {arm!r}: follows mode = RGB; this cannot be told for column doctor = Dr Brown: too few groups",
        "paths": [],
        "value": 0.8,
        "low": None,
        "high": None,
        "details": {"arm": arm, "auroc": overall, "num_units": 60, "variables": [variable], "cannot_be_told": untold},
    }


def _domains(cases: pd.DataFrame, folds: bool, synthetic: bool, groups_known: bool) -> dict[str, Any]:
    def counts(column: str) -> dict[str, dict[str, int]]:
        return {
            "out of fold" if folds else str(split): {
                str(label): int(number) for label, number in rows.groupby("label")[column].nunique().items()
            }
            for split, rows in cases.groupby("split", sort=False)
        }

    target = {
        "source": "target-images",
        "synthetic": synthetic,
        "licence": "CC-BY-4.0",
        "reference": "Smith et al. 2020",
        "group_column": "patient" if groups_known else None,
        "num_images": counts("path"),
        "num_units": counts("unit"),
        "num_groups": counts("group"),
        "num_groups_total": int(cases["group"].nunique()),
        "num_dropped": 0,
        "num_unreadable": 0,
    }
    related = {"source": "related-images", "licence": None, "reference": None, "group_column": None}
    return {"related": {**target, **related, "num_dropped": 12, "num_unreadable": 3}, "target": target}


def _lineage(arms: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    stage: dict[str, Any] = {
        "strategy": "finetune",
        "parent": None,
        "start": f"weights file:{WEIGHTS}",
        "route": "",
        "control": None,
        "num_train_images": 80,
        "num_val_images": 48,
        "classes": list(SIZES),
        "epochs": 3,
        "steps": 15,
        "seconds": 2.5,
        "device": "cpu",
        "training": {},
    }
    keys = {(arm, seed): f"{arm}-{seed}" for arm in arms for seed in seeds}
    return {
        "stages": {key: {"name": "target", "seed": seed, **stage} for (_, seed), key in keys.items()},
        "fits": [{"arm": arm, "seed": seed, "fold": -1, "key": key} for (arm, seed), key in keys.items()],
    }


def _compare(recipe: Recipe, predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> dict[str, Any]:
    asked = asked_of_recipe(recipe, list(metrics["arms"]))
    assert asked is not None
    found = compare_arms(
        predictions,
        asked,
        positive=recipe.evaluation.positive,
        unit="image",
        groups_known=metrics["groups_known"],
        split=recipe.evaluation.protocol.split,
    )
    registered = {
        "digest": "0123456789abcdef",
        "time": "2026-01-02T03:04:05+0000",
        "changed_after_looking": None,
        "openings_before": 0,
        "others_on_this_test": 0,
        "own_earlier": 0,
    }
    cost = {arm: {"steps": 1234.0, "seconds": None} for arm in resolve_arms(recipe)}
    return {**found, "registered": registered, "cost": cost}
