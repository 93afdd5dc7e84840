"""The peer of `trial_cost`: Ray Tune as its documentation starts it, all settings left at their defaults.

The same trials as ours: 3 reports of the same closed-form curve, random learning rates, 2 trials at a time.
A callback notes when each trial is done; it changes nothing else. Usage:
python benchmarks/peers/plain_tune.py NUM_TRIALS STORAGE TIMES_FILE
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from ray import tune

from trainables.synthetic import SyntheticConfig, curve


def train(config: dict[str, float]) -> None:
    for epoch in range(1, 4):
        tune.report({"val_accuracy": curve(SyntheticConfig(lr=config["lr"]), epoch, 0)})


class Times(tune.Callback):
    """When each trial was done, in seconds since the epoch."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.times.append(time.time())


times = Times()
tuner = tune.Tuner(
    train,
    param_space={"lr": tune.loguniform(1e-5, 1.0)},
    tune_config=tune.TuneConfig(
        metric="val_accuracy", mode="max", num_samples=int(sys.argv[1]), max_concurrent_trials=2
    ),
    run_config=tune.RunConfig(storage_path=sys.argv[2], callbacks=[times]),
)
results = tuner.fit()
assert len(results) == int(sys.argv[1])
assert results.num_errors == 0
Path(sys.argv[3]).write_text(json.dumps(times.times))
