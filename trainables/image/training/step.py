"""One training step, from images as they lie on the device to moved weights: what a CUDA graph may hold.

What differs from step to step comes in as tensors on the device or lies there already: pixels, targets, what was drawn
for augmentation and mixing, learning rates, the scale of fp16's losses, the decay of averaged weights. So a replay of
one captured step is the next step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from trainables.image.batches.augment import Augmentation
from trainables.image.batches.feed import Draw, Feed
from trainables.image.batches.mixing import Mixing
from trainables.image.features.stored import FeatureFeed
from trainables.image.training.microbatch import MicroBatches
from trainables.image.training.moving_average import MovingAverage

Prepare = Callable[..., torch.Tensor]
"""A batch as it lies on the device, and what was drawn for it → normalised images (N, C, H, W)."""
Decide = Callable[[torch.Tensor], torch.Tensor]
Result = tuple[torch.Tensor, torch.Tensor]


def preparing(feed: Feed | FeatureFeed, augmentation: Augmentation | None) -> Prepare:
    """What makes images of a batch of `feed.raw`, with the augmentation that was drawn for it."""
    if augmentation is None:
        return feed.images
    assert isinstance(feed, Feed)
    return partial(feed.images, make=augmentation.make)


def drawing(augmentation: Augmentation | None, generator: torch.Generator) -> Draw | None:
    """What draws the augmentation for `feed.raw`."""
    return None if augmentation is None else partial(augmentation.draw, generator)


def scaled_backward(scaler: torch.amp.GradScaler, loss: torch.Tensor) -> None:
    """Adds gradients as fp16 needs them: so much larger that small ones do not vanish."""
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]


def judged_raw(model: nn.Module, feed: Feed | FeatureFeed, given: torch.Tensor) -> tuple[torch.Tensor]:
    """The logits of a batch of `feed.raw`."""
    return (model(feed.images(given)),)


class TrainingStep:
    """Trains on a batch; one kernel at a time, or as it is captured.

    Attributes:
        mixing: of the epoch's batches; its `make` is the same work in every epoch.
    """

    def __init__(
        self,
        net: nn.Module,
        add_gradients: MicroBatches,
        optimizer: torch.optim.Optimizer,
        decide: Decide,
        prepare: Prepare | None = None,
        scaler: torch.amp.GradScaler | None = None,
        average: MovingAverage | None = None,
        share: Callable[[int], slice] = slice,
    ) -> None:
        """Args:
        net: whose weights the optimizer moves.
        add_gradients: forward and backward pass.
        optimizer: of the net.
        decide: logits → the classes or labels that are taken.
        prepare: makes images of what is given; None: they are.
        scaler: of losses, in fp16.
        average: of the weights, follows them.
        share: of a batch of so many this process's.
        """
        self.mixing: Mixing | None = None
        self._net = net
        self._add_gradients = add_gradients
        self._optimizer = optimizer
        self._decide = decide
        self._prepare = prepare
        self._scaler = scaler
        self._average = average
        self._share = share

    def __call__(self, *tensors: torch.Tensor) -> Result:
        """Trains on a batch, in parts where it does not fit in memory.

        Args:
            tensors: what `prepare` takes, or images; targets, of the whole batch; and what was drawn for mixing.

        Returns:
            The mean loss, a scalar, and what was decided for this process's examples.
        """
        return self._learn(self._add_gradients, tensors)

    def whole(self, *tensors: torch.Tensor) -> Result:
        """The same of a batch that is known to fit, with nothing that decides by values: for a capture."""
        return self._learn(lambda images, goals, _: self._add_gradients.whole(images, goals), tensors)

    def forget(self) -> None:
        """Leaves no trace of a step that was broken off."""
        self._optimizer.zero_grad()
        if self._scaler is not None:
            self._scaler._per_optimizer_states.clear()  # else it says that this step was made already

    def _learn(self, add_gradients: Callable[..., Result], tensors: tuple[torch.Tensor, ...]) -> Result:
        *given, wanted = tensors if self.mixing is None else tensors[:-1]
        images = given[0] if self._prepare is None else self._prepare(*given)
        mine = self._share(len(wanted))
        if self.mixing is None:
            goals = wanted[mine]
        else:
            images, goals = self.mixing.make(images, wanted, tensors[-1])
            images, goals = images[mine], goals[mine]
        loss, logits = add_gradients(images, goals, len(wanted))
        if self._scaler is None:
            self._optimizer.step()
        else:
            self._scaler.step(self._optimizer)
            self._scaler.update()
        self._optimizer.zero_grad()
        if self._average is not None:
            self._average.update(self._net)
        return loss, self._decide(logits)
