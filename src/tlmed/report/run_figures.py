"""The pictures that a run leaves in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlmed.evaluation.evaluate import aggregate_units
from tlmed.report.figures import draw_arm_comparison, draw_confusion_matrix, draw_learning_curves
from tlmed.report.plan_view import seeds_in_words
from tlmed.runtime.store import Store
from tlmed.transfer.plan import STAGES, ChainPlan


def draw_run(folder: Path, plan: ChainPlan, predictions: pd.DataFrame, metrics: dict[str, Any], store: Store) -> None:
    """Draw what a run came to.

    Learning curves of every stage that takes steps (logistic regression takes none), a confusion matrix an arm and
    seed, one for seeds that share their result, and the arms' AUROC side by side.
    """
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    for key, task in plan.tasks.items():
        path = place / f"learning-{'-'.join(one.stage.name for one in task.lineage())}-{key[:6]}-seed{task.seed}.png"
        if task.strategy.kind != "logistic-regression" and not path.exists():
            history = pd.read_csv(store.folder(STAGES, key) / "history.csv")
            draw_learning_curves(history, f"{task.route}, seed {task.seed}", path)
    classes = [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]
    test = predictions[predictions["split"] == "test"]
    seeds: dict[tuple[str, str], list[int]] = {}
    for (arm, seed), key in plan.last.items():
        seeds.setdefault((arm, key), []).append(seed)
    for (arm, key), alike in seeds.items():
        path = place / f"confusion-{arm}-seed{alike[0]}-{key[:6]}.png"
        units = aggregate_units(test[(test["arm"] == arm) & (test["seed"] == alike[0])])
        predicted = units[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)
        chosen = np.array(classes)[predicted]
        draw_confusion_matrix(units["label"].to_numpy(), chosen, classes, f"{arm}, {seeds_in_words(alike)}, test", path)
    draw_arm_comparison(metrics, path=place / "arms-auroc.png", metric="auroc")
