"""Settings of the evaluation protocol."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tlmed.recipe.comparison import ComparisonSettings
from tlmed.recipe.data import DataSettings
from tlmed.recipe.settings import Settings


class ProtocolSettings(Settings):
    """How the target's images are divided; always by group.

    Attributes:
        split: `manifest` takes the table's own split; `holdout` draws a test set, stratified by class; `kfold` tests
            every group once a repeat; `temporal` trains on the past; `leave-one-source-out` tests on each value of the
            column `source` in turn.
        test_fraction: of all groups, for `holdout`, and for `temporal` without `train_until`.
        val_fraction: of the training groups, carved wherever a domain brings no val rows of its own; not from the
            target under `kfold` and `leave-one-source-out`, where the out-of-fold scores take its place.
        seed: of the draw; apart from the run's seeds, so that all seeds and arms share one test set. Under `kfold`
            every repeat draws its own folds, and its seed counts as well.
        folds: for `kfold`.
        repeats: for `kfold`; each has a seed of its own, so that they are the run's seeds.
        train_until: for `temporal`: the last time of the past, compared with the column `time`.
        bundle: after folds, `folds` delivers the mean of one repeat's fold models, calibrated on out-of-fold scores;
            `refit` trains once more on all rows, and the calibration is transferred, not measured.
    """

    split: Literal["manifest", "holdout", "kfold", "temporal", "leave-one-source-out"] = "manifest"
    test_fraction: float = Field(0.2, gt=0.0, le=0.5)
    val_fraction: float = Field(0.2, gt=0.0, le=0.5)
    seed: int = Field(0, ge=0)
    folds: int = Field(5, ge=2, le=50)
    repeats: int = Field(3, ge=1, le=100)
    train_until: str | None = None
    bundle: Literal["folds", "refit"] = "folds"

    @property
    def has_folds(self) -> bool:
        """Whether every image is held out by one of several trainings."""
        return self.split in ("kfold", "leave-one-source-out")


class OperatingPointSettings(Settings):
    """A threshold that is chosen before test is opened, on val or out-of-fold scores.

    Attributes:
        kind: `aim` reaches the target there; `assure` chooses such that it is also reached in new patients, with 95 %
            confidence, which needs more cases.
        of: what the target is of.
    """

    kind: Literal["aim", "assure"] = "aim"
    of: Literal["sensitivity", "specificity"] = "sensitivity"
    target: float = Field(gt=0.0, lt=1.0)


class ChoiceSettings(Settings):
    """A nested choice of training settings: within each training set, by inner folds, never on what is tested.

    Attributes:
        among: candidates by name; each holds training settings of the target over those of the recipe, and every arm
            chooses for itself.
        folds: inner ones, by group; the candidate with the highest mean AUROC is trained on the whole training set.
    """

    among: dict[str, dict[str, Any]] = Field(min_length=2)
    folds: int = Field(3, ge=2, le=20)


class EvaluationSettings(Settings):
    """What is measured.

    Attributes:
        positive: the class that counts as disease; with two classes it is needed. Several: their probabilities are
            summed, and figures are those of disease or not.
        unit: what a decision is about: `image`, or a column such as `study`.
        group: the column that says what is independent; default: the first of group, patient, study, series.
        seeds: every seed repeats all training of the chain; default: 0, under `kfold` one a repeat.
        sampling: how the cases came together; unless `consecutive`, figures such as PPV hold for this set alone.
        prevalence: of disease where the model is to be used; what depends on it is then given at that prevalence.
        calibration: of the delivered probabilities, fitted on val or out-of-fold scores.
        operating_points: thresholds of the delivered model.
        external: further data sets of the target's classes that are only ever tested on, by name.
        choose: settings that are chosen within each training set; default: none, the recipe's own hold.
        comparison: what is asked of the arms.
    """

    positive: str | tuple[str, ...] | None = None
    unit: str = "image"
    group: str | None = None
    protocol: ProtocolSettings = ProtocolSettings()
    seeds: tuple[int, ...] = (0,)
    sampling: Literal["consecutive", "case-control", "unknown"] = "unknown"
    prevalence: float | None = Field(None, gt=0.0, lt=1.0)
    calibration: Literal["platt", "isotonic", "none"] = "platt"
    operating_points: tuple[OperatingPointSettings, ...] = (OperatingPointSettings(target=0.9),)
    external: dict[str, DataSettings] = {}
    choose: ChoiceSettings | None = None
    comparison: ComparisonSettings = ComparisonSettings()

    @model_validator(mode="before")
    @classmethod
    def _seeds_of_repeats(cls, content: Any) -> Any:
        """Under kfold the seeds are the repeats'."""
        if not isinstance(content, dict):
            return content
        protocol = content.get("protocol")
        protocol = protocol.model_dump() if isinstance(protocol, ProtocolSettings) else protocol
        if not isinstance(protocol, dict) or protocol.get("split") != "kfold":
            return content
        repeats = protocol.get("repeats", ProtocolSettings().repeats)
        if "seeds" not in content:
            return {**content, "seeds": tuple(range(repeats))} if isinstance(repeats, int) else content
        if isinstance(content["seeds"], list | tuple) and len(content["seeds"]) != repeats:
            raise ValueError(
                f"under kfold each repeat has a seed of its own: {len(content['seeds'])} seeds do not fit {repeats} "
                "repeats; leave evaluation.seeds out, or give as many"
            )
        return content

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
            raise ValueError("seeds must be one or more distinct numbers from 0 upwards")
        return seeds


class RuntimeSettings(Settings):
    """Where and how the computation runs; `auto` looks at the machine.

    Attributes:
        precision: `bf16` computes in bfloat16 with float32 weights where the hardware has it.
        devices: processes (on a GPU machine: GPUs) that share each batch; the result is the same up to rounding, but
            for batch norms and class weights, which see each part of the batch alone.
        workers: processes that make training views; 0 makes them in the training process. The result is the same.
        compile: translate the network into machine code first (`torch.compile`). Off by default: it needs a C++
            compiler and half a minute a stage on a processor, and of two kinds of processor it made one a tenth faster
            and the other slower.
        deterministic: on a GPU, take the algorithms that give equal bytes in every run, where there are slower ones;
            a processor always does.
        checkpoint_seconds: how much work a crash may cost at most; more where saving would take over 2 % of the time.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    devices: int = Field(1, ge=1)
    workers: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    compile: bool = False
    deterministic: bool = False
    checkpoint_seconds: float = Field(20.0, gt=0.0)

    @property
    def num_workers(self) -> int:
        """The number of workers once `auto` is resolved."""
        if isinstance(self.workers, str):
            raise ValueError("runtime.workers is not resolved yet")
        return self.workers
