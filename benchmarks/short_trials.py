"""500 trials of 0.1 s, 2 at a time: from the first finished trial to the last, against trials × 0.1 s / 2."""

from __future__ import annotations

import json
import tempfile
from itertools import count
from pathlib import Path

from benchmarks.harness import Figure, paired, sweep, wall_s

TRIALS, TRIAL_S, AT_A_TIME = 500, 0.1, 2
SPEC = f"""\
name: short
trainable: synthetic
fixed: {{epochs: 1, epoch_s: {TRIAL_S}}}
space: {{lr: {{low: 1e-5, high: 1.0, log: true}}}}
search: {{sampler: random, trials: {TRIALS}}}
resources: {{cpus: 1, max_concurrent: {AT_A_TIME}}}
"""


def measure(pairs: int = 2) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "short.yaml"
        file.write_text(SPEC)
        runs = count()

        def ours() -> float:
            results = Path(folder) / f"ours-{next(runs)}"
            wall_s(sweep("run", str(file), "--results", str(results), "--quiet"), folder)
            lines = (results / "short" / "log.jsonl").read_text().splitlines()
            ends = sorted(event["time"] for event in map(json.loads, lines) if event["kind"] == "end")
            assert len(ends) == TRIALS, f"{len(ends)} trials ended instead of {TRIALS}"
            return (ends[-1] - ends[0]) * TRIALS / (TRIALS - 1)

        return [
            paired(
                ours,
                lambda: TRIALS * TRIAL_S / AT_A_TIME,
                pairs=pairs,
                ratio=lambda our, ideal: our / ideal,
                what=f"{TRIALS} trials of {TRIAL_S} s, {AT_A_TIME} at a time, without the start",
                against="ideal: trials × 0.1 s / 2",
                unit="s",
                ratio_of="as long",
                aim="≤ 1.1×",
                command="python -m benchmarks short_trials",
            )
        ]
