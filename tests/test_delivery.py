from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from tlmed.data.manifest import Manifest
from tlmed.delivery import deliver_bundle
from tlmed.evaluation.decisions.calibrated_metrics import measure_calibrated
from tlmed.evaluation.decisions.held_out_fit import fit_held_out
from tlmed.evaluation.evaluate import evaluate_predictions
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.protocol import EvaluationSettings
from tlmed.recipe.recipe import Recipe, resolve_arms, resolved
from tlmed.runtime.digests import file_digest
from tlmed.runtime.store import Store
from tlmed.transfer.plan import ChainPlan, Fit, plan_chain
from tlmed.transfer.stage_task import STAGES

EVALUATION: dict[str, Any] = {"positive": "sick", "operating_points": [{"target": 0.9}]}
FOLDED = {**EVALUATION, "protocol": {"split": "kfold", "folds": 3, "repeats": 2}}
NUM_CASES = 48


def recipe(evaluation: dict[str, Any] = EVALUATION, **changes: Any) -> Recipe:
    content: dict[str, Any] = {
        "name": "example",
        "image": {"size": 32},
        "backbone": "test_resnet",
        "chain": [{"name": "target", "data": {"manifest": "/data/manifest.csv"}}],
        "evaluation": evaluation,
        **changes,
    }
    return resolved(parse_recipe(content, "test"), device="cpu", precision="float32", workers=0)


def target(split: list[str]) -> Manifest:
    index = np.arange(NUM_CASES)
    table = pd.DataFrame({"path": [f"{one}.png" for one in index], "split": np.resize(split, NUM_CASES)})
    table = table.assign(digest=table["path"], unit=table["path"], group=table["path"])
    return Manifest("target", Path(), table.assign(label=np.where(index // 4 % 2, "sick", "well")), "patient")


def predicted(plan: ChainPlan, manifest: Manifest) -> pd.DataFrame:
    parts = []
    for number, (fit, _) in enumerate(plan.last.items()):
        rows = plan.predicted_rows(fit, manifest.table)[["path", "unit", "group", "label", "split"]]
        of_sick = np.random.default_rng(number).beta(2 + (rows["label"] == "sick"), 3 - (rows["label"] == "sick"))
        parts.append(rows.assign(arm=fit.arm, seed=fit.seed, fold=fit.fold, p_sick=of_sick, p_well=1 - of_sick))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def deliver(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Plan, stand-ins for the trained networks and their predictions, and the bundle of all that."""

    def run(made: Recipe, nothing_called: bool = False) -> SimpleNamespace:
        evaluation, store = made.evaluation, Store(tmp_path)
        manifest = target(["train"] if evaluation.protocol.has_folds else ["train", "val", "test", "test"])
        pairs = [(arm, seed) for arm in resolve_arms(made) for seed in evaluation.seeds]
        plan = plan_chain(made, {"target": manifest}, pairs, store)
        for key in plan.tasks:
            folder = store.folder(STAGES, key)
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_text(f"weights of {key}", encoding="utf-8")
            card = {"digest": file_digest(folder / "model.safetensors"), "versions": {"torch": "2"}}
            (folder / "stage.json").write_text(json.dumps(card), encoding="utf-8")
        predictions = predicted(plan, manifest)
        if nothing_called:
            predictions = predictions.assign(p_sick=predictions["p_sick"] / 2, p_well=1 - predictions["p_sick"] / 2)
        metrics = measured(predictions, evaluation, groups_known="groups_unknown" not in made.waive)
        deliver_bundle(tmp_path / "bundle", made, plan, predictions, metrics, {"num_images": 7}, store)
        card = json.loads((tmp_path / "bundle/bundle.json").read_text(encoding="utf-8"))
        text = (tmp_path / "bundle/README.md").read_text(encoding="utf-8")
        return SimpleNamespace(plan=plan, predictions=predictions, metrics=metrics, card=card, text=text)

    return run


def measured(predictions: pd.DataFrame, evaluation: EvaluationSettings, groups_known: bool) -> dict[str, Any]:
    positive = cast(str, evaluation.positive)
    metrics = evaluate_predictions(predictions, positive=positive, unit=evaluation.unit, groups_known=groups_known)
    rest: dict[str, Any] = {"external": {}, "audit_warnings": [], "usage": [], "baselines": {}}
    return (
        metrics
        | rest
        | measure_calibrated(
            predictions,
            positive=positive,
            calibration=evaluation.calibration,
            operating_points=evaluation.operating_points,
            sampling=evaluation.sampling,
            prevalence=evaluation.prevalence,
        )
    )


def weights_in(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.safetensors"))}


def test_a_fixed_split_delivers_the_first_seed_with_what_its_val_rows_say(
    deliver: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    made = recipe({**EVALUATION, "seeds": [4, 1], "sampling": "case-control", "prevalence": 0.05})
    got = deliver(made)
    own = got.predictions.query("arm == 'scratch' and seed == 4")
    rule = fit_held_out(own, positive="sick", operating_points=made.evaluation.operating_points)
    key = got.plan.last[Fit("scratch", 4)]
    assert weights_in(tmp_path / "bundle") == {"model.safetensors": f"weights of {key}"}
    assert got.card["format_version"] == 2
    assert (got.card["num_seeds"], got.card["num_members"], got.card["seed"]) == (2, 1, 4)
    told = json.loads(json.dumps(rule.to_card()))
    assert got.card["operating_points"] == told["operating_points"]
    assert got.card["calibration"] == {**told["calibration"], "transferred": False}
    assert [(one["fold"], one["stage_key"]) for one in got.card["members"]] == [(-1, key)]
    assert (got.card["sampling"], got.card["stated_prevalence"], got.card["unit"]) == ("case-control", 0.05, "image")
    cell = got.metrics["operating_points"]["scratch"][0]["sensitivity"]
    counts = f"({', '.join(map(str, cell['numerators']))} of {cell['denominator']};"
    text = got.text
    assert counts in text
    assert "calibrated (platt) on 12 val images of 12 groups, of which 50.0 % were positive" in text
    assert "`tlmed predict --prevalence 0.05`" in text
    assert "| `decision` | aim sensitivity 0.9 | " in text
    assert "| threshold on `p_sick` |" in text
    assert "measured there at a prevalence of 0.05" in text
    assert "stated prevalence where it is to be used: 0.05" in text
    brier = got.metrics["calibrated"]["scratch"]["metrics"]["brier"]
    assert f"| brier | {brier['value']:.3f} (at a prevalence of 0.05, probabilities shifted to it) | " in text
    assert "| ece | " in text and " | if calibrated, 0." in text


def test_after_folds_the_bundle_is_the_mean_of_the_first_repeat(
    deliver: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    got = deliver(recipe(FOLDED))
    keys = [got.plan.last[Fit("scratch", 0, fold)] for fold in range(3)]
    assert weights_in(tmp_path / "bundle") == {
        f"model-{fold + 1}.safetensors": f"weights of {key}" for fold, key in enumerate(keys)
    }
    assert [(one["fold"], one["stage_key"]) for one in got.card["members"]] == list(enumerate(keys))
    calibration = got.card["calibration"]
    assert (calibration["fitted_on"], calibration["num_units"], calibration["transferred"]) == (
        "out-of-fold",
        NUM_CASES,
        False,
    )
    assert "It is the mean of 3 networks, each trained without one fold of one repeat." in got.text
    assert "chosen on the other folds" in got.text
    assert "32 / 0" in got.text


def test_a_refit_is_one_network_whose_calibration_is_transferred(
    deliver: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    got = deliver(recipe({**FOLDED, "protocol": {**FOLDED["protocol"], "bundle": "refit"}}))
    assert list(weights_in(tmp_path / "bundle").values()) == [f"weights of {got.plan.last[Fit('scratch', 0)]}"]
    assert got.card["calibration"]["transferred"] is True
    assert got.card["calibration"]["num_units"] == NUM_CASES
    assert "**Calibration transferred, not measured**" in got.text
    assert "48 / 0" in got.text


def test_what_was_refused_stands_in_the_card(deliver: Callable[..., SimpleNamespace]) -> None:
    points = [{"kind": "assure", "of": "specificity", "target": 0.99}]
    got = deliver(recipe({**EVALUATION, "calibration": "isotonic", "operating_points": points}))
    assert got.card["operating_points"][0]["threshold"] is None
    assert "refused: to assure a specificity of 0.99" in got.text
    assert "**The probabilities are not calibrated**" in got.text
    assert "needs at least 1,000 units" in got.text
    assert "`decision`," not in got.text


def test_unknown_groups_and_larger_units_are_said(deliver: Callable[..., SimpleNamespace]) -> None:
    got = deliver(recipe({**EVALUATION, "unit": "study"}, waive=["groups_unknown"]))
    assert "Bundle.predict_units" in got.text
    assert "Waived checks: groups_unknown" in got.text
    assert "groups unknown: **image-level; leakage cannot be excluded**" in got.text
    assert "no prevalence stated: PPV, NPV" in got.text


def test_a_figure_that_does_not_exist_says_why(deliver: Callable[..., SimpleNamespace]) -> None:
    got = deliver(recipe(), nothing_called=True)
    assert "| ppv | undefined: nothing was called positive | |" in got.text


def test_an_arm_that_was_not_run_is_not_delivered(deliver: Callable[..., SimpleNamespace], tmp_path: Path) -> None:
    got = deliver(recipe())
    other = recipe(deliver="probe")
    last = {fit: key for fit, key in got.plan.last.items() if fit.arm != "probe"}
    deliver_bundle(
        tmp_path / "other", other, ChainPlan(got.plan.tasks, last), got.predictions, got.metrics, {}, Store(tmp_path)
    )
    assert not (tmp_path / "other").exists()
