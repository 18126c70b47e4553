"""Write a table whose labels were permuted among patients, so that there is nothing to learn but who the patient is.

A split by patient then gives an AUROC of about 0.5. A split drawn at random over images gives more, for images of one
patient stand on both sides, and the model only has to know them again: what such a split is worth.

    python benchmarks/permute_patient_labels.py "$TLMED_DATA/covid_ct/manifest.csv" permuted-0.csv --seed 0
    tlmed run recipes/tl-med/random-split.yaml --set chain.target.data.manifest=permuted-0.csv \
        --set name=permuted-slices-0 --arm generic --seed 0
    tlmed run recipes/tl-med/random-split.yaml --set chain.target.data.manifest=permuted-0.csv \
        --set evaluation.group=patient --set name=permuted-patients-0 --arm generic --seed 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tlmed.data.permuting import permute_labels
from tlmed.data.sources import read_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="with a column `patient`")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    table = read_manifest(arguments.manifest).table
    known = table.assign(path=table["file"], split="train", group=table["patient"], unit=table["path"])
    permuted = permute_labels(known, arguments.seed)
    permuted[["path", "label", "patient"]].to_csv(arguments.out, index=False)
    changed = (permuted["label"] != known["label"]).mean()
    print(f"{arguments.out}: {len(permuted)} images, {changed:.0%} with another label")


if __name__ == "__main__":
    main()
