"""A whole job from the shell, start-up included: MobileNetV2's head on 600 + 200 photos, 12 and 60 trials of 4 epochs.

Against one script of Ray Tune with OptunaSearch (`peers/tuned_tune.py`): how long, and how much memory with all
processes. Ours also evaluates the best trial and writes a report; an ONNX file, which the peer has not either, is left
out. `BENCH_WEIGHTS` names a state dict of timm's mobilenetv2_100; without it random weights serve: they cost the same.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from itertools import count
from pathlib import Path

from benchmarks.harness import Figure, paired, sweep
from benchmarks.memory import Run, watched
from benchmarks.photos import photos

PAIRS = {12: 2, 60: 1}
AIMS = {12: "≤ 0.17×", 60: "≤ 1/8"}
MEMORY_AIMS = {12: "≤ 0.4×", 60: "≤ 0.7×"}
_MOST_APART = 0.06
SPEC = """\
name: job
data: {{dataset: image_folder, root: {photos}, cache_dir: {cache}, split: {{train: 0.75, val: 0.25, test: 0}}}}
fixed:
  {{model: mobilenetv2_100, pretrained: {weights}, finetune: head, epochs: 4, schedule: constant, weight_decay: 0.0}}
space:
  lr: {{low: 1e-4, high: 1e-2, log: true}}
  optimizer: [adam, sgd]
  batch_size: [16, 32, 64]
  pooling: [avg, max]
  input_resolution: [64, 96, 128]
search: {{sampler: tpe, trials: {trials}}}
resources: {{cpus: 1, max_concurrent: 2}}
export: {{formats: []}}
"""


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = photos(Path(folder) / "photos", 600, 200, size=(320, 240))
        weights = os.environ.get("BENCH_WEIGHTS") or _random_weights(Path(folder))
        figures = []
        for trials, pairs in PAIRS.items():
            figures += _figures(found, weights, Path(folder), trials, pairs)
        return figures


def _figures(found: Path, weights: str, folder: Path, trials: int, pairs: int) -> list[Figure]:
    runs = count()
    ours: list[Run] = []
    theirs: list[Run] = []
    best: dict[str, list[float]] = {"ours": [], "theirs": []}

    def our_s() -> float:
        work = folder / f"ours-{trials}-{next(runs)}"
        work.mkdir()
        # Into an empty cache each time: decoding and the backbone's pass are in it.
        spec = SPEC.format(photos=found, cache=work / "cache", weights=weights, trials=trials)
        (work / "job.yaml").write_text(spec)
        ours.append(watched(sweep("run", "job.yaml", "--results", "results", "--quiet"), str(work)))
        events = map(json.loads, (work / "results" / "job" / "log.jsonl").read_text().splitlines())
        best["ours"].append(max(event["metrics"]["val_accuracy"] for event in events if event["kind"] == "epoch"))
        return ours[-1].seconds

    def their_s() -> float:
        work = folder / f"theirs-{trials}-{next(runs)}"
        work.mkdir()
        script = Path(__file__).parent / "peers" / "tuned_tune.py"
        command = [sys.executable, str(script), str(found), weights, str(trials), str(work / "storage"), "found.json"]
        theirs.append(watched(command, str(work)))
        best["theirs"].append(json.loads((work / "found.json").read_text())["best"])
        return theirs[-1].seconds

    words = {
        "against": "Ray Tune + OptunaSearch, channels last, reused actors",
        "command": "python -m benchmarks whole_job",
    }
    what = f"the whole command: head-only MobileNetV2, {trials} trials × 4 epochs on 600 + 200 photos"
    time_taken = paired(
        our_s, their_s, pairs=pairs, ratio=lambda our, their: our / their,
        what=what, unit="s", ratio_of="as long", aim=AIMS[trials], **words,
    )  # fmt: skip
    print(f"  best val accuracy: {best}", file=sys.stderr)
    # Each side proposes trials of its own: what they reach is the same but for that.
    assert all(abs(our - their) <= _MOST_APART for our, their in zip(best["ours"], best["theirs"], strict=True)), best
    our_runs, their_runs = iter(ours), iter(theirs)
    memory = paired(
        lambda: next(our_runs).peak_bytes / 2**30, lambda: next(their_runs).peak_bytes / 2**30,
        pairs=pairs, ratio=lambda our, their: our / their,
        what=f"peak memory of all its processes (PSS), {trials} trials",
        unit="GiB", ratio_of="as much", aim=MEMORY_AIMS[trials], **words,
    )  # fmt: skip
    return [time_taken, memory]


def _random_weights(folder: Path) -> str:
    import timm
    import torch

    torch.manual_seed(0)
    path = folder / "weights.pth"
    torch.save(timm.create_model("mobilenetv2_100").state_dict(), path)
    return str(path)
