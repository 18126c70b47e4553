"""Logistic-regression probe: the head is solved for on frozen features of the images as they are stored."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch
from lightning.fabric import Fabric

from tlmed.models.classifier import Classifier
from tlmed.transfer.fit import FitResult, FitTask
from tlmed.transfer.frozen_features import FrozenBackbone
from tlmed.transfer.linear_probe import with_head
from tlmed.transfer.logistic_regression import LinearHead, mean_cross_entropy, solve_head


def fit_logistic_regression(classifier: Classifier, task: FitTask, fabric: Fabric) -> tuple[FitResult, LinearHead]:
    """Solve for a classifier's head; val is measured, and plays no part in any choice.

    Returns:
        A result with no steps and one row of history, whose learning rate is empty; and what was solved for.

    Raises:
        NonFiniteFeatures: naming an image.
        Stopped: at once after a stop signal; the next call begins anew.
    """
    start = time.monotonic()
    backbone = FrozenBackbone(classifier, fabric, task.name)
    features = backbone.features(task.train)
    groups = task.train.groups if task.train.groups is not None else np.arange(len(task.train))
    head = solve_head(features, task.train.labels, groups, class_weights=task.training.class_weights)
    row: dict[str, float | None] = {
        "epoch": 1,
        "learning_rate": None,
        "train_loss": mean_cross_entropy(head.logits(features), task.train.labels),
        "val_loss": None,
        "val_accuracy": None,
    }
    if task.val is not None:
        logits = head.logits(backbone.features(task.val))
        row["val_loss"] = mean_cross_entropy(logits, task.val.labels)
        row["val_accuracy"] = float((logits.argmax(axis=1) == task.val.labels).mean())
    values = {"head.weight": head.weight, "head.bias": head.bias}
    solved = {name: torch.from_numpy(value).to(torch.float32) for name, value in values.items()}
    result = FitResult(
        state=with_head(classifier, solved),
        history=pd.DataFrame([row]),
        num_steps=0,
        seconds=time.monotonic() - start,
        waiting_seconds=0.0,
    )
    return result, head
