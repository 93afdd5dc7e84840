"""The peer of `trial_cost`: Ray Tune as its documentation starts it, all settings left at their defaults.

The same trials as ours: 3 reports of the same closed-form curve, random learning rates, 2 trials at a time.
Usage: python benchmarks/peers/plain_tune.py NUM_TRIALS STORAGE
"""

import sys

from ray import tune

from trainables.synthetic import SyntheticConfig, curve


def train(config: dict[str, float]) -> None:
    for epoch in range(1, 4):
        tune.report({"val_accuracy": curve(SyntheticConfig(lr=config["lr"]), epoch, 0)})


tuner = tune.Tuner(
    train,
    param_space={"lr": tune.loguniform(1e-5, 1.0)},
    tune_config=tune.TuneConfig(
        metric="val_accuracy", mode="max", num_samples=int(sys.argv[1]), max_concurrent_trials=2
    ),
    run_config=tune.RunConfig(storage_path=sys.argv[2]),
)
results = tuner.fit()
assert len(results) == int(sys.argv[1])
assert results.num_errors == 0
