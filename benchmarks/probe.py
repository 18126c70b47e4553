"""Seconds of a linear probe on cached views, of one that runs the frozen backbone every epoch, and of the arm `probe`.

TLMED_DATA=... python benchmarks/probe.py
TLMED_DATA=... python benchmarks/probe.py --epochs 3    # a quick trial: the uncached one's time grows with them

ViT-S/16 at 224 px with random weights, COVID-CT's 425 training images from the prepared store, batch 16, the preset
`small-data`, no validation images. One process each, in an order whose middle is the long one, so that a machine that
grows slower or faster favours none; imports and decoding are not counted. On a machine that others use as well the
seconds of processor time (all threads) say more than those of the clock:
  cached     2 random views of each image pass the backbone once, then the head trains on their features
  uncached   new random views pass the backbone in every epoch
  logistic   the images as they are pass it once, then the head is solved for
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE, CACHED_VIEWS, NUM_EPOCHS = 224, 2, 30
ORDER = ("cached", "logistic", "uncached", "logistic", "cached")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=NUM_EPOCHS, help="of the uncached one")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.epochs)))
        return
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in ORDER}
    for name in ORDER:
        command = [sys.executable, __file__, "--epochs", str(arguments.epochs), "--one", name]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        measured[name].append(json.loads(ended.stdout.splitlines()[-1]))
        print(name, measured[name][-1], file=sys.stderr, flush=True)
    answer: dict[str, object] = {"cached_epochs": NUM_EPOCHS, "uncached_epochs": arguments.epochs}
    for unit in ("seconds", "cpu_seconds"):
        middle = {name: statistics.median(one[unit] for one in each) for name, each in measured.items()}
        answer |= {f"{name}_{unit}": [one[unit] for one in each] for name, each in measured.items()}
        if arguments.epochs == NUM_EPOCHS:  # a trial has no ratio
            for other in ("cached", "logistic"):
                answer[f"uncached_to_{other}_{unit}"] = round(middle["uncached"] / middle[other], 2)
    print(json.dumps(answer, indent=2))


def measure(name: str, uncached_epochs: int) -> dict[str, float]:
    """Seconds of one way in this process, by the clock and of the processor."""
    import numpy as np

    from tlmed.data.loaders import LabelledImages
    from tlmed.data.prepare import prepare_images
    from tlmed.data.sources import read_manifest
    from tlmed.models.classifier import create_classifier
    from tlmed.recipe.load import parse_recipe
    from tlmed.recipe.model import BackboneSettings, ImageSettings
    from tlmed.recipe.training import StrategySettings, TrainingSettings
    from tlmed.runtime.device import launch
    from tlmed.runtime.digests import FileDigests
    from tlmed.runtime.hardware import resolve_hardware
    from tlmed.runtime.store import Store
    from tlmed.transfer.fit import FitTask, fit
    from tlmed.transfer.linear_probe import LinearProbe, fit_on_cached_views
    from tlmed.transfer.logistic_probe import fit_logistic_regression

    manifest = Path(os.environ["TLMED_DATA"]) / "covid_ct" / "manifest.csv"
    table = read_manifest(manifest).table
    train = table[table["split"] == "train"]
    files = [Path(file) for file in train["file"]]
    backbone, image = BackboneSettings(name="vit_small_patch16_224"), ImageSettings(size=SIZE)
    recipe = {
        "name": "benchmark",
        "backbone": backbone.name,
        "chain": [{"name": "target", "data": {"manifest": str(manifest)}}],
    }
    runtime = resolve_hardware(parse_recipe(recipe, "benchmark")).runtime
    training = TrainingSettings(epochs=uncached_epochs if name == "uncached" else NUM_EPOCHS)
    strategy = LinearProbe(StrategySettings(kind="linear-probe"), training, None)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        digests = FileDigests(store).of(files)
        prepared = prepare_images(files, digests, image, store)
        images = LabelledImages(
            pixels=prepared.pixels,
            rows=np.array([prepared.row_of[digest] for digest in digests]),
            labels=np.array([int(label == "COVID") for label in train["label"]]),
            paths=train["path"].tolist(),
            groups=train.groupby("group").ngroup().to_numpy(),
        )
        classifier, fabric = create_classifier(backbone, image, 2), launch(runtime)
        task = FitTask("benchmark", training, images, None, 0, Path(folder) / "work")
        start, cpu_start = time.perf_counter(), time.process_time()
        if name == "logistic":
            fit_logistic_regression(classifier, task, fabric)
        elif name == "cached":
            fit_on_cached_views(classifier, strategy, task, CACHED_VIEWS, runtime, fabric)
        else:
            fit(classifier, strategy, task, runtime, fabric)
        return {
            "seconds": round(time.perf_counter() - start, 2),
            "cpu_seconds": round(time.process_time() - cpu_start, 2),
        }


if __name__ == "__main__":
    # The guard matters: the decoding processes import this file.
    main()
