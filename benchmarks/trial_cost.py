"""What a trial costs besides its training: from the 10th to the 60th finished trial of 3 reports, 2 at a time.

Both sides note when each trial is done, so that what a start costs does not come in. The whole command is timed, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from benchmarks.harness import Figure, paired, sweep, wall_s

FIRST, TRIALS = 10, 60
SPEC = f"""\
name: cost
trainable: synthetic
fixed: {{epochs: 3}}
space: {{lr: {{low: 1e-5, high: 1.0, log: true}}}}
search: {{sampler: random, trials: {TRIALS}}}
resources: {{cpus: 1, max_concurrent: 2}}
"""


def measure(pairs: int = 3) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "cost.yaml"
        file.write_text(SPEC)
        runs = count()
        whole: dict[str, list[float]] = {"ours": [], "theirs": []}

        def ours() -> float:
            results = Path(folder) / f"ours-{next(runs)}"
            whole["ours"].append(wall_s(sweep("run", str(file), "--results", str(results), "--quiet"), folder))
            lines = (results / "cost" / "log.jsonl").read_text().splitlines()
            return slope_s([event["time"] for event in map(json.loads, lines) if event["kind"] == "end"])

        def theirs() -> float:
            script = Path(__file__).parent / "peers" / "plain_tune.py"
            run = next(runs)
            times = Path(folder) / f"times-{run}.json"
            command = [sys.executable, str(script), str(TRIALS), f"{folder}/theirs-{run}", str(times)]
            whole["theirs"].append(wall_s(command, folder))
            return slope_s(json.loads(times.read_text()))

        a_trial = paired(
            ours,
            theirs,
            pairs=pairs,
            ratio=lambda our, their: their / our,
            what="a trial besides its training (synthetic, 3 reports, 2 at a time)",
            against="Ray Tune, default settings",
            unit="s a trial",
            ratio_of="less",
            aim="30× less",
            command="python -m benchmarks trial_cost",
        )
        our_walls, their_walls = iter(whole["ours"]), iter(whole["theirs"])
        command = paired(
            lambda: next(our_walls),
            lambda: next(their_walls),
            pairs=pairs,
            ratio=lambda our, their: their / our,
            what=f"the whole command with {TRIALS} such trials, start and end included",
            against="Ray Tune, default settings",
            unit="s",
            ratio_of="less",
            aim="–",
            command="python -m benchmarks trial_cost",
        )
        return [a_trial, command]


def slope_s(times: Sequence[float]) -> float:
    """Seconds a trial, from the 10th finished trial to the last."""
    ordered = sorted(times)
    assert len(ordered) == TRIALS, f"{len(ordered)} trials finished instead of {TRIALS}"
    return (ordered[-1] - ordered[FIRST - 1]) / (TRIALS - FIRST)
