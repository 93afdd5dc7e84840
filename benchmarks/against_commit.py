"""Whole jobs from the shell, this tree against the worktree of another commit: how long, and how much memory.

`python -m benchmarks.against_commit TREE --jobs heads backbones quickstart --pairs 3`

TREE is a worktree with a `.venv` of its own (`make install` there). The two take turns, each run into empty results and
an empty cache:

- `heads`: 12 head-only trials of one backbone at three resolutions (the job of `whole_job`);
- `backbones`: 12 head-only trials of four backbones at three resolutions, with the best one exported;
- `quickstart`: what `make quickstart` runs once everything is installed.

`--weights` is a folder with a file per model, as `pretrained` takes one; without it random weights serve: they cost
the same. On a busy machine CPU seconds say more than the wall clock.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks.harness import HEADER, Figure, paired
from benchmarks.memory import watched
from benchmarks.photos import photos

ROOT = Path(__file__).parent.parent
BACKBONES = ("mobilenetv2_100", "tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
SPEC = """\
name: job
data: {{dataset: image_folder, root: {photos}, cache_dir: {cache}, split: {{train: 0.75, val: 0.25, test: 0}}}}
fixed: {{pretrained: {weights}, finetune: head, epochs: 4, schedule: constant, weight_decay: 0.0}}
space:
  model: [{models}]
  lr: {{low: 1e-4, high: 1e-2, log: true}}
  optimizer: [adam, sgd]
  batch_size: [16, 32, 64]
  pooling: [avg, max]
  input_resolution: [64, 96, 128]
search: {{sampler: random, trials: 12, seed: 0}}
resources: {{cpus: 1, max_concurrent: 2}}
export: {{formats: [{formats}]}}
"""
"""Random proposals: both trees run the same trials."""


@dataclass(frozen=True)
class Job:
    """One of the jobs.

    Attributes:
        what: it is, in words.
        write: puts its sweep file into a folder, and returns its path.
        aim: of the time, in words.
    """

    what: str
    write: Callable[[Path], Path]
    aim: str


@dataclass(frozen=True)
class Took:
    """What a run took: seconds of the wall clock, GiB, CPU seconds."""

    wall: float
    gib: float
    cpu: float


def jobs(found: Path, weights: Path) -> dict[str, Job]:
    """All of them, by name."""

    def writing(models: Sequence[str], formats: str) -> Callable[[Path], Path]:
        def write(work: Path) -> Path:
            names = {"photos": found, "weights": weights, "models": ", ".join(models), "formats": formats}
            (work / "job.yaml").write_text(SPEC.format(cache=work / "cache", **names))
            return work / "job.yaml"

        return write

    def quickstart(work: Path) -> Path:
        text = (ROOT / "sweeps" / "quickstart.yaml").read_text()
        (work / "job.yaml").write_text(text.replace("dataset: digits", f"dataset: digits\n  cache_dir: {work}/cache"))
        return work / "job.yaml"

    heads, backbones = writing(BACKBONES[:1], ""), writing(BACKBONES, "onnx")
    return {
        "heads": Job("12 head-only trials of one backbone at three resolutions", heads, "≤ 0.5×"),
        "backbones": Job("12 head-only trials of four backbones, with export", backbones, "≤ 0.6×"),
        "quickstart": Job("the quick start, installed", quickstart, "≤ 0.7×"),
    }


def measure(job: Job, name: str, tree: Path, pairs: int, folder: Path) -> list[Figure]:
    """Figures of one job: wall clock, CPU time, memory."""
    runs = count()
    taken: dict[str, list[Took]] = {"ours": [], "theirs": []}

    def run(side: str, root: Path) -> float:
        work = folder / f"{name}-{side}-{next(runs)}"
        work.mkdir()
        sweep = [str(root / ".venv" / "bin" / "sweep"), "run", str(job.write(work)), "--results", "results", "--quiet"]
        took = watched(sweep, str(work))
        taken[side].append(Took(took.seconds, took.peak_bytes / 2**30, took.cpu_s))
        print(f"  {side}: {taken[side][-1]}", file=sys.stderr)
        return took.seconds

    facts = {
        "against": f"commit of {tree.name}",
        "pairs": pairs,
        "ratio": lambda our, their: our / their,
        "command": f"python -m benchmarks.against_commit TREE --jobs {name}",
    }
    wall = paired(
        lambda: run("ours", ROOT), lambda: run("theirs", tree),
        what=job.what, unit="s", ratio_of="as long", aim=job.aim, **facts,
    )  # fmt: skip
    others = []
    for what, unit, ratio_of in (("CPU time", "cpu", "as much"), ("peak memory (PSS)", "gib", "as much")):
        our, their = (iter([getattr(each, unit) for each in taken[side]]) for side in ("ours", "theirs"))
        others.append(
            paired(
                lambda our=our: next(our), lambda their=their: next(their),
                what=f"{what} of all processes: {job.what}", unit={"cpu": "s", "gib": "GiB"}[unit],
                ratio_of=ratio_of, aim="", **facts,
            )
        )  # fmt: skip
    return [wall, *others]


def _random_weights(folder: Path) -> Path:
    import timm
    import torch

    folder.mkdir()
    for name in BACKBONES:
        torch.manual_seed(0)
        torch.save(timm.create_model(name).state_dict(), folder / f"{name}.pth")
    return folder


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against_commit", description=__doc__)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--jobs", nargs="+", choices=("heads", "backbones", "quickstart"), default=["heads"])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--data", type=Path, help="an image folder (train/<class>/, val/<class>/)")
    parser.add_argument("--weights", type=Path, help="a folder with a file per model")
    asked = parser.parse_args()
    if asked.data is not None:
        os.environ["BENCH_DATA"] = str(asked.data.absolute())
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        found = photos(folder / "photos", 600, 200, size=(320, 240))
        weights = asked.weights.absolute() if asked.weights is not None else _random_weights(folder / "weights")
        for name in asked.jobs:
            figures = measure(jobs(found, weights)[name], name, asked.tree.absolute(), asked.pairs, folder)
            measured = f"load {os.getloadavg()[2]:.1f}"
            print("\n".join([HEADER, *(figure.row(measured) for figure in figures)]), flush=True)


if __name__ == "__main__":
    main()
