"""Records of small made-up runs, with figures that the package itself measures on made-up predictions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlmed.evaluation.decisions.calibrated_metrics import measure_calibrated
from tlmed.evaluation.evaluate import evaluate_predictions
from tlmed.evaluation.statistics.prevalence import Sampling
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.protocol import OperatingPointSettings
from tlmed.recipe.recipe import Recipe
from tlmed.report.record.run_record import RunRecord

ARMS = ("generic", "generic-related")
WEIGHTS = "file:/secret/place/start.safetensors"
REGISTERED = {
    "digest": "abc",
    "time": "2026-01-01",
    "changed_after_looking": None,
    "openings_before": 0,
    "others_on_this_test": 0,
    "own_earlier": 0,
}
VERDICT = {
    "word": "cannot be told here",
    "sentence": "Whether the related domain helped cannot be told here: +0.010 (-0.040 to +0.060).",
}


def run_record(
    *,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0,),
    classes: Sequence[str] = ("sick", "well"),
    positive: str | None = "sick",
    num_folds: int | None = None,
    groups_known: bool = True,
    num_units: int = 80,
    comparison: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    arm_settings: Mapping[str, Any] | None = None,
    **recipe: Any,
) -> RunRecord:
    """Return a record; `comparison`, `metrics` and `recipe` replace keys of what is made up."""
    content = recipe_content(arms, seeds, positive, num_folds, groups_known, recipe)
    content |= {"arms": arm_settings} if arm_settings is not None else {}
    parsed = parse_recipe(content, where="recipe.yaml")
    made = (tuple(arms), tuple(seeds), tuple(classes), num_folds, num_units)
    predictions = predicted(*made)
    measured = measure(made, positive, parsed.evaluation.sampling, groups_known) | dict(metrics or {})
    several = len(arms) > 1
    return RunRecord(
        folder=Path("runs/example"),
        recipe=parsed,
        metrics=measured,
        comparison={**compared(arms, seeds), **(comparison or {})} if several else None,
        audit={"findings": [], "waived": [], "dropped": [], "unreadable": [], "not_done": ["No tags were looked at."]},
        domains=domains_of(parsed, predictions, groups_known),
        lineage={"stages": {}, "fits": []},
        histories=pd.DataFrame(),
        predictions=predictions,
        splits=predictions[["path", "unit", "group", "split", "fold"]].drop_duplicates(),
        bundle=bundle_of(parsed, classes, positive),
        pictures=None,
    )


def recipe_content(
    arms: Sequence[str],
    seeds: Sequence[int],
    positive: str | None,
    num_folds: int | None,
    groups_known: bool,
    changes: Mapping[str, Any],
) -> dict[str, Any]:
    protocol: dict[str, Any] = {"split": "manifest"}
    if num_folds is not None:
        protocol = {"split": "kfold", "folds": num_folds, "repeats": len(seeds)}
    content: dict[str, Any] = {
        "name": "example",
        "backbone": "resnet18",
        "weights": WEIGHTS,
        "chain": [
            {"name": "related", "data": {"manifest": "/secret/related/manifest.csv"}},
            {"name": "target", "data": {"manifest": "/secret/target/manifest.csv"}},
        ],
        "arms": {arm: {"stages": ["related", "target"] if "related" in arm else ["target"]} for arm in arms},
        "deliver": arms[-1],
        "evaluation": {"positive": positive, "seeds": list(seeds), "protocol": protocol, "sampling": "case-control"},
        "waive": [] if groups_known else ["groups_unknown"],
    }
    evaluation = {**content["evaluation"], **changes.get("evaluation", {})}
    return {**content, **changes, "evaluation": evaluation}


def predicted(
    arms: Sequence[str], seeds: Sequence[int], classes: Sequence[str], num_folds: int | None, num_units: int
) -> pd.DataFrame:
    """Units two by two in a group of one class; scores that know the class a little."""
    index = np.arange(num_units)
    truth = (index // 2) % len(classes)
    parts = []
    for position, arm in enumerate(arms):
        for seed in seeds:
            generator = np.random.default_rng([position, seed])
            noise = generator.dirichlet(np.ones(len(classes)), size=num_units)
            scores = 0.7 * noise + 0.3 * np.eye(len(classes))[truth]
            rows = pd.DataFrame(scores, columns=[f"p_{name}" for name in classes])
            rows = rows.assign(
                path=[f"image{number}.png" for number in index],
                group=[f"patient{number // 2}" for number in index],
                label=np.array(classes)[truth],
                arm=arm,
                seed=seed,
            )
            if num_folds is None:
                rows = rows.assign(split=np.where(index < num_units // 2, "val", "test"), fold=-1)
            else:
                rows = rows.assign(split="test", fold=(index // (2 * len(classes))) % num_folds)
            parts.append(rows)
    table = pd.concat(parts, ignore_index=True)
    return table.assign(unit=table["path"])


@functools.cache
def _figures(made: tuple[Any, ...], positive: str | None, sampling: Sampling, groups_known: bool) -> dict[str, Any]:
    predictions = predicted(*made)
    points = (OperatingPointSettings(target=0.9),)
    return {
        **evaluate_predictions(
            predictions, positive=positive, unit="image", groups_known=groups_known, sampling=sampling
        ),
        **measure_calibrated(
            predictions, positive=positive, calibration="platt", operating_points=points, sampling=sampling
        ),
    }


def measure(made: tuple[Any, ...], positive: str | None, sampling: Sampling, groups_known: bool) -> dict[str, Any]:
    arm = made[0][-1]
    cell = {"value": 0.6, "low": 0.5, "high": 0.7}
    difference = {"value": 0.1, "low": -0.1, "high": 0.3, "arm": arm, "level": 0.99}
    return {
        **deepcopy(_figures(made, positive, sampling, groups_known)),
        "delivered": arm,
        "baselines": {"metadata": {"auroc": cell, "auroc_difference": difference}},
        "usage": [],
        "audit_warnings": [],
        "weighted_training": False,
        "external": {},
        "external_openings": {},
        "test_openings": 1,
        "chosen": [],
    }


def compared(arms: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    primary = f"{arms[-1]} minus {arms[-2]}"
    speaks_for = "b" if len(seeds) > 1 else "a"
    return {
        "primary": primary,
        "subject": "the related domain",
        "metric": "auroc",
        "margin": 0.02,
        "positive": "sick",
        "unit": "image",
        "registered": REGISTERED,
        "design": {
            "split": "fixed",
            "seeds": {arm: list(seeds) for arm in arms},
            "alike": [],
            "groups_known": True,
            "given_start": False,
        },
        "contrasts": [
            contrast(primary, "primary", speaks_for),
            contrast("generic minus other", "secondary", speaks_for, p_holm=0.4),
        ],
        "attribution": None,
        "verdict": VERDICT,
        "needed": {"num_groups": 240, "half_width": 0.05, "sentence": "About 240 test groups would be needed."},
        "cost": {},
    }


def contrast(name: str, role: str, speaks_for: str | None, **changes: Any) -> dict[str, Any]:
    claim = {"value": 0.01, "low": -0.04, "high": 0.06, "low_90": -0.03, "high_90": 0.05, "p_value": 0.7}
    return {
        "name": name,
        "role": role,
        "value": 0.01,
        "speaks_for": speaks_for,
        "claims": {kind: {**claim, "method": f"method {kind}"} for kind in ("a", "b", "c")},
        "verdict": "cannot be told here",
        "reason": None,
        "p_holm": None,
        **changes,
    }


def domains_of(recipe: Recipe, predictions: pd.DataFrame, groups_known: bool) -> dict[str, Any]:
    rows = predictions.drop_duplicates("path")
    by_split = {
        kind: {
            str(split): {str(label): int(count) for label, count in part.groupby("label")[column].nunique().items()}
            for split, part in rows.groupby("split")
        }
        for kind, column in (("num_images", "path"), ("num_units", "unit"), ("num_groups", "group"))
    }
    return {
        stage.name: {
            "source": f"{stage.name}-images",
            "licence": None,
            "reference": None,
            "group_column": "patient" if groups_known else None,
            **by_split,
            "num_groups_total": rows["group"].nunique(),
            "num_dropped": 3,
            "num_unreadable": 0,
        }
        for stage in recipe.chain
    }


def bundle_of(recipe: Recipe, classes: Sequence[str], positive: str | None) -> dict[str, Any]:
    """What `bundle.json` has, as far as the model card shows it."""
    return {
        "name": recipe.name,
        "arm": recipe.delivered_arm,
        "seed": 0,
        "num_seeds": len(recipe.evaluation.seeds),
        "num_members": recipe.evaluation.protocol.folds if recipe.evaluation.protocol.has_folds else 1,
        "backbone": recipe.backbone.model_dump(mode="json"),
        "image": recipe.image.model_dump(mode="json"),
        "classes": list(classes),
        "positive": positive,
        "calibration": {
            "method": "platt",
            "prevalence": 0.5,
            "fitted_on": "out-of-fold" if recipe.evaluation.protocol.has_folds else "val",
            "num_units": 40,
            "num_groups": 20,
            "note": None,
            "transferred": False,
        },
        "operating_points": [],
        "unit": "image",
        "sampling": recipe.evaluation.sampling,
        "stated_prevalence": None,
        "waived": list(recipe.waive),
        "synthetic": recipe.target.data.phantom is not None,
        "lineage": [],
        "licences": [{"what": "images of the domain target", "licence": "CC BY 4.0"}],
        "versions": {"tlmed": "0.1.0", "torch": "2.15.0"},
    }
