"""On a GPU: images/s of ResNet-50 in bf16 from the pixel cache, against the same model on one batch kept on the GPU.

Without a GPU it says so and gives no figure.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Figure, paired
from benchmarks.photos import classes_of, photos

BATCH, EPOCHS, WARM_UP, STEPS = 64, 4, 10, 60


def measure(pairs: int = 3) -> list[Figure]:
    import torch

    if not torch.cuda.is_available():
        print("  skipped: there is no GPU here", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = photos(Path(folder) / "photos", 3840, 60)
        return [_figure(found, Path(folder), resolution, pairs) for resolution in (112, 224)]


def _figure(found: Path, folder: Path, resolution: int, pairs: int) -> Figure:
    import torch
    from torch import nn

    from benchmarks import image_side

    runs, num_classes = itertools.count(), len(classes_of(found))
    values = {"model": "resnet50", "input_resolution": resolution, "batch_size": BATCH}

    def ours() -> float:
        work = folder / f"{resolution}-{next(runs)}"
        seen = image_side.train(found, work, threads=8, epochs=EPOCHS, mixed_precision="bf16", **values)
        return sum(seen.num_images[1:]) / sum(seen.train_s[1:])

    def theirs() -> float:
        model = image_side.model_of(num_classes, **values).cuda().train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        images = torch.randn(BATCH, 3, resolution, resolution, device="cuda")
        images = images.contiguous(memory_format=torch.channels_last)
        targets = torch.randint(0, num_classes, (BATCH,), device="cuda")
        for step in range(WARM_UP + STEPS):
            if step == WARM_UP:
                torch.cuda.synchronize()
                began = time.perf_counter()
            with torch.autocast("cuda", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(images), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        torch.cuda.synchronize()
        return BATCH * STEPS / (time.perf_counter() - began)

    return paired(
        ours,
        theirs,
        pairs=pairs,
        ratio=lambda our, their: our / their,
        what=f"ResNet-50 at {resolution} px, bf16, on {torch.cuda.get_device_name()}",
        against="the same model on one batch kept on the GPU",
        unit="images/s",
        ratio_of="as fast",
        aim="≥ 0.95×",
        command="python -m benchmarks gpu_throughput",
    )
