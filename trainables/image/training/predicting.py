"""Logits of a split, by one process or by several together."""

from __future__ import annotations

import torch
from torch import nn

from trainables.image.batches.feed import Feed, Rows
from trainables.image.features.stored import FeatureFeed
from trainables.image.parallel.workers import Workers
from trainables.image.training.graph import Run


@torch.inference_mode()
def predict(
    model: nn.Module, feed: Feed | FeatureFeed, rows: Rows, batch_size: int, run: Run | None = None
) -> torch.Tensor:
    """Logits of these rows, (N, classes), float32 on the device.

    Args:
        model: images → logits.
        feed: of its inputs.
        rows: of the index.
        batch_size: that go through the model at a time.
        run: the model as a graph, a batch of `feed.raw` → (logits,); None: it runs as it is.
    """
    model.eval()
    if run is not None:
        return torch.cat([run(*given)[0] for given in feed.raw(rows, batch_size)]).float()
    return torch.cat([model(images) for images in feed.batches(rows, batch_size)]).float()


def predict_together(
    workers: Workers,
    model: nn.Module,
    feed: Feed | FeatureFeed,
    rows: Rows,
    batch_size: int,
    run: Run | None = None,
) -> torch.Tensor:
    """Logits of these rows, (N, classes), float32 on the CPU; of several workers each computes its part."""
    mine = rows[workers.share(len(rows))]
    some = mine if len(mine) else rows[:1]  # a worker without any has none of the right shape to give
    return workers.gather(predict(model, feed, some, batch_size, run)[: len(mine)], len(rows)).cpu()
