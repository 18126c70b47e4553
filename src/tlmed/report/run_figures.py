"""The pictures that a run leaves in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlmed.evaluation.evaluate import aggregate_units
from tlmed.report.figures import draw_arm_comparison, draw_confusion_matrix, draw_learning_curves
from tlmed.runtime.store import Store
from tlmed.transfer.plan import STAGES, ChainPlan


def draw_run(folder: Path, plan: ChainPlan, predictions: pd.DataFrame, metrics: dict[str, Any], store: Store) -> None:
    """Draw learning curves of every stage, a confusion matrix an arm and seed, and the arms' AUROC side by side."""
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    for key, task in plan.tasks.items():
        path = place / f"learning-{'-'.join(one.stage.name for one in task.lineage())}-{key[:6]}-seed{task.seed}.png"
        if not path.exists():
            history = pd.read_csv(store.folder(STAGES, key) / "history.csv")
            draw_learning_curves(history, f"{task.route}, seed {task.seed}", path)
    classes = [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]
    test = predictions[predictions["split"] == "test"]
    for (arm, seed), part in test.groupby(["arm", "seed"], sort=False):
        path = place / f"confusion-{arm}-seed{seed}-{plan.last[str(arm), int(str(seed))][:6]}.png"
        units = aggregate_units(part)
        predicted = units[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)
        chosen = np.array(classes)[predicted]
        draw_confusion_matrix(units["label"].to_numpy(), chosen, classes, f"{arm}, seed {seed}, test", path)
    draw_arm_comparison(metrics, path=place / "arms-auroc.png", metric="auroc")
