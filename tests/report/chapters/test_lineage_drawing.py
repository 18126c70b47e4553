from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from tlmed.report.chapters.lineage_drawing import TrainedStep, draw_lineage, trained_steps


def _stage(name: str, *, seed: int = 0, parent: str | None = None, **changes: Any) -> dict[str, Any]:
    start = "weights file:/srv/secret/start <1>.safetensors" if parent is None else f"stage {parent}"
    stage = {
        "name": name,
        "strategy": "finetune",
        "seed": seed,
        "parent": parent,
        "start": start,
        "route": "",
        "control": None,
        "num_train_images": 80,
        "num_val_images": 20,
        "classes": ["ill", "well"],
        "epochs": 3,
        "steps": 15,
        "seconds": 2.0 + seed,
        "training": {},
    }
    return {**stage, **changes}


def lineage() -> dict[str, Any]:
    """Two seeds of: a probe, generic, generic-related and its placebo; all begin with the same weights."""
    stages, fits = {}, []
    for seed in (0, 1):
        stages[f"p{seed}"] = _stage("target", seed=seed, strategy="logistic-regression", steps=0)
        stages[f"g{seed}"] = _stage("target", seed=seed)
        stages[f"r{seed}"] = _stage("related", seed=seed, steps=40, seconds=None, classes=["a", "b", "c"])
        stages[f"gr{seed}"] = _stage("target", seed=seed, parent=f"r{seed}")
        stages[f"x{seed}"] = _stage("related", seed=seed, steps=40, control="permuted-labels")
        stages[f"gx{seed}"] = _stage("target", seed=seed, parent=f"x{seed}")
        ends = {"probe": "p", "generic": "g", "generic-related": "gr", "again": "gr", "generic-placebo": "gx"}
        fits += [{"arm": arm, "seed": seed, "fold": -1, "key": f"{key}{seed}"} for arm, key in ends.items()]
    return {"stages": stages, "fits": fits}


def _all(steps: list[TrainedStep]) -> list[TrainedStep]:
    return [one for step in steps for one in [step, *_all(list(step.children.values()))]]


def test_what_arms_share_stands_once() -> None:
    (start,) = trained_steps(lineage())
    assert start.name == "weights file:start <1>.safetensors"
    boxes = [(step.name, len(step.stages), step.arms) for step in _all([start])[1:]]
    assert boxes == [
        ("target", 2, ["probe"]),
        ("target", 2, ["generic"]),
        ("related", 2, []),
        ("target", 2, ["generic-related", "again"]),
        ("related", 2, []),
        ("target", 2, ["generic-placebo"]),
    ]


def test_other_weights_are_another_tree() -> None:
    content = lineage()
    content["stages"]["s"] = _stage("target", start="random weights")
    content["fits"].append({"arm": "scratch", "seed": 0, "fold": -1, "key": "s"})
    first, second = draw_lineage(content, "scratch", {})
    assert second.title == "From random weights"
    assert second.alternative == "From random weights: target, 15 steps (arm scratch)."
    assert "scratch" not in first.svg


def test_folds_stand_in_one_box() -> None:
    content = {
        "stages": {f"k{fold}": _stage("target", num_train_images=80 + fold) for fold in range(3)},
        "fits": [{"arm": "scratch", "seed": 0, "fold": fold, "key": f"k{fold}"} for fold in range(3)],
    }
    (start,) = trained_steps(content)
    (box,) = start.children.values()
    assert len(box.stages) == 3
    (drawing,) = draw_lineage(content, "scratch", {})
    assert "80 to 82 images, 2 classes" in drawing.svg
    assert "seed 0, 3 trainings" in drawing.svg


def test_the_drawing_says_what_was_trained_and_hides_places() -> None:
    (drawing,) = draw_lineage(lineage(), "generic-related", {"generic-placebo": "placebo"})
    rows = [
        element.text or "" for element in ElementTree.fromstring(drawing.svg).iter() if element.tag.endswith("text")
    ]
    text = " ".join(rows)
    assert "/srv" not in drawing.svg + drawing.alternative
    assert rows.count("related") == 1
    assert "related (permuted-labels)" in rows
    assert "target, logistic-regression -> probe 80 images, 2 classes; no steps, 2 s; seeds 0, 1" in text
    assert "related 80 images, 3 classes; 3 epochs, 40 steps, time not measured; seeds 0, 1" in text
    assert "target -> generic-related (delivered), again" in text
    assert "target -> generic-placebo (control: placebo)" in text
    # One heavy frame; the placebo's two boxes are dashed.
    assert drawing.svg.count("var(--accent)") == 1
    assert drawing.svg.count("stroke-dasharray") == 2
    assert drawing.alternative.startswith(
        "From weights file:start <1>.safetensors: target, logistic-regression, no steps"
    )
    assert "related, 40 steps, then target, 15 steps (arm generic-related, again)" in drawing.alternative
