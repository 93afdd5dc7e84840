"""A results folder as many sweeps leave it: real schemas, real parts, made-up numbers.

`python -m benchmarks.generate_results FOLDER` writes 200 sweeps of 500 trials of 50 epochs: 100,000 trials and
5 million epochs, in about 400 MB. Everything that `ls`, `top` and `query` read is there; logs and studies, which
they do not read, are not.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep_runner.results.events import EpochReported, Event, SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.parts import EpochParts, part_path, write_part
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.schemas import sweeps_table, trial_row, trials_table
from sweep_runner.results.state import SweepState
from sweep_runner.spec.loader import dump_spec
from sweep_runner.spec.model import SweepSpec

KINDS = 8
"""Sweeps that differ in their params; the others repeat the numbers of these under other names."""

PARAMS: dict[str, list[Any]] = {
    "model": ["resnet50", "mobilenetv3_large_100", "efficientnet_b0", "convnext_tiny"],
    "finetune": ["head", "full"],
    "optimizer": ["adam", "sgd"],
    "pooling": ["avg", "max"],
    "batch_size": [16, 32, 64],
    "input_resolution": [96, 128, 160, 192, 224],
    "augment": ["none", "light", "randaugment"],
    "label_smoothing": [0.0, 0.1],
}
START = 1.7e9


def generate(results: ResultsPaths, num_sweeps: int, num_trials: int, num_epochs: int) -> None:
    """Writes the sweeps `sweep-000`, `sweep-001`, …"""
    kinds = [_Kind(number, num_trials, num_epochs) for number in range(min(KINDS, num_sweeps))]
    for number in range(num_sweeps):
        kinds[number % len(kinds)].write(results, f"sweep-{number:03d}")


class _Kind:
    """The events of one sweep and what they add up to."""

    def __init__(self, number: int, num_trials: int, num_epochs: int) -> None:
        chance = random.Random(number)
        names = list(PARAMS)
        # Each kind lacks one param and has its learning rate under its own bounds.
        self.space: dict[str, Any] = {name: PARAMS[name] for name in names if name != names[number % len(names)]}
        self.objective = SweepSpec(name="x").objective
        self.state = SweepState(self.objective)
        self.epochs: list[EpochReported] = []
        for event in self._events(chance, num_trials, num_epochs):
            self.state.apply(event)
            if isinstance(event, EpochReported):
                self.epochs.append(event)
        self.rows = [trial_row(summary, self.objective.metric) for summary in self.state.trials.values()]

    def _events(self, chance: random.Random, num_trials: int, num_epochs: int) -> Iterator[Event]:
        now = START
        yield SweepChanged(time=now, state="RUNNING", data_fingerprint="f00d")
        for trial in range(num_trials):
            params = {name: chance.choice(values) for name, values in self.space.items()}
            params["lr"] = 10 ** chance.uniform(-5, -1)
            yield TrialStarted(time=now, trial=trial, attempt=1, seed=trial, params=params)
            ceiling = chance.uniform(0.3, 0.95)
            for epoch in range(1, num_epochs + 1):
                now += 10
                accuracy = ceiling * (1 - 0.9**epoch) + chance.gauss(0, 0.01)
                metrics = {
                    "train_loss": 2 * (1 - accuracy),
                    "train_accuracy": accuracy + 0.02,
                    "val_loss": 2.1 * (1 - accuracy),
                    "val_accuracy": accuracy,
                    "val_macro_f1": accuracy - 0.02,
                    "val_macro_precision": accuracy - 0.01,
                    "val_macro_recall": accuracy - 0.03,
                    "lr": params["lr"],
                    "epoch_s": 10 + chance.random(),
                    "images_per_s": 900 + 200 * chance.random(),
                    "data_wait_fraction": chance.random() / 10,
                    "peak_memory_bytes": 2**30,
                }
                yield EpochReported(
                    time=now, trial=trial, attempt=1, epoch=epoch, metrics=metrics, host="node1", device="cuda:0"
                )
            yield TrialEnded(time=now, trial=trial, attempt=1, state="COMPLETED", duration_s=10.0 * num_epochs)
        yield SweepChanged(time=now, state="COMPLETED")

    def write(self, results: ResultsPaths, name: str) -> None:
        paths = results.sweep(name)
        paths.root.mkdir(parents=True)
        paths.spec.write_text(dump_spec(SweepSpec(name=name)))
        parts = EpochParts(paths.table("epochs"), name)
        parts.add(self.epochs)
        parts.write()
        write_part(part_path(paths.table("trials"), 0), trials_table(name, self.rows, [*self.space, "lr"]))
        info = {"git_commit": "0" * 40, "host": "node1", "versions": {"torch": "2.15.0", "ray": "2.60.0"}}
        write_part(part_path(paths.table("sweeps"), 0), sweeps_table(name, self.state, info))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty or new folder")
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--trials", type=int, default=500, help="a sweep")
    parser.add_argument("--epochs", type=int, default=50, help="a trial")
    chosen = parser.parse_args()
    began = time.monotonic()
    generate(ResultsPaths(chosen.folder.absolute()), chosen.sweeps, chosen.trials, chosen.epochs)
    size_mb = sum(path.stat().st_size for path in chosen.folder.rglob("*") if path.is_file()) / 1e6
    trials = chosen.sweeps * chosen.trials
    print(
        f"{chosen.sweeps} sweeps, {trials:,} trials, {trials * chosen.epochs:,} epochs: "
        f"{size_mb:.0f} MB in {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
