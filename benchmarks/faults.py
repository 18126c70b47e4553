"""What a run does on a full or read-only disk, with damaged results in its store, and with unreadable images.

python benchmarks/faults.py                      # everything; the disks are small ones in memory, which needs root
python benchmarks/faults.py --only flipped-bits

Numbers that are not finite, at 12 places: tests/transfer/test_non_finite.py.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from run_results import differences, finish, result_digests, run_command

from tlmed import run

EXIT_IO = 74
RECIPE = """
name: faults
image: {size: 32}
backbone: test_resnet
chain:
  - name: related
    data: {phantom: {kind: chest-findings, num_images: 64, size: 32}}
    training: {epochs: 2}
  - name: target
    data:
      phantom: {kind: chest-target, num_train_patients: 8, num_val_patients: 4, num_test_patients: 16, size: 32}
    training: {epochs: 2}
evaluation: {positive: viral-pneumonia}
"""
# One chain whose first stage is saved often enough that a disk can fill up between two saves.
LONGER_RECIPE = (
    RECIPE.replace("{epochs: 2}", "{epochs: 120, batch_size: 4}", 1)
    + "arms: {related: {stages: [related, target], weights: none}}\n"
)
UNREADABLE_RECIPE = """
name: unreadable
image: {size: 32}
backbone: test_resnet
training: {epochs: 1, batch_size: 64}
chain:
  - name: target
    data: {manifest: MANIFEST, on_bad_image: skip}
evaluation: {positive: sick}
"""
DISK_MEGABYTES = 32
IMAGES_PER_PATIENT = 4

REASONS = {errno.ENOSPC: "No space left on device", errno.EROFS: "Read-only file system"}
# Of a stage: weights and learning curve.
COMPARED = ("stages/", "run/predictions.parquet", "run/metrics.json", "run/splits.csv")


@dataclass(frozen=True)
class FullDisk:
    """When a disk fills up, and what cannot be written then.

    Attributes:
        moment: it fills up once this is in the store; None: it is full when the run starts.
        file: which the message must name.
        settings: of the run.
        waits_for_all: wait for as many of `moment` as an undisturbed run has.
    """

    moment: str | None
    file: str
    settings: str = "runtime.checkpoint_seconds=1000"
    waits_for_all: bool = False


FULL_DISKS = {
    "log": FullDisk(None, "log.jsonl"),
    "checkpoint": FullDisk(
        "stages/*.work/training.safetensors", "training.safetensors", settings="runtime.checkpoint_seconds=0.01"
    ),
    "weights of a stage": FullDisk("stages/.writing-*", "/stages/"),
    "results": FullDisk("predictions/*/stage", "/run/", waits_for_all=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=50)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--unreadable", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["full-disk", "read-only", "flipped-bits", "unreadable-images"])
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "full-disk": full_disks,
        "read-only": read_only,
        "flipped-bits": lambda folder: flipped_bits(folder, arguments.flips, generator),
        "unreadable-images": lambda folder: unreadable_images(
            folder, arguments.images, arguments.unreadable, generator
        ),
    }
    answer = {}
    for name, measure in parts.items():
        if arguments.only in (None, name):
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                answer[name] = measure(Path(folder)) | {"seconds": round(time.monotonic() - start)}
    print(json.dumps(answer))
    sys.exit(1 if any(part.get("falls_short") for part in answer.values()) else 0)


def full_disks(folder: Path) -> dict[str, Any]:
    """Fill the disk of a run at several moments, look at how it ends, make room, and run the same command again."""
    recipe = _write_recipe(folder, LONGER_RECIPE)
    expected = _undisturbed(recipe, folder)
    said, falls_short = {}, []
    for what, full in FULL_DISKS.items():
        with _small_disk(folder / "disk") as disk:
            if disk is None:
                return {"skipped": "mounting a small disk is not allowed here"}
            said[what], checks = _fill_once(full, recipe, disk, expected)
        falls_short += [f"{what}: not: {name}" for name, is_met in checks.items() if not is_met]
    return {"said": said, "falls_short": falls_short}


def _fill_once(full: FullDisk, recipe: Path, disk: Path, expected: dict[str, str]) -> tuple[str, dict[str, bool]]:
    """Return the last line that the run said, and what must be true."""
    store, filler = disk / "store", disk / "filler"
    log = store / "run/log.jsonl"
    command = run_command(recipe, store / "run", "--set", full.settings)
    if full.moment is None:
        _finish_and_fill_last_block_of_log(command, log)
        _take_all_room(filler)
    before = log.read_bytes() if log.exists() else b""
    stopped = _run_on_disk_that_fills(command, filler, _arrival(full, store, expected))
    left = list(store.rglob(".writing-*"))
    is_log_kept = full.moment is not None or log.read_bytes() == before
    filler.unlink()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    return stopped.stderr.strip().splitlines()[-1], {
        **_judged(stopped, errno.ENOSPC, full.file),
        "nothing half-written left": not left,
        "log as it was": is_log_kept,
        "goes on": again.returncode == 0 and "damaged" not in again.stderr,
        "same result": set(differences(store, expected)) <= {"run/recipe.yaml"},  # it holds the settings
    }


def _arrival(full: FullDisk, store: Path, expected: dict[str, str]) -> Callable[[], bool]:
    """Whether the moment has come."""
    pattern = full.moment
    if pattern is None:
        return lambda: True
    number = sum(PurePath(path).match(pattern) for path in expected) if full.waits_for_all else 1
    return lambda: len(list(store.glob(pattern))) >= number


def read_only(folder: Path) -> dict[str, Any]:
    """Run where nothing can be written: neither store nor run folder, the store alone, a finished run."""
    recipe = _write_recipe(folder, RECIPE)
    expected = _undisturbed(recipe, folder)
    answer: dict[str, str] = {}
    falls_short = []
    with _small_disk(folder / "disk") as disk:
        if disk is None:
            return {"skipped": "mounting a small disk is not allowed here"}
        store = disk / "store"
        store.mkdir()
        command = run_command(recipe, store / "run")
        cases = {
            "empty": command,
            "store alone": run_command(recipe, folder / "elsewhere/run", "--store", str(store)),
            "finished run": command,
        }
        for what, tried in cases.items():
            if what == "finished run":
                finish(command)
            before = result_digests(store)
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            stopped = subprocess.run(tried, capture_output=True, text=True, check=False)
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            checks = {**_judged(stopped, errno.EROFS, str(store)), "nothing changed": differences(store, before) == []}
            answer[what] = stopped.stderr.strip().splitlines()[-1]
            falls_short += [f"{what}: not: {name}" for name, is_met in checks.items() if not is_met]
        if differences(store, expected):
            falls_short.append("not: same result once it can be written")
    return {"said": answer, "falls_short": falls_short}


def flipped_bits(folder: Path, num_flips: int, generator: random.Random) -> dict[str, Any]:
    """Flip one bit in one file of a finished stage, under its old modification time, and run again; many times."""
    recipe, store = _write_recipe(folder, RECIPE), folder / "store"
    run(recipe, out=store / "run")
    expected = result_digests(store)
    stages = sorted(path for path in store.glob("stages/*") if path.is_dir())
    flipped: Counter[str] = Counter()
    falls_short = []
    for _ in range(num_flips):
        file = generator.choice(sorted(generator.choice(stages).iterdir()))
        place = _flip_bit(file, generator)
        flipped[file.name] += 1
        trained = run(recipe, out=store / "run").trained
        if trained != [file.parent.name]:
            falls_short.append(f"{place}: trained {trained}")
        if differences(store, expected):
            falls_short.append(f"{place}: other results in {differences(store, expected)}")
    return {
        "flips": num_flips,
        "by_file": dict(sorted(flipped.items())),
        "stages": len(stages),
        "found_and_trained_to_the_same_bytes": num_flips - len({text.split(": ")[0] for text in falls_short}),
        "falls_short": falls_short,
    }


def unreadable_images(folder: Path, num_images: int, num_unreadable: int, generator: random.Random) -> dict[str, Any]:
    """Train with `on_bad_image: skip` on a table with unreadable images, and on the table without them."""
    table = _write_images(folder / "data", num_images)
    bad = set(generator.sample(table["path"].tolist(), num_unreadable))
    for position, path in enumerate(sorted(bad)):
        _make_unreadable(folder / "data" / path, position)
    tables = {"with": table, "without": table[~table["path"].isin(bad)]}
    digests = {}
    for name, rows in tables.items():
        rows.to_csv(folder / f"data/{name}.csv", index=False)
        recipe = _write_recipe(folder, UNREADABLE_RECIPE.replace("MANIFEST", f"data/{name}.csv"))
        run(recipe, out=folder / name / "run", arms=["scratch"])
        digests[name] = {path: one for path, one in result_digests(folder / name).items() if path.startswith(COMPARED)}
    audit = json.loads((folder / "with/run/audit.json").read_text(encoding="utf-8"))
    listed = [row["path"] for row in audit["unreadable"]]
    checks = {
        "exactly these are listed": sorted(listed) == sorted(bad),
        "training equals training without them": digests["with"] == digests["without"],
        "one stage, predictions, metrics and splits are compared": len(digests["with"]) == len(COMPARED) + 1,
    }
    return {
        "images": num_images,
        "unreadable": num_unreadable,
        "listed": len(listed),
        "identical": sorted(path.rpartition("/")[2] for path in digests["with"]),
        "falls_short": [f"not: {name}" for name, is_met in checks.items() if not is_met],
    }


def _write_recipe(folder: Path, text: str) -> Path:
    recipe = folder / "recipe.yaml"
    recipe.write_text(text, encoding="utf-8")
    return recipe


def _undisturbed(recipe: Path, folder: Path) -> dict[str, str]:
    finish(run_command(recipe, folder / "undisturbed/run"))
    return result_digests(folder / "undisturbed")


@contextlib.contextmanager
def _small_disk(place: Path) -> Iterator[Path | None]:
    """Mount a small file system in memory; yields None where that is not allowed."""
    place.mkdir(exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tlmed-faults"]
    try:
        subprocess.run(["mount", *options, place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def _finish_and_fill_last_block_of_log(command: list[str], log: Path) -> None:
    """Finish the run, and lengthen its log until the next line needs another block of the disk."""
    finish(command)
    content, block = log.read_bytes(), os.statvfs(log).f_bsize
    line = b'{"event": "' + b"x" * (block - len(content) % block - 15) + b'"}\n'
    log.write_bytes(content + line)
    assert log.stat().st_size % block == block - 1


def _run_on_disk_that_fills(
    command: list[str], filler: Path, has_come: Callable[[], bool]
) -> subprocess.CompletedProcess[str]:
    """Start a run, wait for a moment, and from then on take all room that is left or becomes free."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, text=True)
        while process.poll() is None:
            if has_come():
                _take_all_room(filler)
            time.sleep(0.001)
        errors.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, stderr=errors.read())


def _take_all_room(filler: Path) -> None:
    with filler.open("ab", buffering=0) as stream, contextlib.suppress(OSError):  # no space left is what it is for
        while stream.write(bytes(65536)):
            pass


def _judged(stopped: subprocess.CompletedProcess[str], number: int, place: str) -> dict[str, bool]:
    said = [line for line in stopped.stderr.splitlines() if line.startswith("tlmed: ")]
    return {
        f"exit code {EXIT_IO} (but {stopped.returncode})": stopped.returncode == EXIT_IO,
        "one sentence, without a traceback": len(said) == 1 and "Traceback" not in stopped.stderr,
        "it says what is the matter": any(REASONS[number] in line for line in said),
        f"it says where ({place})": any(place in line for line in said),
    }


def _flip_bit(file: Path, generator: random.Random) -> str:
    """Flip one bit and return where."""
    status, content = file.stat(), bytearray(file.read_bytes())
    position, bit = generator.randrange(len(content)), generator.randrange(8)
    content[position] ^= 1 << bit
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"{file.parent.name}/{file.name}, byte {position}, bit {bit}"


def _write_images(folder: Path, num_images: int) -> pd.DataFrame:
    """Write small grey images, bright in the middle where they are sick, and return their manifest."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    rows = []
    for number in range(num_images):
        patient = number // IMAGES_PER_PATIENT
        pixels = noise.integers(0, 150, (32, 32), dtype=np.uint8)
        if patient % 2:
            pixels[8:24, 8:24] += 40
        Image.fromarray(pixels).save(folder / f"{number:05d}.png", compress_level=1)
        split = ("train", "train", "train", "val", "test")[patient // 2 % 5]
        label = ("well", "sick")[patient % 2]
        rows.append({"path": f"{number:05d}.png", "label": label, "patient": f"p{patient:04d}", "split": split})
    return pd.DataFrame(rows)


def _make_unreadable(file: Path, number: int) -> None:
    """Damage an image in one of four ways. No two come out alike: identical files are another fault."""
    content = file.read_bytes()
    damaged = [
        content[: len(content) // 2],
        content[100:],
        f"this is no image, number {number}".encode(),
        content[:60] + bytes(200) + content[260:],
    ]
    file.write_bytes(damaged[number % len(damaged)])


if __name__ == "__main__":
    # The guard matters: the decoding processes import this file.
    main()
