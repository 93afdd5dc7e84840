"""First epoch with an empty cache: reading, decoding, building it, training; against the peer's."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from benchmarks import image_side
from benchmarks.harness import Figure, paired, process_of_its_own
from benchmarks.peers import folder_loop
from benchmarks.photos import photos, said

BATCH, LR = 32, 1e-3


def measure(pairs: int = 2) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        # Few val photos: our side decodes them, too, before the epoch; the peer does after it, which is not timed.
        found = photos(Path(folder) / "photos", 900, 30)
        return [_figure(found, Path(folder), resolution, pairs) for resolution in (64, 128)]


def _figure(found: Path, folder: Path, resolution: int, pairs: int) -> Figure:
    runs = itertools.count()
    values = {"model": "simple_cnn3", "width": 8, "input_resolution": resolution, "batch_size": BATCH, "lr": LR}

    def ours() -> float:
        work = folder / f"{resolution}-{next(runs)}"
        settings = {"epochs": 1, "schedule": "constant", "mixed_precision": "no", **values}
        seen = sides["ours"].submit(image_side.train, found, work, threads=1, **settings).result()
        return seen.prepare_s + seen.train_s[0]

    def theirs() -> float:
        options = {"resolution": resolution, "epochs": 1, "batch_size": BATCH, "lr": LR, "workers": 2}
        (seen,) = sides["theirs"].submit(folder_loop.train_new, found, values, **options).result()
        return seen.seconds

    with process_of_its_own() as one, process_of_its_own() as other:
        sides = {"ours": one, "theirs": other}
        return paired(
            ours,
            theirs,
            pairs=pairs,
            ratio=lambda our, their: our / their,
            what=f"first epoch at {resolution} px with listing, decoding and building the cache, {said()}",
            against="ImageFolder + DataLoader, 2 workers, first epoch",
            unit="s",
            ratio_of="as long",
            aim="≤ 1.1×",
            command="python -m benchmarks first_epoch",
        )
