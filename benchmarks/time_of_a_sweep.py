"""Where the time of a sweep goes: runs the quick start, reads its log, draws `docs/images/time-of-a-sweep.svg`.

`python -m benchmarks.time_of_a_sweep [SWEEP_FILE]` prints the parts in seconds as a Markdown table, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import sweep

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "time-of-a-sweep.svg"
_COLOURS = {"epochs": "#2a6f97", "the rest of a trial": "#89c2d9", "start": "#bc6c25", "end": "#dda15e"}


@dataclass(frozen=True)
class Trial:
    """When a trial ran, in seconds since the command began, and how much of that its epochs took."""

    number: int
    start_s: float
    end_s: float
    epochs_s: float


def trials_of(log: Path, began: float) -> list[Trial]:
    """The trials in a sweep's log, by their start."""
    starts: dict[int, float] = {}
    epochs: dict[int, float] = {}
    trials = []
    for event in map(json.loads, log.read_text().splitlines()):
        number, now = event.get("trial", -1), event["time"] - began
        if event["kind"] == "start":
            starts[number] = now
        elif event["kind"] == "epoch":
            epochs[number] = epochs.get(number, 0.0) + event["metrics"]["epoch_s"]
        elif event["kind"] == "end" and number in starts:
            trials.append(Trial(number, starts[number], now, epochs.get(number, 0.0)))
    return sorted(trials, key=lambda trial: trial.start_s)


def lanes_of(trials: list[Trial]) -> list[list[Trial]]:
    """Trials by the place that they ran in: each takes the first that is free."""
    lanes: list[list[Trial]] = []
    for trial in trials:
        free = next((lane for lane in lanes if lane[-1].end_s <= trial.start_s + 0.05), None)
        if free is None:
            lanes.append([trial])
        else:
            free.append(trial)
    return lanes


def parts_of(trials: list[Trial], total_s: float) -> dict[str, float]:
    """Seconds of the wall clock by part; what happens in several places at a time counts as their mean."""
    num_lanes = len(lanes_of(trials))
    first, last = min(trial.start_s for trial in trials), max(trial.end_s for trial in trials)
    epochs = sum(trial.epochs_s for trial in trials) / num_lanes
    in_trials = sum(trial.end_s - trial.start_s for trial in trials) / num_lanes
    return {
        "start: Ray, reading the data, the pixel cache": first,
        "epochs of training and validation": epochs,
        "the rest of a trial: import of PyTorch, model, checkpoints, reports": in_trials - epochs,
        "places without a trial: between trials, and while the last one ends": last - first - in_trials,
        "end: final test of the best, export, report": total_s - last,
    }


def draw(trials: list[Trial], total_s: float) -> None:
    """Draws one row per slot, one bar per trial."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "sweep"
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    lanes = lanes_of(trials)
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.6 * len(lanes)), layout="constrained")
    first, last = trials[0].start_s, max(trial.end_s for trial in trials)
    for row, lane in enumerate(lanes):
        for trial in lane:
            axes.barh(row, trial.end_s - trial.start_s, left=trial.start_s, color=_COLOURS["the rest of a trial"])
            axes.barh(row, trial.epochs_s, left=trial.end_s - trial.epochs_s, color=_COLOURS["epochs"])
    rows = range(len(lanes))
    axes.barh(rows, [first] * len(lanes), color=_COLOURS["start"])
    axes.barh(rows, [total_s - last] * len(lanes), left=last, color=_COLOURS["end"])
    axes.set_yticks(list(rows), [f"place {row + 1}" for row in rows])
    axes.set_xlabel("seconds since the command began")
    axes.set_xlim(0, total_s)
    handles = [Patch(color=colour, label=name) for name, colour in _COLOURS.items()]
    figure.legend(handles=handles, ncols=4, loc="outside upper center", frameon=False)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


def main(file: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = sweep("run", str(file), "--results", folder, "--quiet", "--set", f"data.cache_dir={folder}/cache")
        began, clock = time.time(), time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        total_s = time.perf_counter() - clock
        (log,) = Path(folder).glob("*/log.jsonl")
        trials = trials_of(log, began)
    draw(trials, total_s)
    print(f"{len(trials)} trials, {total_s:.1f} s\n\n| part | s | share |\n|---|---|---|")
    for part, seconds in parts_of(trials, total_s).items():
        print(f"| {part} | {seconds:.1f} | {seconds / total_s:.0%} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "sweeps" / "quickstart.yaml")
