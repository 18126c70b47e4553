"""Kill and stop a run at random moments and during saves, start it again each time, and compare what comes out with
undisturbed runs, byte for byte.

python benchmarks/endurance.py --kills 25 --stops 4
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from run_results import differences, finish, result_digests, run_command

RECIPE = """
name: endurance
image: {size: 32}
backbone: test_resnet
runtime: {checkpoint_seconds: 0.05}
chain:
  - name: related
    data: {phantom: {kind: chest-findings, num_images: 128, size: 32}}
    training: {epochs: 20}
  - name: target
    data: {phantom: {kind: chest-target, num_test_patients: 16, size: 32}}
    training: {epochs: 20}
evaluation: {positive: viral-pneumonia}
"""
NUM_UNDISTURBED = 3
LONGEST_STOP_SECONDS = 10.0
EXIT_CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
# What is there, below the store, while something is saved.
SAVES = {
    "checkpoint": "stages/*.work/.writing-*",
    "stage": "stages/.writing-*/model.safetensors",
    "result": "run/.writing-*",
}
KILLED_DURING = (None, "checkpoint", "stage", None, "checkpoint", "result")  # in turn
CHECKPOINT = "stages/*.work/training.safetensors"
TICK_NS = 10_000_000  # by so much a file's time may lie behind the clock


@dataclass(frozen=True)
class Disturbance:
    """A signal, sent at a random moment, or in the first save of a kind after it (a stop: in training)."""

    signal: signal.Signals
    during: str | None


@dataclass(frozen=True)
class Outcome:
    """What a signal did.

    Attributes:
        moment: seconds from start to signal.
        seconds: from signal to exit.
        was_saving: what is there while something of the kind is saved was still there after the exit.
        is_state_newer: the training state was saved after the signal; None where none is left.
    """

    disturbance: Disturbance
    moment: float
    exit_code: int
    seconds: float
    was_saving: bool
    is_state_newer: bool | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stops", type=int, default=1, help="of SIGTERM, and as many of Ctrl-C")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    disturbances = [
        *(Disturbance(signal.SIGKILL, KILLED_DURING[i % len(KILLED_DURING)]) for i in range(arguments.kills)),
        *(
            Disturbance(number, ("training", None)[i % 2])
            for number in (signal.SIGTERM, signal.SIGINT)
            for i in range(arguments.stops)
        ),
    ]
    generator.shuffle(disturbances)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "recipe.yaml"
        recipe.write_text(RECIPE, encoding="utf-8")
        stores = [folder / f"undisturbed{number}" for number in range(NUM_UNDISTURBED)]
        durations = [_undisturbed(recipe, store) for store in stores]
        expected = result_digests(stores[0])
        undisturbed_differences = [differences(store, expected) for store in stores[1:]]
        outcomes, disturbed_differences = _disturb_all(
            recipe, folder / "disturbed", disturbances, min(durations), expected, generator
        )
    shortcomings = [
        *(f"undisturbed runs differ in {names}" for names in undisturbed_differences if names),
        *(f"a disturbed run differs in {names}" for names in disturbed_differences if names),
        *(text for outcome in outcomes for text in _shortcomings(outcome)),
    ]
    answer = {
        "undisturbed_seconds": [round(duration, 1) for duration in durations],
        "undisturbed_runs_identical": not any(undisturbed_differences),
        "files_compared": len(expected),
        "disturbed_runs_finished": len(disturbed_differences),
        "disturbed_runs_identical": sum(not names for names in disturbed_differences),
        "kills": _kills(outcomes),
        "SIGTERM": _stops(outcomes, signal.SIGTERM),
        "SIGINT": _stops(outcomes, signal.SIGINT),
        "falls_short": shortcomings,
        "seconds": round(time.monotonic() - begin),
    }
    print(json.dumps(answer))
    sys.exit(1 if shortcomings else 0)


def _undisturbed(recipe: Path, store: Path) -> float:
    start = time.monotonic()
    finish(run_command(recipe, store / "run"))
    return time.monotonic() - start


def _disturb_all(
    recipe: Path,
    folder: Path,
    disturbances: list[Disturbance],
    duration: float,
    expected: dict[str, str],
    generator: random.Random,
) -> tuple[list[Outcome], list[list[str]]]:
    """Disturb one run after the other: each is started again until it finishes, then the next begins from nothing.

    Returns:
        What each signal did, and for each finished run the files in which it differs from an undisturbed one.
    """
    outcomes: list[Outcome] = []
    found: list[list[str]] = []
    for disturbance in disturbances:
        outcome = None
        while outcome is None:
            store = folder / str(len(found))
            outcome = _disturb(recipe, store, disturbance, duration, generator)
            if outcome is None:  # it finished before
                found.append(differences(store, expected))
        outcomes.append(outcome)
    store = folder / str(len(found))
    _undisturbed(recipe, store)
    return outcomes, [*found, differences(store, expected)]


def _disturb(
    recipe: Path, store: Path, disturbance: Disturbance, duration: float, generator: random.Random
) -> Outcome | None:
    """Start the run and send it a signal; None where it finished before."""
    log = store / "run/log.jsonl"
    num_lines = _num_lines(log)
    start, started_ns = time.monotonic(), time.time_ns()
    process = subprocess.Popen(
        run_command(recipe, store / "run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )

    def runs_until(has_come: Callable[[], bool]) -> bool:
        while not has_come():
            if process.poll() is not None:
                if process.returncode != 0:
                    sys.exit(f"an undisturbed start ended with exit code {process.returncode}")
                return False
            time.sleep(0.001)
        return True

    if disturbance.signal != signal.SIGKILL and not runs_until(lambda: _num_lines(log) > num_lines):
        return None  # a stop before the command line is up is Python's own affair
    opened = time.monotonic() - start
    share = generator.uniform(0.0, 0.5 if disturbance.during else 1.0)
    moment = opened + share * (duration - opened)
    if not runs_until(lambda: time.monotonic() - start > moment):
        return None
    if disturbance.during == "training" and not runs_until(lambda: _newest_ns(store, CHECKPOINT) > started_ns):
        return None
    pattern = SAVES.get(disturbance.during or "")
    if pattern is not None and not runs_until(lambda: _newest_ns(store, pattern) > started_ns):
        return None
    sent, sent_ns = time.monotonic(), time.time_ns()
    if disturbance.signal == signal.SIGINT:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    else:
        process.send_signal(disturbance.signal)
    exit_code = process.wait(timeout=120)
    saved_ns = _newest_ns(store, CHECKPOINT)
    return Outcome(
        disturbance,
        round(sent - start, 2),
        exit_code,
        time.monotonic() - sent,
        was_saving=any(_newest_ns(store, one) > started_ns for one in SAVES.values()),
        is_state_newer=saved_ns > sent_ns - TICK_NS if saved_ns else None,
    )


def _num_lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines()) if file.exists() else 0


def _newest_ns(store: Path, pattern: str) -> int:
    """When the newest file of a pattern was written; 0 where there is none."""
    with contextlib.suppress(FileNotFoundError):  # the run has just renamed or removed one; it is asked again
        return max((file.stat().st_mtime_ns for file in store.glob(pattern)), default=0)
    return 0


def _shortcomings(outcome: Outcome) -> list[str]:
    number, during = outcome.disturbance.signal, outcome.disturbance.during
    what = f"{number.name} after {outcome.moment} s"
    return [
        *([f"{what}: exit code {outcome.exit_code}"] if outcome.exit_code != EXIT_CODES[number] else []),
        *([f"{what}: {outcome.seconds:.1f} s to exit"] if outcome.seconds > LONGEST_STOP_SECONDS else []),
        *([f"{what}: state not saved"] if during == "training" and outcome.is_state_newer is False else []),
    ]


def _kills(outcomes: list[Outcome]) -> dict[str, object]:
    killed = [outcome for outcome in outcomes if outcome.disturbance.signal == signal.SIGKILL]
    return {
        "number": len(killed),
        "aimed_at": dict(Counter(outcome.disturbance.during or "a random moment" for outcome in killed)),
        "during_a_save": sum(outcome.was_saving for outcome in killed),
        "of_these": dict(
            Counter(outcome.disturbance.during or "by chance" for outcome in killed if outcome.was_saving)
        ),
        "seconds_before_each": sorted(outcome.moment for outcome in killed),
    }


def _stops(outcomes: list[Outcome], number: signal.Signals) -> dict[str, object]:
    stopped = [outcome for outcome in outcomes if outcome.disturbance.signal == number]
    return {
        "number": len(stopped),
        "exit_codes": dict(Counter(outcome.exit_code for outcome in stopped)),
        "seconds_to_exit": [round(outcome.seconds, 2) for outcome in stopped],
        "state_saved_after_signal": sum(outcome.is_state_newer is True for outcome in stopped),
        "seconds_before_each": sorted(outcome.moment for outcome in stopped),
    }


if __name__ == "__main__":
    main()
