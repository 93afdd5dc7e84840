"""Remedies for unbalanced classes in training: weights in the loss, and a sampler. (Caps are in `splits`.)

What the trainer does with `data.balance`:

- `strategy: class_weights`: `class_weights(index, balance.power)` goes into the loss;
- `strategy: sampler`: `sampled_rows(index, balance.power, seed, epoch)` takes the place of the shuffled training rows;
- `strategy: cap`: nothing, the index has only what is left.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainables.image.index import ImageIndex


def class_weights(index: ImageIndex, power: float = 1.0) -> npt.NDArray[np.float32]:
    """How much each class counts in the loss, (C,).

    With one label per example: `(n / (C * n_c)) ** power`, scikit-learn's "balanced", scaled so that its mean over the
    training examples is 1 and the learning rate keeps its meaning. With any number of labels: `((n - n_c) / n_c) **
    power`, the weight of a label where it is there, such as `pos_weight` of binary cross-entropy.

    Args:
        index: the counts are of its train split, which has every class.
        power: 1 evens classes out completely, 0.5 goes half the way; towards 0 nothing changes.
    """
    targets = index.targets[index.rows("train")]
    if index.multilabel:
        counts = targets.sum(axis=0)
        # A label that every example has would get 0: then nobody would mind whether it is found.
        return np.asarray((np.maximum(len(targets) - counts, 1) / counts) ** power, dtype=np.float32)
    counts = np.bincount(targets.astype(np.int64), minlength=len(index.classes)).astype(np.float64)
    weights = (len(targets) / (len(counts) * counts)) ** power
    return np.asarray(weights / (weights @ counts / len(targets)), dtype=np.float32)


def sample_weights(index: ImageIndex, power: float = 1.0) -> npt.NDArray[np.float64]:
    """How probable it is that each training example is drawn next, (n,), adding up to 1; in the order of the rows.

    An example's weight is `n_c ** -power`, so that with power 1 every class is drawn equally often. With any number of
    labels it is that of its rarest label; examples without a label count as one more class.

    Args:
        index: the training examples are `index.rows("train")`.
        power: see `class_weights`.
    """
    targets = index.targets[index.rows("train")]
    if index.multilabel:
        whole = np.column_stack([targets, targets.sum(axis=1) == 0])
        counts = np.where(whole > 0, whole.sum(axis=0), np.inf).min(axis=1)
    else:
        labels = targets.astype(np.int64)
        counts = np.bincount(labels)[labels]
    weights = counts.astype(np.float64) ** -power
    return np.asarray(weights / weights.sum())


def sampled_rows(index: ImageIndex, power: float, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The training examples of an epoch, drawn with replacement by `sample_weights`, (n,) rows of the index.

    As many as there are training examples. A function of seed and epoch, so that a resumed trial draws the same.
    """
    rows = index.rows("train")
    generator = np.random.default_rng([seed, epoch, 2])  # 0 and 1 are the shuffling and the augmentation
    return generator.choice(rows, size=len(rows), replace=True, p=sample_weights(index, power))
