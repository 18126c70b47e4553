"""One stage task to one stage folder: weights in, training, weights out."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning.fabric import Fabric

from tlmed.data.loaders import LabelledImages
from tlmed.data.prepare import PreparedImages
from tlmed.models.backbones import prefers_channels_last
from tlmed.models.classifier import Classifier, create_classifier
from tlmed.models.weight_sources import weights_from_stage
from tlmed.models.weights import LoadReport, load_weights, read_state, save_weights
from tlmed.runtime.device import launch, seed_step
from tlmed.runtime.digests import file_digest
from tlmed.runtime.integrity import check_intact
from tlmed.runtime.ranks import run_in_ranks
from tlmed.runtime.store import Store, write_json_durably
from tlmed.transfer.estimate import num_passes
from tlmed.transfer.finite import check_finite
from tlmed.transfer.fit import FitResult, FitTask, fit
from tlmed.transfer.linear_probe import fit_on_cached_views
from tlmed.transfer.logistic_probe import fit_logistic_regression
from tlmed.transfer.loss import inverse_frequency
from tlmed.transfer.stage_task import STAGES, StageTask
from tlmed.transfer.strategies import create_strategy


def train_stage(task: StageTask, images: PreparedImages, store: Store, folder: Path) -> None:
    """Train a stage and write `model.safetensors`, `history.csv` and `stage.json` into `folder`.

    Raises:
        InputError: weights that do not fit, a non-finite loss.
        Stopped: after a stop signal, with the training state saved in the store's work folder.
    """
    if task.num_processes == 1:
        _train(task, images, store, folder)
    else:
        run_in_ranks(_train, task.num_processes, task, images, store, folder)


def _train(task: StageTask, images: PreparedImages, store: Store, folder: Path) -> None:
    """Train in this process, alone or as one of several; the first one writes."""
    fabric = launch(task.recipe.runtime, devices=task.num_processes)
    classifier, loaded = _create(task, store)
    if prefers_channels_last(classifier.backbone):
        classifier.to(memory_format=torch.channels_last)
    train, val = labelled(task.rows("train"), task.classes, images), labelled(task.rows("val"), task.classes, images)
    fit_task = FitTask(
        name=f"stage {task.stage.name} (seed {task.seed})",
        training=task.training,
        train=train,
        val=val if len(val) else None,
        seed=task.seed,
        work_folder=store.work_folder(STAGES, task.key),
    )
    result, solved = _learn(task, classifier, fit_task, fabric)
    if not fabric.is_global_zero:
        return
    check_finite(result.state, f"{fit_task.name}, trained")
    save_weights(result.state, folder / "model.safetensors")
    result.history.to_csv(folder / "history.csv", index=False)
    write_json_durably(folder / "stage.json", {**_card(task, result, loaded, fabric, folder), **solved})


def load_stage(task: StageTask, folder: Path) -> Classifier:
    """Return a trained stage's classifier, head included."""
    classifier = create_classifier(
        task.recipe.backbone, task.image, len(task.classes), mean=task.image.mean, std=task.image.std
    )
    classifier.load_state_dict(read_state(folder / "model.safetensors"))
    return classifier


def labelled(rows: pd.DataFrame, classes: tuple[str, ...], images: PreparedImages) -> LabelledImages:
    """Join manifest rows with their decoded images; a label outside `classes` is a programming error."""
    index = {name: position for position, name in enumerate(classes)}
    return LabelledImages(
        pixels=images.pixels,
        rows=np.array([images.row_of[digest] for digest in rows["digest"]], dtype=np.int64),
        labels=np.array([index[label] for label in rows["label"]], dtype=np.int64),
        paths=rows["path"].tolist(),
        groups=pd.factorize(rows["group"])[0],  # by first appearance, so that the groups' names do not count
    )


def _learn(
    task: StageTask, classifier: Classifier, fit_task: FitTask, fabric: Fabric
) -> tuple[FitResult, dict[str, object]]:
    """Train as the strategy says; also returns what the card tells of a head that was solved for."""
    settings, training, runtime = task.strategy, task.training, task.recipe.runtime
    if settings.kind == "logistic-regression":
        result, head = fit_logistic_regression(classifier, fit_task, fabric)
        return result, {"logistic_regression": head.card()}
    labels = torch.from_numpy(fit_task.train.labels)
    weights = inverse_frequency(labels, len(task.classes)) if training.class_weights else None
    strategy = create_strategy(settings, training, weights)
    if settings.kind == "linear-probe" and settings.cached_views:
        return fit_on_cached_views(classifier, strategy, fit_task, settings.cached_views, runtime, fabric), {}
    return fit(classifier, strategy, fit_task, runtime, fabric), {}


def _create(task: StageTask, store: Store) -> tuple[Classifier, LoadReport | None]:
    seed_step("initial weights", task.seed)
    classifier = create_classifier(
        task.recipe.backbone, task.image, len(task.classes), mean=task.image.mean, std=task.image.std
    )
    source, allowed = task.weights, task.recipe.allow_unmatched
    if task.parent is not None:
        check_intact(store, STAGES, task.parent.key)
        source, allowed = (
            weights_from_stage(store.folder(STAGES, task.parent.key), f"stage:{task.parent.stage.name}"),
            (),
        )
    if source is None:
        return classifier, None
    loaded = load_weights(classifier, source, keep_head=task.keeps_head, allow_unmatched=allowed)
    check_finite(classifier.state_dict(), f"weights {source.spec}")
    return classifier, loaded


def _card(
    task: StageTask, result: FitResult, loaded: LoadReport | None, fabric: Fabric, folder: Path
) -> dict[str, object]:
    num_seen = num_passes(task, result.num_steps)
    return {
        "name": task.stage.name,
        "recipe": task.recipe.name,
        "key": task.key,
        "parent": task.parent.key if task.parent is not None else None,
        "weights": task.weights.card() if task.weights is not None else None,
        "loaded": {"num_loaded": loaded.num_loaded, "num_resampled": loaded.num_resampled, "new": list(loaded.new)}
        if loaded is not None
        else None,
        "data": task.stage.data.model_dump(mode="json", exclude_none=True),
        "num_train_images": len(task.rows("train")),
        "num_val_images": len(task.rows("val")),
        "classes": list(task.classes),
        "image": task.image.model_dump(mode="json"),
        "mean": task.image.mean,
        "std": task.image.std,
        "backbone": task.recipe.backbone.model_dump(mode="json"),
        "strategy": task.strategy.model_dump(mode="json"),
        "training": task.training_card(),
        "seed": task.seed,
        "digest": file_digest(folder / "model.safetensors"),
        "num_steps": result.num_steps,
        "seconds": round(result.seconds, 1),
        "waiting_seconds": round(result.waiting_seconds, 1),
        "images_per_second": round(num_seen / max(result.seconds, 1e-9), 2),
        "device": str(fabric.device),
        "precision": task.recipe.runtime.precision,
        "versions": {name: version(name) for name in ("tlmed", "torch", "timm", "lightning")},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
