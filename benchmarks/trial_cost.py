"""What a trial costs besides its training: the slope from 10 to 60 trials of 3 reports each, 2 at a time."""

from __future__ import annotations

import statistics
import sys
import tempfile
from itertools import count
from pathlib import Path

from benchmarks.harness import Figure, paired, sweep, wall_s

FEW, MANY = 10, 60
SPEC = """\
name: cost
trainable: synthetic
fixed: {epochs: 3}
space: {lr: {low: 1e-5, high: 1.0, log: true}}
search: {sampler: random, trials: 10}
resources: {cpus: 1, max_concurrent: 2}
"""


def measure(pairs: int = 3) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "cost.yaml"
        file.write_text(SPEC)
        runs = count()

        def ours(trials: int) -> float:
            options = ("--set", f"search.trials={trials}", "--results", f"{folder}/ours-{next(runs)}", "--quiet")
            return wall_s(sweep("run", str(file), *options), folder)

        def theirs(trials: int) -> float:
            script = Path(__file__).parent / "peers" / "plain_tune.py"
            return wall_s([sys.executable, str(script), str(trials), f"{folder}/theirs-{next(runs)}"], folder)

        return [
            paired(
                # The slope is small beside the noise of a start: the median of several is cheap to have.
                lambda: statistics.median((ours(MANY) - ours(FEW)) / (MANY - FEW) for _ in range(5)),
                lambda: (theirs(MANY) - theirs(FEW)) / (MANY - FEW),
                pairs=pairs,
                ratio=lambda our, their: their / our,
                what="a trial besides its training (synthetic, 3 reports, 2 at a time)",
                against="Ray Tune, default settings",
                unit="s a trial",
                ratio_of="less",
                aim="30× less",
                command="python -m benchmarks trial_cost",
            ),
            paired(
                lambda: ours(MANY),
                lambda: theirs(MANY),
                pairs=1,
                ratio=lambda our, their: their / our,
                what="the whole command with 60 such trials",
                against="Ray Tune, default settings",
                unit="s",
                ratio_of="less",
                aim="–",
                command="python -m benchmarks trial_cost",
            ),
        ]
