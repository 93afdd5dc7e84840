"""What a trial draws: the seeds of all generators, and for each epoch the order of examples and the augmentations."""

from __future__ import annotations

import random

import numpy as np
import torch

from trainables.image.batches.feed import Rows


def seed_everything(seed: int) -> None:
    """Seeds every generator of random numbers that a trial may use."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def epoch_order(rows: Rows, batch_size: int, seed: int, epoch: int) -> Rows:
    """The training examples of an epoch, shuffled; a function of seed and epoch, so that resuming repeats it.

    A small last batch is left out, other examples each epoch: see `epoch_size`.
    """
    return np.random.default_rng([seed, epoch]).permutation(rows)[: epoch_size(len(rows), batch_size)]


def epoch_size(num_examples: int, batch_size: int) -> int:
    """How many examples an epoch takes: all, but for a last batch of less than half the size.

    A small batch would move the weights as far as a full one, and batch normalisation fails on a batch of one.
    Fewer examples than one batch are one batch.
    """
    if num_examples <= batch_size:
        return num_examples
    rest = num_examples % batch_size
    return num_examples - rest if rest == 1 or rest < batch_size / 2 else num_examples


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Draws the augmentations of an epoch; apart from the shuffling, although both come from seed and epoch."""
    (state,) = np.random.SeedSequence([seed, epoch, 1]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
