"""The mean of the weights of a trial's last epochs: judged, kept and exported in place of the weights themselves.

Training goes on with its own weights, to the bit as it would without. The statistics of batch normalisation belong to
weights that are not there any more: they are measured again with the mean's, on the training examples as they are,
without augmentation or dropout.

Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization"; the window slides.
"""

from __future__ import annotations

import copy
from collections import deque
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trainables.image.batches.feed import Feed, Rows
from trainables.image.features.stored import FeatureFeed
from trainables.image.models.freezing import frozen_norms
from trainables.image.parallel.workers import Workers

EARLIER_FILE = "earlier.safetensors"
"""In a checkpoint: the trained weights of the epochs before, oldest first, as `0/NAME`, `1/NAME`, …"""
MOST_EXAMPLES = 10_000
"""That statistics are measured on; more change nothing (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm")."""

Weights = dict[str, torch.Tensor]


class LastEpochs:
    """A model whose weights are the mean of another's after each of its last epochs.

    Attributes:
        module: the model; as it was made until the first `add`.
    """

    def __init__(self, net: nn.Module, num_epochs: int) -> None:
        """Args:
        net: that is trained; not yet wrapped by Accelerate, whose `forward` a copy would share.
        num_epochs: how many epochs the mean is of; before there are so many, of all.
        """
        self.module = copy.deepcopy(net)
        frozen = frozen_norms(self.module)
        self._norms = [
            module
            for module in self.module.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            and module.track_running_stats
            and module not in frozen
        ]
        self.module.eval().requires_grad_(False)
        # In the memory of the CPU, and without what is frozen: a GPU that just holds the model holds no more of them.
        self._kept: deque[Weights] = deque(maxlen=num_epochs)

    def add(self, net: nn.Module) -> None:
        """Takes in the weights after another epoch. Statistics of normalisations are the net's until `measure`."""
        self._kept.append(_trained(net))
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                if name in self._kept[-1]:
                    total = self._kept[0][name].clone()
                    for weights in list(self._kept)[1:]:
                        total += weights[name]
                    parameter.copy_(total / len(self._kept))
            for own, other in zip(self.module.buffers(), net.buffers(), strict=True):
                own.copy_(other)

    @torch.no_grad()
    def measure(
        self, model: nn.Module, feed: Feed | FeatureFeed, rows: Rows, batch_size: int, workers: Workers
    ) -> None:
        """Measures the statistics of batch normalisations anew. Draws no random numbers.

        Args:
            model: `module`, as it computes: Accelerate may have wrapped it.
            feed: of the examples.
            rows: which, at most `MOST_EXAMPLES`; no rest of one example should be left.
            batch_size: examples that go through the model at a time, in all workers together.
            workers: that share each batch.
        """
        if not self._norms:
            return
        model.eval()
        seen = [norm.num_batches_tracked for norm in self._norms]
        momenta = [norm.momentum for norm in self._norms]
        counts = [None if count is None else count.clone() for count in seen]
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None  # of all batches alike
            norm.train()
        starts = range(0, len(rows), batch_size)
        sizes = [len(rows[start : start + batch_size]) for start in starts]
        share = None if workers.number == 1 else workers.share
        for images, size in zip(feed.batches(rows, batch_size, None, share), sizes, strict=True):
            # Where a worker has none, the others still wait for it in each layer.
            some = images if len(images) else images.new_zeros((1, *images.shape[1:]))
            with workers.batch_norm(workers.shares(size)):
                model(some)
        for norm, momentum, count in zip(self._norms, momenta, counts, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)
        model.eval()

    def save(self, folder: Path) -> None:
        """Writes what `load` needs beside the weights that training goes on with."""
        earlier = list(self._kept)[:-1]
        tensors = {f"{age}/{name}": value for age, weights in enumerate(earlier) for name, value in weights.items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / EARLIER_FILE)

    def load(self, folder: Path, net: nn.Module) -> None:
        """Puts back what `save` wrote.

        Args:
            folder: a checkpoint's.
            net: with the weights that training goes on with.
        """
        self._kept.clear()
        by_age: dict[int, Weights] = {}
        for name, value in load_file(folder / EARLIER_FILE).items():
            age, _, own = name.partition("/")
            by_age.setdefault(int(age), {})[own] = value
        self._kept.extend(by_age[age] for age in sorted(by_age))
        self._kept.append(_trained(net))


def _trained(net: nn.Module) -> Weights:
    """A copy of what is trained, in the memory of the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in net.named_parameters() if value.requires_grad}
