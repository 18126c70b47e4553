"""Seconds that decoding a data set into the store takes, the first and the second time (imports not counted).

python benchmarks/prepare.py $TLMED_DATA/covid_ct/manifest.csv --size 224
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from tlmed.data.prepare import prepare_images
from tlmed.data.sources import read_manifest
from tlmed.recipe.model import ImageSettings
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    files = [Path(file) for file in read_manifest(arguments.data).table["file"]]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            start = time.perf_counter()
            store = Store(Path(folder))
            prepare_images(files, FileDigests(store).of(files), ImageSettings(size=arguments.size), store)
            seconds.append(time.perf_counter() - start)
    print(
        json.dumps(
            {"images": len(files), "first_seconds": round(seconds[0], 2), "second_seconds": round(seconds[1], 2)}
        )
    )


if __name__ == "__main__":
    # The guard matters: the decoding processes import this file.
    main()
