"""Epochs that a search spends until it is within 1 % of the grid's best, replayed on recorded learning curves.

`python -m benchmarks.search_efficiency --record` trains the grid for real (simple_cnn3 on digits at 16 px) and writes
`data/digits_grid.parquet`. The figure replays it through the real keeper, study, sampler and pruner, 10 seeds.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure
from benchmarks.load import open_keeper
from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.spec.model import SweepSpec
from trainables.contract import EpochReport

FILE = Path(__file__).parent / "data" / "digits_grid.parquet"
SPACE: Mapping[str, tuple[Any, ...]] = {
    "lr": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "optimizer": ("adamw", "sgd"),
    "batch_size": (16, 64, 256),
}
EPOCHS, WITHIN = 9, 0.01
SEEDS = (10, 60)
"""Random search is lucky or very unlucky: the first ten seeds alone say little of it."""
Curves = dict[tuple[Any, ...], list[float]]


def record() -> None:
    """Trains every configuration of the grid and writes its accuracies."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from trainables.image.config import ImageConfig
    from trainables.image.data_config import DataConfig
    from trainables.image.trainable import ImageClassifier
    from trainables.local import LocalHandle

    rows: list[dict[str, Any]] = []
    fixed = {"model": "simple_cnn3", "input_resolution": 16, "color": "grayscale", "finetune": "scratch"}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = DataConfig.model_validate({"dataset": "digits", "cache_dir": f"{folder}/cache"})
        trainable = ImageClassifier(data, Path(folder) / "data")
        trainable.prepare({key: [value] for key, value in fixed.items()})
        for number, values in enumerate(itertools.product(*SPACE.values())):
            params = dict(zip(SPACE, values, strict=True))
            handle = LocalHandle(Path(folder) / str(number), seed=0)
            config = ImageConfig.model_validate({**fixed, "epochs": EPOCHS, "schedule": "constant", **params})
            trainable.train(config, handle)
            rows += [{**params, "epoch": r.epoch, "val_accuracy": r.metrics["val_accuracy"]} for r in handle.reports]
    FILE.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), FILE)


def read_curves() -> Curves:
    """Accuracies of each configuration, an epoch each."""
    import pyarrow.parquet as pq

    curves: Curves = {}
    for row in sorted(pq.read_table(FILE).to_pylist(), key=lambda row: row["epoch"]):
        curves.setdefault(tuple(row[key] for key in SPACE), []).append(row["val_accuracy"])
    return curves


def epochs_spent(curves: Curves, sampler: str, pruner: Mapping[str, Any], seed: int) -> int:
    """Epochs until one is within 1 % of the grid's best, two trials at a time; all that ran, if none ever is."""
    goal = max(map(max, curves.values())) - WITHIN
    spec = SweepSpec.model_validate(
        {
            "name": "replay",
            "trainable": "image_classifier",
            "fixed": {"epochs": EPOCHS},
            "space": {key: {"values": values} for key, values in SPACE.items()},
            "search": {"sampler": sampler, "trials": len(curves), "seed": seed},
            "pruner": dict(pruner),
            "dashboard": False,
        }
    )
    spent = 0
    live: deque[Assignment] = deque()
    reached: dict[int, int] = {}  # a trial that was paused goes on where it was
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, open_keeper(spec, Path(folder) / "sweep") as keeper:
        while True:
            while (assignment := keeper.next()) is not None:
                live.append(assignment)
            if not live:
                return spent
            assignment = live.popleft()
            epoch = reached.get(assignment.trial, 0)
            if epoch == EPOCHS:
                keeper.on_message(
                    assignment.trial, Message(trial=assignment.trial, attempt=assignment.attempt, outcome="completed")
                )
                continue
            value = curves[tuple(assignment.config[key] for key in SPACE)][epoch]
            spent += 1
            reached[assignment.trial] = epoch + 1
            if value >= goal:
                return spent
            report = EpochReport(epoch + 1, {"val_accuracy": value})
            if keeper.on_message(
                assignment.trial,
                Message(trial=assignment.trial, attempt=assignment.attempt, report=report, host="here"),
            ):
                live.append(assignment)


def measure() -> list[Figure]:
    curves = read_curves()
    ours = [epochs_spent(curves, "guided", {"kind": "promotion"}, seed) for seed in range(max(SEEDS))]
    random = [epochs_spent(curves, "random", {"kind": "none"}, seed) for seed in range(max(SEEDS))]
    print(f"  epochs: ours {ours}, random {random}", file=sys.stderr)
    figures = [_figure(ours[: SEEDS[0]], [len(curves) * EPOCHS] * SEEDS[0], "the full grid", "≤ 1/5")]
    for seeds in SEEDS:
        print(
            f"  means of {seeds}: {statistics.mean(ours[:seeds]):.1f}, {statistics.mean(random[:seeds]):.1f}",
            file=sys.stderr,
        )
        figures.append(_figure(ours[:seeds], random[:seeds], "random without pruning", "≤ 1/2"))
    return figures


def _figure(ours: list[int], theirs: list[int], against: str, aim: str) -> Figure:
    ratios = sorted(our / their for our, their in zip(ours, theirs, strict=True))
    return Figure(
        what=f"epochs until within 1 % of the grid's best ({len(ours)} seeds, recorded curves)",
        against=against,
        ours=statistics.median(ours),
        theirs=statistics.median(theirs),
        unit="epochs",
        # Seeds of two samplers are no pairs: the ratio is that of the medians.
        ratio=statistics.median(ours) / statistics.median(theirs),
        spread=(ratios[0], ratios[-1]),
        pairs=len(ours),
        ratio_of="as many",
        aim=aim,
        command="python -m benchmarks search_efficiency",
    )


if __name__ == "__main__":
    if sys.argv[1:] != ["--record"]:
        sys.exit("python -m benchmarks.search_efficiency --record, or: python -m benchmarks search_efficiency")
    record()
