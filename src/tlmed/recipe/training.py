"""Settings of one stage's training: strategy, optimiser, schedule, views; and the named presets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tlmed.recipe.settings import Settings

StrategyKind = Literal["finetune", "linear-probe", "logistic-regression"]


class StrategySettings(Settings):
    """What is trained, and how.

    Attributes:
        kind: `finetune` trains every parameter; `linear-probe` the head alone, by gradient steps on random views;
            `logistic-regression` solves for the head on frozen features of the images as they are stored.
        cached_views: of `linear-probe`: so many random views of each image pass the frozen backbone once, and every
            epoch trains on one of them. 2 by default: more gain little and cost a pass each. 0 runs the backbone anew
            in every epoch.
    """

    kind: StrategyKind = "finetune"
    cached_views: int = Field(2, ge=0, le=16)


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
        random_operations: RandAugment (Cubuk et al. 2020) in a form that grey images survive: so many operations are
            drawn for each image from geometry (rotate, shear, shift, zoom) and intensity (brightness, contrast,
            gamma, blur, sharpen, noise); none inverts, solarises or equalises, for grey levels carry meaning. 0 by
            default: the mild views above are known to keep a scan's meaning.
        random_magnitude: their strength from 0 to 1; 0.3 is RandAugment's 9 of 30.
        erasing: probability that a rectangle is replaced by noise (Zhong et al. 2020); 0 by default: it can take away
            the one lesion that the label is about.
        erasing_area: its largest share of the image.
    """

    enabled: bool = True
    horizontal_flip: float = Field(0.0, ge=0.0, le=1.0)
    shift: float = Field(0.06, ge=0.0, le=0.5)
    scale: float = Field(0.12, ge=0.0, lt=1.0)
    rotation_degrees: float = Field(10.0, ge=0.0, le=180.0)
    brightness: float = Field(0.08, ge=0.0, le=1.0)
    contrast: float = Field(0.15, ge=0.0, lt=1.0)
    random_operations: int = Field(0, ge=0, le=4)
    random_magnitude: float = Field(0.3, ge=0.0, le=1.0)
    erasing: float = Field(0.0, ge=0.0, le=1.0)
    erasing_area: float = Field(0.2, gt=0.0, le=0.5)


class TrainingSettings(Settings):
    """How a stage trains. The defaults are the preset `small-data`.

    Attributes:
        optimizer: `adamw` (Loshchilov & Hutter 2019) or `sgd` with momentum.
        learning_rate: at its highest. 2e-4 lies between what served a vision transformer on COVID-CT best and what
            served a convolutional network on phantoms (docs/small-data.md).
        weight_decay: not applied to biases, norms and position embeddings (as in timm and DeiT).
        layer_decay: the rate of each layer below the head is this times that of the layer above (Clark et al. 2020,
            BEiT); 1 (default) trains all layers alike: what it is worth depends on how far the domains lie apart.
        epochs: a fixed number: under 1,000 units choosing the best epoch would spend the validation set. 20: on
            COVID-CT 40 cost more than any other change with AdamW (docs/small-data.md).
        batch_size: images an optimiser step.
        accumulation: the batch is worked off in so many parts, for networks that do not fit into memory; the gradient
            stays that of the whole batch (batch norms see the parts). 1 by default: parts are slower.
        schedule: `cosine` falls to zero, `step` multiplies by `step_factor` at each milestone, `constant` does
            neither; all after the warm-up.
        milestones: of `step`, as fractions of all steps; half and three quarters as in ResNet's training (He et al.
            2016).
        step_factor: of `step`; 0.1 there too.
        warmup_fraction: part of all steps over which the rate rises linearly from zero.
        clip_norm: largest norm of the gradient over all parameters, 1 as in ViT's fine-tuning (Dosovitskiy et al.
            2021): one odd image cannot throw a pre-trained network off; null switches it off.
        ema_decay: exponential moving average of the weights (Polyak & Juditsky 1992), which then are the result; null
            switches it off. The decay is capped at (1 + step) / (10 + step), so that short stages profit as well.
        label_smoothing: Szegedy et al. 2016; softens the certainty that few labels cannot support.
        class_weights: weigh the loss by inverse class frequency. Off by default: it distorts the probabilities. The
            mean is weighted within each part of a batch; over the parts that accumulation or several devices make it
            is plain, so that there the gradient is near that of the whole batch, not equal to it.
        sampling: `shuffled` shows every image once an epoch; `balanced` draws the class, then the group, then the
            image, each uniformly, so that neither a frequent class nor a patient with many images rules. `shuffled`
            by default, for the same reason as `class_weights`.
        mixup: alpha of the Beta distribution from which the share of a second image is drawn (Zhang et al. 2018); 0
            (default) is off: overlaid scans look like none, and with few epochs it costs more than it gives.
        cutmix: the same for a rectangle of a second image (Yun et al. 2019); 0 by default. With both, each batch
            draws one.
        mix_probability: of mixing a batch at all.
        select: `last` keeps the weights of the last epoch, `best` those of the epoch with the lowest validation loss,
            for sets whose validation images can be spent on that choice.
        patience: stop after so many epochs without a lower validation loss; null (default) trains all epochs, as a
            schedule that falls to zero is meant to be run to its end.
        views: random training views.
    """

    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(2e-4, gt=0.0)
    momentum: float = Field(0.9, ge=0.0, lt=1.0)
    weight_decay: float = Field(0.05, ge=0.0)
    layer_decay: float = Field(1.0, gt=0.0, le=1.0)
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(16, ge=1)
    accumulation: int = Field(1, ge=1)
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    milestones: tuple[float, ...] = (0.5, 0.75)
    step_factor: float = Field(0.1, gt=0.0, lt=1.0)
    warmup_fraction: float = Field(0.1, ge=0.0, le=0.5)
    clip_norm: float | None = Field(1.0, gt=0.0)
    ema_decay: float | None = Field(0.99, gt=0.0, lt=1.0)
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0)
    class_weights: bool = False
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    mixup: float = Field(0.0, ge=0.0)
    cutmix: float = Field(0.0, ge=0.0)
    mix_probability: float = Field(1.0, ge=0.0, le=1.0)
    select: Literal["last", "best"] = "last"
    patience: int | None = Field(None, ge=1)
    views: ViewSettings = ViewSettings()

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSettings:
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} cannot be worked off in {self.accumulation} equal parts")
        if list(self.milestones) != sorted(self.milestones) or not all(0 < m < 1 for m in self.milestones):
            raise ValueError("milestones must be rising fractions between 0 and 1")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    # For 100 to 1,000 units: the defaults above; what was tried stands in docs/small-data.md.
    "small-data": {},
    # Meng et al. 2022 (doi 10.1016/j.bbe.2022.04.005): SGD 0.01, momentum 0.9, weight decay 5e-5, 30 epochs.
    # The paper names neither smoothing nor averaging, a warm-up or clipping, so they are off.
    "tl-med": {
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "weight_decay": 5e-5,
        "epochs": 30,
        "schedule": "cosine",
        "warmup_fraction": 0.0,
        "clip_norm": None,
        "ema_decay": None,
        "label_smoothing": 0.0,
    },
}


def num_batches_per_epoch(num_images: int, batch_size: int) -> int:
    """Full batches only: a last batch of one image breaks batch norm; what is left over comes in another epoch."""
    return max(1, num_images // batch_size)
