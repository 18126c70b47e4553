"""Settings for few labels, compared by grouped cross-validation inside train + val of the target; test is never opened.

python benchmarks/small_data.py recipes/covid-ct-local.yaml --out runs/small-data --base training.epochs=20 \
    --try lower-rate:training.learning_rate=1e-4 --try mixup:training.mixup=0.2,training.views.scale=0.2

Every candidate is trained on the same folds and seeds; AUROC is computed within folds and averaged. What is trained
lies in the store, so that the same call goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from tlmed.auditing import audit_domains
from tlmed.cli.screen import show_log
from tlmed.domains import prepare_domains, read_domains
from tlmed.recipe.load import load_recipe
from tlmed.runtime.hardware import resolve_hardware
from tlmed.runtime.store import Store
from tlmed.transfer.chain import train_chain
from tlmed.transfer.plan import plan_chain
from tlmed.transfer.predictions import predict_chain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/small-data"), help="store and answers")
    parser.add_argument("--arm", default="generic")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--base", action="append", default=[], metavar="KEY=VALUE", help="holds for every candidate")
    parser.add_argument("--try", dest="candidates", action="append", default=[], metavar="NAME:KEY=VALUE,...")
    arguments = parser.parse_args()
    show_log()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scores: dict[str, list[float]] = {}
    for candidate in ["base:", *arguments.candidates]:
        name, _, settings = candidate.partition(":")
        overrides = [*arguments.base, *filter(None, settings.split(","))]
        scores[name] = cross_validate(arguments, overrides)
        difference = np.array(scores[name]) - np.array(scores["base"])
        answer = {
            "candidate": name,
            "settings": overrides,
            "auroc": round(float(np.mean(scores[name])), 4),
            "minus_base": round(float(difference.mean()), 4),
            "standard_deviation_of_difference": round(float(difference.std(ddof=1)), 4),
            "by_fold_and_seed": [round(score, 3) for score in scores[name]],
        }
        print(json.dumps(answer))
        sys.stdout.flush()


def cross_validate(arguments: argparse.Namespace, overrides: Sequence[str]) -> list[float]:
    """AUROC of every fold and seed."""
    recipe = resolve_hardware(load_recipe(arguments.recipe, overrides))
    store = Store(arguments.out)
    domains = audit_domains(recipe, read_domains(recipe, store), None, store).domains
    data = prepare_domains(recipe, domains, store)
    target = data.manifests[recipe.target.name]
    known = target.table[target.table["split"] != "test"].reset_index(drop=True)
    splitter = StratifiedGroupKFold(arguments.folds, shuffle=True, random_state=0)
    scores = []
    for _, held_out in splitter.split(known, known["label"], known["group"]):
        domain = target.with_table(known.assign(split=np.where(known.index.isin(held_out), "val", "train")))
        pairs = [(arguments.arm, seed) for seed in arguments.seeds]
        plan = plan_chain(recipe, {**data.manifests, recipe.target.name: domain}, pairs, store)
        train_chain(plan, data.images, store)
        predictions = predict_chain(plan, domain, data.images, store)
        scores += [_auroc(part, str(recipe.evaluation.positive)) for _, part in predictions.groupby("seed")]
    return scores


def _auroc(predictions: pd.DataFrame, positive: str) -> float:
    return float(roc_auc_score(predictions["label"] == positive, predictions[f"p_{positive}"]))


if __name__ == "__main__":
    main()
