"""Settings of one stage's training: strategy, optimiser, schedule, views; and the named presets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tlmed.recipe.settings import Settings

StrategyKind = Literal["finetune", "linear-probe"]


class StrategySettings(Settings):
    """What is trained: `finetune` every parameter, `linear-probe` the head alone."""

    kind: StrategyKind = "finetune"


class ViewSettings(Settings):
    """Random training views of an image. Evaluation always sees the image as stored.

    The defaults are what a chest or abdomen scan varies by between scanners and patients without changing its meaning.

    Attributes:
        enabled: the off switch.
        horizontal_flip: probability; 0 by default: left and right differ in chest and abdomen (heart, liver).
        shift: largest shift in either direction, as a fraction of the edge.
        scale: largest zoom in or out, as a fraction.
        rotation_degrees: largest rotation to either side.
        brightness: largest offset added, as a fraction of the full range.
        contrast: largest relative change of contrast around mid-grey.
    """

    enabled: bool = True
    horizontal_flip: float = Field(0.0, ge=0.0, le=1.0)
    shift: float = Field(0.06, ge=0.0, le=0.5)
    scale: float = Field(0.12, ge=0.0, lt=1.0)
    rotation_degrees: float = Field(10.0, ge=0.0, le=180.0)
    brightness: float = Field(0.08, ge=0.0, le=1.0)
    contrast: float = Field(0.15, ge=0.0, lt=1.0)


class TrainingSettings(Settings):
    """How a stage trains. The defaults are the preset `small-data`.

    Attributes:
        optimizer: `adamw` (Loshchilov & Hutter 2019) or `sgd` with momentum.
        learning_rate: at its highest. 3e-4 suits AdamW on a pre-trained transformer or CNN of this size.
        weight_decay: not applied to biases, norms and position embeddings (as in timm and DeiT).
        epochs: a fixed number: under 1,000 units choosing the best epoch would spend the validation set.
        schedule: `cosine` falls to zero, `constant` does not; both after the warm-up.
        warmup_fraction: part of all steps over which the rate rises linearly from zero.
        ema_decay: exponential moving average of the weights (Polyak & Juditsky 1992), which then are the result;
            null switches it off. The decay is capped at (1 + step) / (10 + step), so that short stages profit as well.
        label_smoothing: Szegedy et al. 2016; softens the certainty that few labels cannot support.
        class_weights: weigh the loss by inverse class frequency. Off by default: it distorts the probabilities.
    """

    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(3e-4, gt=0.0)
    momentum: float = Field(0.9, ge=0.0, lt=1.0)
    weight_decay: float = Field(0.05, ge=0.0)
    epochs: int = Field(40, ge=1)
    batch_size: int = Field(16, ge=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_fraction: float = Field(0.1, ge=0.0, le=0.5)
    ema_decay: float | None = Field(0.99, gt=0.0, lt=1.0)
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0)
    class_weights: bool = False
    views: ViewSettings = ViewSettings()


PRESETS: dict[str, dict[str, Any]] = {
    # Our starting point for 100 to 1,000 units; the defaults above.
    "small-data": {},
    # Meng et al. 2022 (doi 10.1016/j.bbe.2022.04.005): SGD 0.01, momentum 0.9, weight decay 5e-5, 30 epochs.
    # The paper names neither smoothing nor averaging nor a warm-up, so they are off.
    "tl-med": {
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "weight_decay": 5e-5,
        "epochs": 30,
        "schedule": "cosine",
        "warmup_fraction": 0.0,
        "ema_decay": None,
        "label_smoothing": 0.0,
    },
}
