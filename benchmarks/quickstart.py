"""The quick start as a user runs it: how long, how many trials, how good the winner is on how many test images."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.harness import sweep

FILE = Path(__file__).parent.parent / "sweeps" / "quickstart.yaml"


def main(runs: int = 3) -> None:
    """Runs it a few times, each with empty results and an empty pixel cache, and prints a row each."""
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            began = time.perf_counter()
            done = subprocess.run(
                [*sweep("run", str(FILE), "--results", folder, "--json"), "--set", f"data.cache_dir={folder}/cache"],
                capture_output=True,
                text=True,
                check=True,
            )
            took = time.perf_counter() - began
        outcome = json.loads(done.stdout)
        final = outcome["best"]["final"]
        correct = round(final["test_accuracy"] * final["test_num_examples"])
        print(
            f"{took:.0f} s; trials: {outcome['trials']}; best: {outcome['best']['params']}; "
            f"test accuracy {final['test_accuracy']:.4f} ({correct} of {final['test_num_examples']:.0f})"
        )


if __name__ == "__main__":
    main()
