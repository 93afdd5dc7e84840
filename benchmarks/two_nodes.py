"""A sweep of real CPU work on a cluster of two nodes with a CPU each, against one node: how much sooner it is done.

The nodes are network namespaces of this machine (root, `ip`), each with a raylet of its own that gives out one CPU.
Counted is the time from the first trial's start to the last one's end: workers' starts are in it, Ray's is not.
"""

from __future__ import annotations

import json
import sys
import tempfile
from itertools import count
from pathlib import Path

from benchmarks.harness import Figure, paired
from tests.support.nodes import Lab, lab, why_not

TRIALS, EPOCHS, MEGABYTES = 12, 8, 1000
_HERE = Path(__file__).parent


def _sweep_s(cluster: Lab, folder: Path, number: int) -> float:
    """Seconds that the trials of a sweep take on a cluster."""
    file = folder / f"work-{number}.yaml"
    spec = {
        "name": f"work-{number}",
        "trainable": "cpu_work:CpuWork",
        "fixed": {"epochs": EPOCHS, "megabytes": MEGABYTES},
        "space": {"number": list(range(TRIALS))},
        "objective": {"metric": "speed"},
        "search": {"sampler": "grid", "trials": TRIALS},
        "cluster": {"address": cluster.address, "env": {"py_modules": [str(_HERE / "cpu_work.py")]}},
        "dashboard": False,
    }
    file.write_text(json.dumps(spec))  # JSON is YAML
    done = cluster.sweep("run", file, "--results", folder, cwd=_HERE, timeout_s=1800)
    if done.returncode:
        raise RuntimeError(done.stderr)
    events = [json.loads(line) for line in (folder / f"work-{number}" / "log.jsonl").read_text().splitlines()]
    started = min(event["time"] for event in events if event["kind"] == "start")
    return float(max(event["time"] for event in events if event["kind"] == "end") - started)


def measure(pairs: int = 3) -> list[Figure]:
    if reason := why_not():
        print(f"  skipped: {reason}", file=sys.stderr)
        return []
    numbers = count()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, lab() as two, lab() as one:
        two.start("second")
        one.start()
        return [
            paired(
                lambda: _sweep_s(two, Path(folder), next(numbers)),
                lambda: _sweep_s(one, Path(folder), next(numbers)),
                pairs=pairs,
                ratio=lambda both, alone: alone / both,
                what=f"2 nodes with a CPU each: {TRIALS} trials of CPU work",
                against="1 node",
                unit="s",
                ratio_of="sooner",
                aim="≥ 1.8×",
                command="python -m benchmarks two_nodes",
            )
        ]
