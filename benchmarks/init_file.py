"""What `sweep init` writes, run as a user runs it, against one trial with the tool's own defaults.

    python -m benchmarks.init_file --data DIR --weights DIR [--sets flowers] [--seeds 0 1 2] [--within 20]

DIR has `flowers` and `cifar10_jpeg` (class folders), `scenes_multilabel` (a table of labels and `images/`) and
`voc_layout_bccd` (VOC). For each set and seed, images that neither side sees are split off; the others become a folder
as users have them. Then both sides run from a shell:

- ours: `sweep init FOLDER --weights DIR`, and `sweep run` of the file that it wrote;
- peer: `sweep run` of a file with the data, the weights and one trial: every hyperparameter at its default (the model
  is the first one with weights, because the default model may have none there).

`sweep evaluate` tells what the published models are worth on the unseen images. Prints one row per set and seed: the
objective of init's file on the unseen images (accuracy, macro F1 or mean average precision), the difference with its
95 % interval (bootstrap over the images, both sides on the same ones), wall and CPU time (`init` included). `--output`
keeps the rows as JSON lines; rows that it has already are not measured again. With `--within`, no row is
begun that would not end within so many minutes: the same command again measures the others.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import json
import math
import os
import resource
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from benchmarks.harness import sweep

_SUBREAPER = 36  # prctl: orphans become children of this process, so that their CPU time is counted
_RESAMPLES = 2000


def _take(per_class: Mapping[str, list[Path]], known: int, seed: int) -> tuple[set[Path], set[Path]]:
    """The known and the unseen images: as many of each class as its share says."""
    random = np.random.default_rng(seed)
    total = sum(map(len, per_class.values()))
    parts: tuple[set[Path], set[Path]] = (set(), set())
    for files in per_class.values():
        order = [files[k] for k in random.permutation(len(files))]
        cut = round(known * len(files) / total)
        parts[0].update(order[:cut])
        parts[1].update(order[cut:])
    return parts


def class_folders(source: Path, target: Path, known: int, unseen: int, seed: int) -> None:
    """Two folders of class folders; the splits that the source has are joined first."""
    per_class = defaultdict(list)
    for file in sorted(source.glob("*/*/*.*")):
        per_class[file.parent.name].append(file)
    share = (known + unseen) / sum(map(len, per_class.values()))
    used = {name: files[: round(share * len(files))] for name, files in per_class.items()}
    for part, files in zip(("known", "unseen"), _take(used, known, seed), strict=True):
        for file in files:
            link = target / part / file.parent.name / f"{file.parent.parent.name}-{file.name}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)


def table(source: Path, target: Path, known: int, unseen: int, seed: int) -> None:
    """Two folders with `labels.csv` and `images/`."""
    with (source / "labels.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    parts = _take({"": [source / "images" / row[0] for row in rows]}, known, seed)
    for part, files in zip(("known", "unseen"), parts, strict=True):
        (target / part / "images").mkdir(parents=True)
        with (target / part / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *(row for row in rows if source / "images" / row[0] in files)])
        for image in files:
            (target / part / "images" / image.name).symlink_to(image)


def voc(source: Path, target: Path, known: int, unseen: int, seed: int) -> None:
    """Two folders with `JPEGImages` and `Annotations`."""
    images = sorted(source.glob("JPEGImages/*.jpg"))
    for part, files in zip(("known", "unseen"), _take({"": images}, known, seed), strict=True):
        for image in files:
            for file in (image, source / "Annotations" / f"{image.stem}.xml"):
                link = target / part / file.parent.name / file.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)


SETS: Mapping[str, tuple[Callable[[Path, Path, int, int, int], None], int, int]] = {
    "flowers": (class_folders, 280, 120),
    "cifar10_jpeg": (class_folders, 1000, 1000),
    "scenes_multilabel": (table, 280, 120),
    "voc_layout_bccd": (voc, 244, 120),
}
"""Name → how it is divided, how many images are known, how many unseen."""


def _cpu_s() -> float:
    """CPU seconds of all ended children and theirs."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                break
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Side:
    """One side's commands, and what they cost so far."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wall_s, self.cpu_s = folder, 0.0, 0.0
        folder.mkdir()

    def run(self, *command: str, counted: bool = True) -> str:
        """Runs a `sweep` command in the side's folder, with a cache of its own; gives its standard output."""
        began, before = time.perf_counter(), _cpu_s()
        cache = {"SWEEP_CACHE": str(self.folder / "cache")}
        done = subprocess.run(
            sweep(*command), cwd=self.folder, capture_output=True, text=True, check=False, env={**os.environ, **cache}
        )
        if done.returncode:
            raise RuntimeError(f"sweep {' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
        if counted:
            self.wall_s += time.perf_counter() - began
            self.cpu_s += _cpu_s() - before
        return done.stdout

    def judge(self, unseen: Path) -> pa.Table:
        """Predictions of the published model on unseen images, by example."""
        self.run("evaluate", "side", str(unseen), "--split", "all", "-o", "out", "--format", "parquet", counted=False)
        return pq.read_table(self.folder / "out" / "predictions.parquet").sort_by("example")


def figure(metric: str, predictions: pa.Table, rows: npt.NDArray[np.int64]) -> float:
    """A metric of some of the predictions; classes without an example are left out of a mean over classes."""
    taken = predictions.take(pa.array(rows)).to_pylist()
    if metric == "map":
        names = [name.removeprefix("p_") for name in predictions.column_names if name.startswith("p_")]
        truth = np.array([[name in row["labels"] for name in names] for row in taken])
        scores = np.array([[row[f"p_{name}"] for name in names] for row in taken])
        seen = truth.any(axis=0)
        return float(average_precision_score(truth[:, seen], scores[:, seen], average="macro"))
    labels, said = [row["labels"][0] for row in taken], [row["predicted"][0] for row in taken]
    if metric == "accuracy":
        return float(accuracy_score(labels, said))
    return float(f1_score(labels, said, average="macro", labels=sorted(set(labels))))


def difference(metric: str, ours: pa.Table, peer: pa.Table, seed: int) -> tuple[float, float]:
    """The 95 % interval of ours minus the peer's, over resampled examples."""
    assert ours["example"].equals(peer["example"]), "both sides are judged on the same examples"
    random = np.random.default_rng(seed)
    num = ours.num_rows
    repeats = _RESAMPLES if metric != "map" else _RESAMPLES // 10
    found = []
    for _ in range(repeats):
        rows = random.integers(0, num, num)
        found.append(figure(metric, ours, rows) - figure(metric, peer, rows))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def measure(name: str, seed: int, data: Path, weights: Path, minutes: float, folder: Path) -> Mapping[str, Any]:
    """Both sides on one set and seed."""
    import yaml

    divide, known, unseen = SETS[name]
    divide((data / name).absolute(), folder, known, unseen, seed)
    ours, peer = Side(folder / "ours"), Side(folder / "peer")
    start = ("--weights", str(weights), "--minutes", str(minutes), "--name", "side", "-o", "side.yaml")
    ours.run("init", str(folder / "known"), *start)
    written = yaml.safe_load((ours.folder / "side.yaml").read_text(encoding="utf-8"))
    ours.run("run", "side.yaml", "--set", f"search.seed={seed}", "--set", f"data.split.seed={seed}")
    models = written["space"].get("model") or [written["fixed"]["model"]]
    default = {
        "name": "side",
        "data": {**written["data"], "split": {"seed": seed}},
        "fixed": {"model": models[0], "pretrained": str(weights)},
        "objective": written["objective"],
        "search": {"trials": 1, "seed": seed},
    }
    (peer.folder / "side.yaml").write_text(json.dumps(default), encoding="utf-8")
    peer.run("run", "side.yaml")
    seen = ours.judge(folder / "unseen"), peer.judge(folder / "unseen")
    metric = written["objective"]["metric"].removeprefix("val_")
    everything = np.arange(seen[0].num_rows)
    values = [figure(metric, each, everything) for each in seen]
    return {
        "set": name,
        "seed": seed,
        "metric": metric,
        "num_examples": seen[0].num_rows,
        "ours": values[0],
        "peer": values[1],
        "difference": difference(metric, *seen, seed),
        "ours_wall_s": ours.wall_s,
        "peer_wall_s": peer.wall_s,
        "ours_cpu_s": ours.cpu_s,
        "peer_cpu_s": peer.cpu_s,
        "minutes": minutes,
        "fixed": written["fixed"],
        "models": models,
    }


HEADER = (
    "| set | seed | metric on unseen | n | init's file | default trial | difference (95 %) | wall | CPU time |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def row(found: Mapping[str, Any]) -> str:
    """One line of the table."""
    low, high = found["difference"]
    return (
        f"| {found['set']} | {found['seed']} | {found['metric']} | {found['num_examples']} | {found['ours']:.3f} "
        f"| {found['peer']:.3f} | {found['ours'] - found['peer']:+.3f} ({low:+.3f} to {high:+.3f}) "
        f"| {found['ours_wall_s']:.0f} s, {found['peer_wall_s']:.0f} s "
        f"| {found['ours_cpu_s']:.0f} s, {found['peer_cpu_s']:.0f} s |"
    )


def main(
    sets: Sequence[str],
    seeds: Sequence[int],
    data: Path,
    weights: Path,
    minutes: float,
    output: Path,
    within: float = math.inf,
) -> None:
    """Measures what `output` does not have, all sets of a seed before the next seed, and prints a row for each.

    Args:
        sets, seeds: what to measure.
        data, weights: folders of the sets and of weight files.
        minutes: of `sweep init`.
        output: the rows so far, as JSON lines; grows.
        within: minutes for all. A row is expected to take as long as the longest one of this call; the first, twice as
            long as init's sweep may: the default trial has no time limit.
    """
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    text = output.read_text(encoding="utf-8") if output.exists() else ""
    there = {(each["set"], each["seed"]): each for each in map(json.loads, text.splitlines())}
    end_s, left_out = time.monotonic() + 60 * within, 0
    took_s: list[float] = []
    print(HEADER)
    for seed in seeds:
        for name in sets:
            found = there.get((name, seed))
            if found is None:
                began_s = time.monotonic()
                if began_s + max(took_s, default=2 * 60 * minutes) > end_s:
                    left_out += 1
                    continue
                with tempfile.TemporaryDirectory(prefix="init-") as folder:
                    found = measure(name, seed, data, weights.absolute(), minutes, Path(folder))
                with output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
                took_s.append(time.monotonic() - began_s)
            print(row(found), flush=True)
    if left_out:
        print(f"{left_out} of {len(sets) * len(seeds)} rows were not begun: they would not have ended in time.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder of the sets.")
    parser.add_argument("--weights", type=Path, required=True, help="Folder of weight files, one per model.")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="Of `sweep init`.")
    parser.add_argument("--output", type=Path, default=Path("init_file.jsonl"))
    parser.add_argument("--within", type=float, default=math.inf, help="Minutes for all rows (default: no limit).")
    given = parser.parse_args()
    main(given.sets, given.seeds, given.data, given.weights, given.minutes, given.output, given.within)
