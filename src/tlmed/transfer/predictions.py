"""The trained chains' class probabilities of val and test images, kept in the store: no run computes them twice."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tlmed.data.manifest import Manifest
from tlmed.data.prepare import PreparedImages, images_name
from tlmed.runtime.integrity import check_intact, is_intact, publish_sealed, sealed_text
from tlmed.runtime.progress import track
from tlmed.runtime.store import Store, content_key, write_durably
from tlmed.transfer.plan import ChainPlan
from tlmed.transfer.stage_task import STAGES, StageTask

PREDICTIONS = "predictions"
_STAGE_FILE = "stage"


def predict_chain(
    plan: ChainPlan, target: Manifest, images: Mapping[str, PreparedImages], store: Store
) -> pd.DataFrame:
    """Return the predictions table of every fit of a plan.

    Args:
        images: by what `images_name` calls them.

    Returns:
        A row an image, arm and seed: path, unit, group, label, split, arm, seed, fold (-1 without folds), and
        p_<class>, softmax before calibration. Under folds every row is test: the fit's fold held it out.
    """
    parts = []
    for fit, key in plan.last.items():
        task = plan.tasks[key]
        table = plan.predicted_rows(fit, target.table).reset_index(drop=True)
        if table.empty:
            continue  # a refit has seen them all
        probabilities = predict_rows(task, table, images[images_name(task.stage.name, task.image)], store)
        part = table[["path", "unit", "group", "label", "split"]].assign(arm=fit.arm, seed=fit.seed, fold=fit.fold)
        for position, name in enumerate(task.classes):
            part[f"p_{name}"] = probabilities[:, position]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def predicted_stage(store: Store, key: str) -> str | None:
    """The key of the stage that a stored prediction came from; None where it is damaged."""
    return sealed_text(store.folder(PREDICTIONS, key), _STAGE_FILE)


def predict_rows(task: StageTask, table: pd.DataFrame, images: PreparedImages, store: Store) -> np.ndarray:
    """Return (N, K) probabilities of the table's rows, from the store where they are known."""
    digests = table["digest"].tolist()
    key = content_key({"stage": task.key, "digests": digests})
    file = store.folder(PREDICTIONS, key) / "probabilities.npy"
    if not is_intact(store, PREDICTIONS, key):
        with publish_sealed(store, PREDICTIONS, key) as folder:
            if folder is not None:
                _write_array(folder / file.name, _compute(task, table, images, store))
                write_durably(folder / _STAGE_FILE, task.key)
    probabilities: np.ndarray = np.load(file)
    return probabilities


def _write_array(file: Path, values: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, values)
    write_durably(file, stream.getvalue())


def _compute(task: StageTask, table: pd.DataFrame, images: PreparedImages, store: Store) -> np.ndarray:
    from tlmed.data.loaders import LabelledImages
    from tlmed.evaluation.predict import predict_logits, softmax
    from tlmed.runtime.device import launch
    from tlmed.transfer.stage import load_stage

    fabric = launch(task.recipe.runtime)
    check_intact(store, STAGES, task.key)
    classifier = load_stage(task, store.folder(STAGES, task.key)).to(fabric.device)
    rows = np.array([images.row_of[digest] for digest in table["digest"]], dtype=np.int64)
    unlabelled = LabelledImages(images.pixels, rows, np.zeros(len(rows), dtype=np.int64), table["path"].tolist())
    description = f"predicting {len(rows)} images ({task.route}, seed {task.seed})"
    with track(description, total=len(rows)) as progress:
        return softmax(predict_logits(classifier, unlabelled, fabric.device, progress.advance))
