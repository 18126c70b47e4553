"""Settings of the evaluation protocol."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tlmed.recipe.settings import Settings


class ProtocolSettings(Settings):
    """How the target's images are divided.

    Attributes:
        split: `manifest` takes the table's own split; `holdout` draws a test set by group, stratified by class.
        test_fraction: of all groups, for `holdout`.
        val_fraction: of the training groups, carved wherever a domain brings no val rows of its own.
        seed: of the draw; apart from the run's seeds, so that all seeds and arms share one test set.
    """

    split: Literal["manifest", "holdout"] = "manifest"
    test_fraction: float = Field(0.2, gt=0.0, le=0.5)
    val_fraction: float = Field(0.2, gt=0.0, le=0.5)
    seed: int = Field(0, ge=0)


class EvaluationSettings(Settings):
    """What is measured.

    Attributes:
        positive: the class that counts as disease; with two classes it is needed.
        unit: what a decision is about: `image`, or a column such as `study`.
        group: the column that says what is independent; default: the first of group, patient, study, series.
        seeds: every seed repeats all training of the chain.
        sampling: how the cases came together; unless `consecutive`, figures such as PPV hold for this set alone.
    """

    positive: str | None = None
    unit: str = "image"
    group: str | None = None
    protocol: ProtocolSettings = ProtocolSettings()
    seeds: tuple[int, ...] = (0,)
    sampling: Literal["consecutive", "case-control", "unknown"] = "unknown"

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
