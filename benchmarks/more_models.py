"""What a soup and an ensemble bring over the single model of the same sweep: accuracy, size and latency side by side.

`python -m benchmarks.more_models KIND --data DIR --weights DIR [--trials 12] [--epochs 5] [--resolution 48]`

KIND is `flowers` (DIR has one folder of pictures per class) or `scenes` (DIR has labels.csv and images/). Runs a whole
sweep with full fine-tuning of the four networks whose weights are in the folder, as a user does, and prints the table
`candidates` in Markdown: accuracy on val with its 95 % interval, the paired difference, accuracy on test of what is
published, and size and latency of each ONNX file (one picture, one thread). `export.ensemble` is 3. Formats such as
onnx-int8 are given with `--formats onnx onnx-int8`: their own table is in the package's model card.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness import machine
from sweep_runner.api import open_results

NETWORKS = ("mobilenetv2_100", "tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
SPLIT = {"train": 0.4, "val": 0.3, "test": 0.3, "stratify": True, "seed": 0}


def weights_folder(given: Path, target: Path) -> Path:
    """A folder with a file `NETWORK.pth` for each, whatever follows the name where the weights are."""
    target.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        (file,) = given.absolute().glob(f"{network}*.pth")
        link = target / f"{network}.pth"
        if not link.exists():
            link.symlink_to(file)
    return target


def sweep_file(kind: str, arguments: argparse.Namespace, weights: Path) -> dict[str, Any]:
    """The sweep: learning rates around the usual one, no augmentation, a network drawn for each trial."""
    data = {"root": str(arguments.data.absolute()), "split": SPLIT}
    return {
        "name": kind,
        "data": data,
        "fixed": {
            "finetune": "full",
            "epochs": arguments.epochs,
            "input_resolution": arguments.resolution,
            "pretrained": str(weights),
            "batch_size": 32,
        },
        "space": {"model": list(NETWORKS), "lr": {"low": 3e-4, "high": 3e-3, "log": True}},
        "search": {"sampler": "random", "trials": arguments.trials, "seed": arguments.seed},
        "resources": {"max_concurrent": arguments.concurrent},
        "export": {"formats": arguments.formats, "soup": "auto", "ensemble": 3, "temperature": True},
        "dashboard": False,
        "metrics": False,
    }


def main(arguments: argparse.Namespace) -> None:
    """Runs the sweep, then prints what it had to choose from."""
    results = arguments.results or Path(tempfile.mkdtemp(prefix="more-models-"))
    results.mkdir(parents=True, exist_ok=True)
    file = results / f"{arguments.kind}.yaml"
    weights = weights_folder(arguments.weights, results.absolute() / "weights")
    file.write_text(yaml.safe_dump(sweep_file(arguments.kind, arguments, weights), sort_keys=False))
    there = (results / arguments.kind / "sweep.yaml").exists()
    command = ["resume", arguments.kind] if there else ["run", str(file)]
    subprocess.run(
        [sys.executable, "-m", "sweep_runner", *command, "--results", str(results)],
        check=True,
        stdout=sys.stderr,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    rows = open_results(results).candidates(arguments.kind).to_pylist()
    print(f"{arguments.kind}: {arguments.trials} trials, {arguments.resolution} px; {machine()}\n")
    print("| model | trials | accuracy on val | against | difference | test | MB | ms |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(cells(row))} |")
    print()
    for row in rows:
        if row["reason"]:
            print(f"- {row['candidate']}: {row['reason']}")


def cells(row: dict[str, Any]) -> list[str]:
    """A row as the table has it; – is what was not measured."""

    def text(name: str, form: str, scale: float = 1.0) -> str:
        return "–" if row[name] is None else format(row[name] * scale, form)

    val = f"{text('val_accuracy', '.3f')} ({text('val_accuracy_low', '.3f')} to {text('val_accuracy_high', '.3f')})"
    difference = f"{text('difference', '+.3f')} ({text('difference_low', '+.3f')} to {text('difference_high', '+.3f')})"
    return [
        f"**{row['candidate']}**" if row["published"] else row["candidate"],
        ", ".join(map(str, row["trials"])),
        val,
        row["compared_with"] or "–",
        "–" if row["difference"] is None else difference,
        text("test_accuracy", ".3f"),
        text("onnx_bytes", ".3g", 1e-6),
        text("onnx_latency_ms", ".3g"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=("flowers", "scenes"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrent", type=int, default=2)
    parser.add_argument("--formats", nargs="+", default=["onnx"])
    main(parser.parse_args())
