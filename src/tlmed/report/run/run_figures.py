"""The pictures that a run leaves in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlmed.evaluation.evaluate import aggregate_units
from tlmed.report.run.figures import draw_arm_comparison, draw_confusion_matrix, draw_learning_curves
from tlmed.report.run.plan_view import seeds_in_words
from tlmed.runtime.store import Store, content_key
from tlmed.transfer.plan import ChainPlan
from tlmed.transfer.stage_task import STAGES


def draw_run(folder: Path, plan: ChainPlan, predictions: pd.DataFrame, metrics: dict[str, Any], store: Store) -> None:
    """Draw what a run came to.

    Learning curves of every stage that takes steps (logistic regression takes none; those of single folds are left
    out), a confusion matrix an arm and seed, one for seeds that share their result, and the arms' AUROC side by side.
    """
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    of_folds = set(plan.last.values()) if plan.folds is not None else set()
    for key, task in plan.tasks.items():
        path = place / f"learning-{'-'.join(one.stage.name for one in task.lineage())}-{key[:6]}-seed{task.seed}.png"
        if task.strategy.kind != "logistic-regression" and key not in of_folds and not path.exists():
            history = pd.read_csv(store.folder(STAGES, key) / "history.csv")
            draw_learning_curves(history, f"{task.route}, seed {task.seed}", path)
    classes = [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]
    test = predictions[predictions["split"] == "test"]
    where = "test" if plan.folds is None else "out of fold"
    seeds: dict[tuple[str, str], list[int]] = {}
    for arm, seed in dict.fromkeys((fit.arm, fit.seed) for fit in plan.last):
        trained = tuple(key for fit, key in plan.last.items() if (fit.arm, fit.seed) == (arm, seed))
        name = trained[0] if len(trained) == 1 else content_key(trained)
        seeds.setdefault((arm, name), []).append(seed)
    for (arm, key), alike in seeds.items():
        path = place / f"confusion-{arm}-seed{alike[0]}-{key[:6]}.png"
        units = aggregate_units(test[(test["arm"] == arm) & (test["seed"] == alike[0])])
        predicted = units[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)
        chosen = np.array(classes)[predicted]
        draw_confusion_matrix(
            units["label"].to_numpy(), chosen, classes, f"{arm}, {seeds_in_words(alike)}, {where}", path
        )
    draw_arm_comparison(metrics, path=place / "arms-auroc.png", metric="auroc")
