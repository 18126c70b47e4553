"""The demo over several seeds: paired differences between arms, beside their standard deviations.

python benchmarks/demo_seeds.py --out runs/demo-seeds --seeds 0 1 2 3 4
python benchmarks/demo_seeds.py --out runs/float32 --set runtime.precision=float32 --arms related generic-related
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

import tlmed
import tlmed.recipe
from tlmed.cli.screen import show_log
from tlmed.evaluation.evaluate import evaluate_predictions

FULL_CHAIN = "generic-related"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo-seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="over the demo's settings")
    parser.add_argument("--arms", nargs="+", default=[], help="default: all")
    arguments = parser.parse_args()
    show_log()
    recipe = tlmed.load_recipe(Path(tlmed.recipe.__file__).parent / "builtin" / "demo.yaml", arguments.set)
    result = tlmed.run(recipe, out=arguments.out, seeds=arguments.seeds, arms=arguments.arms)
    aurocs = {
        (arm, seed): _auroc(part, recipe.evaluation.positive)
        for (arm, seed), part in result.predictions.groupby(["arm", "seed"])
    }
    table = pd.Series(aurocs).unstack()
    print(table.round(3).to_string())
    answer = {}
    for other in table.index.drop(FULL_CHAIN):
        differences = (table.loc[FULL_CHAIN] - table.loc[other]).to_numpy()
        mean, deviation = float(differences.mean()), float(np.std(differences, ddof=1))
        answer[f"{FULL_CHAIN} minus {other}"] = {"mean": mean, "standard_deviation": deviation}
        print(
            f"AUROC, {FULL_CHAIN} minus {other}: mean {mean:+.3f}, standard deviation {deviation:.3f}, "
            f"{len(differences)} seeds"
        )
    print(json.dumps(answer))


def _auroc(predictions: pd.DataFrame, positive: str | None) -> float:
    metrics = evaluate_predictions(predictions, positive=positive, unit="image")
    (arm,) = metrics["arms"].values()
    return float(arm["auroc"]["value"])


if __name__ == "__main__":
    main()
