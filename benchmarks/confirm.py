"""Whether running the best trials again with other seeds (`search.confirm`) publishes better models.

`python -m benchmarks.confirm SET --data DIR --weights DIR [--sweeps FIRST END] [--output FILE]`; `--confirm TOP SEEDS`
for more of either, `--scratch` for small networks from random weights instead of heads.

Heads on stored features of pretrained networks, on few pictures: a quarter of a hundred or so decide, as in small
projects, and many others say what the published model is worth. One sweep serves both arms: its winner before
confirming, and after. The keeper, study and log are those of a sweep; trials run in this process, one at a time.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from benchmarks.curves.recorded_classifier import RecordedClassifier
from sweep_runner.execution.build import build
from sweep_runner.execution.keeper.confirming import candidates
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.results.events import SweepChanged
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.search.study import Study
from sweep_runner.spec.check import load_plan
from sweep_runner.spec.ending import Confirm
from sweep_runner.spec.plan import Plan
from trainables.contract import EpochReport
from trainables.local import LocalHandle

WEIGHTS = {"mobilenetv2_100": "mobilenetv2_100_imagenet.pth", "tf_efficientnet_lite0": "tf_efficientnet_lite0.pth"}
NETS = ("simple_cnn3", "cnn4", "mlp6")
SCRATCH_RESOLUTION = 32
NUM_SEEN = 45
"""Examples of val that the search sees; the others say what a model is worth."""
SETS: Mapping[str, tuple[float, float, int]] = {
    "flowers": (0.4, 0.6, 96),
    "cifar10_jpeg": (0.05, 0.26, 64),
    "scenes": (0.4, 0.6, 96),
}
"""Name → shares of train and val, resolution."""


class Judged(RecordedClassifier):
    """The image classifier, which also reports what the search may not see, as `unseen_accuracy`."""

    def num_seen(self, num_examples: int) -> int:
        """As in a small project."""
        return NUM_SEEN


def sweep_file(
    name: str, data: Path, weights: Path | None, seed: int, folder: Path, top: int = 5, seeds: int = 3
) -> Path:
    """Writes the sweep file of one sweep: much like what `sweep init` writes for a small set, and `confirm`.

    Args:
        name: of the set.
        data: its folder.
        weights: folder of weights for heads; None: small networks from scratch.
        seed: of the sweep and of its division of the data.
        folder: where to write.
        top, seeds: of `search.confirm`.
    """
    train, val, resolution = SETS[name]
    start = f'finetune: head, pretrained: "{weights}"' if weights else "finetune: scratch, pretrained: false"
    models = WEIGHTS if weights else NETS
    resolution = resolution if weights else SCRATCH_RESOLUTION
    file = folder / f"{name}-{seed}.yaml"
    file.write_text(
        f"""
name: {name}-{seed}
data:
  dataset: image_folder
  root: {data}
  split: {{train: {train}, val: {val}, test: {max(0.0, round(1 - train - val, 3))}, given: false, seed: {seed}}}
trainable: benchmarks.confirm:Judged
fixed: {{epochs: 12, {start}, input_resolution: {resolution}}}
space:
  model: [{", ".join(models)}]
  optimizer: [adamw, sgd]
  lr: {{low: 1.0e-4, high: 1.0, log: true}}
  batch_size: [8, 16, 32]
  weight_decay: {{low: 1.0e-6, high: 1.0e-1, log: true}}
  label_smoothing: {{low: 0.0, high: 0.3}}
search: {{sampler: guided, trials: 20, seed: {seed}, confirm: {{top: {top}, seeds: {seeds}}}}}
pruner: {{kind: promotion}}
export: {{formats: []}}
"""
    )
    return file


def single_labels(table: Path, images: Path, folder: Path) -> Path:
    """Links the pictures of a one-hot table that have one label, a folder per class."""
    lines = table.read_text().split()
    classes = lines[0].split(",")[1:]
    for line in lines[1:]:
        file, *flags = line.split(",")
        if flags.count("1") == 1:
            target = folder / classes[flags.index("1")] / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(images / file)
    return folder


def run_sweep(plan: Plan, root: Path) -> SweepState:
    """Runs a sweep in this process, without Ray; the end (evaluation, export) is left out."""
    spec, paths = plan.spec, SweepPaths(root)
    root.mkdir(parents=True)
    plan.trainable(plan.data, paths.data).prepare(plan.candidates)

    with Recorder.open(paths, spec.objective, list(spec.space), {}) as recorder:
        recorder.record(SweepChanged(time=time.time(), state="RUNNING"))
        with Study.open(paths.study, spec, plan.max_epochs) as study:
            keeper = Keeper(spec, paths, study, recorder, 1)
            while (assignment := keeper.next()) is not None:
                _train(keeper, assignment)
        return recorder.state


def _train(keeper: Keeper, assignment: Assignment) -> None:
    said = {"trial": assignment.trial, "attempt": assignment.attempt}

    def on_report(report: EpochReport) -> None:
        if report.epoch > assignment.recorded_epochs and not keeper.on_message(
            assignment.trial, Message(**said, report=report)
        ):
            raise SystemExit

    handle = LocalHandle(
        Path(assignment.folder), number=assignment.trial, attempt=assignment.attempt, seed=assignment.seed,
        metric=assignment.metric, on_report=on_report,
    )  # fmt: skip
    trainable, config = build(assignment.trainable, assignment.data, assignment.data_folder, assignment.config)
    try:
        trainable.train(config, handle)
    except SystemExit:
        return
    keeper.on_message(assignment.trial, Message(**said, outcome="completed"))


def judged(state: SweepState, top: int) -> dict[str, float]:
    """What both arms would publish, in unseen accuracy, and what that cost."""
    searched = [each for each in state.trials.values() if each.confirms is None]
    best = candidates(state, Confirm(top=top))
    plain = best[0]
    winner = state.best()
    assert winner is not None
    again = [state.trials[number] for number in state.repetitions[winner.trial]]
    runs = [winner, *again]
    mean = state.runs(winner.trial)
    assert mean is not None
    lucky = max(runs, key=lambda run: run.best_value or 0.0)
    return {
        "plain": _unseen(plain),
        "confirmed": _unseen(winner),
        "confirmed_best_run": _unseen(lucky),
        "confirmed_new_runs": statistics.fmean(map(_unseen, again)),
        "plain_val": plain.best_value or math.nan,
        "confirmed_val": mean.mean,
        "changed": float(winner.trial != plain.trial),
        "oracle_of_top": max(map(_unseen, best)),
        "epochs": float(sum(each.epochs for each in searched)),
        "epochs_again": float(sum(each.epochs for each in state.trials.values() if each.confirms is not None)),
        "seconds": sum(each.duration_s for each in searched),
        "seconds_again": sum(each.duration_s for each in state.trials.values() if each.confirms is not None),
    }


def _unseen(trial: TrialSummary) -> float:
    return float(trial.best_metrics["unseen_accuracy"])


def summary(rows: list[Mapping[str, float]]) -> Iterator[str]:
    """The means over sweeps, and the difference between the arms with its standard error."""
    for key in rows[0]:
        values = [row[key] for row in rows]
        yield f"{key:20} {statistics.fmean(values):.4f}"
    for arm in ("confirmed", "confirmed_best_run", "confirmed_new_runs"):
        gains = [100 * (row[arm] - row["plain"]) for row in rows]
        error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
        better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
        yield f"{arm} - plain: {statistics.fmean(gains):+.2f} ± {error:.2f} points ({better} better, {worse} worse)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--data", type=Path, required=True, help="Folder with the sets (flowers, cifar10_jpeg, ...).")
    parser.add_argument("--weights", type=Path, required=True, help=f"Folder with {', '.join(WEIGHTS.values())}.")
    parser.add_argument("--sweeps", type=int, nargs=2, default=(0, 10), metavar=("FIRST", "END"), help="Seeds.")
    parser.add_argument(
        "--confirm", type=int, nargs=2, default=(5, 3), metavar=("TOP", "SEEDS"), help="As in the file."
    )
    parser.add_argument("--scratch", action="store_true", help=f"Train {', '.join(NETS)} instead of heads.")
    parser.add_argument("--output", type=Path, help="A line of JSON per sweep is added here; those there count, too.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="confirm-"))
    weights = folder / "weights"
    weights.mkdir()
    for model, name in WEIGHTS.items():
        (weights / f"{model}.pth").symlink_to(given.weights.absolute() / name)
    data = given.data.absolute() / given.set
    if given.set == "scenes":
        scenes = given.data.absolute() / "scenes_multilabel"
        data = single_labels(scenes / "labels.csv", scenes / "images", folder / "scenes")
    rows: list[Mapping[str, float]] = []
    if given.output is not None and given.output.exists():
        rows = [json.loads(line) for line in given.output.read_text().splitlines()]
    for seed in range(*given.sweeps):
        file = sweep_file(given.set, data, None if given.scratch else weights, seed, folder, *given.confirm)
        began = time.monotonic()
        rows.append(judged(run_sweep(load_plan(file), folder / f"{given.set}-{seed}"), given.confirm[0]))
        print(f"sweep {seed}: {time.monotonic() - began:.0f} s {json.dumps(rows[-1])}", flush=True)
        if given.output is not None:
            with given.output.open("a") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
    print("\n".join(summary(rows)))


if __name__ == "__main__":
    main()
