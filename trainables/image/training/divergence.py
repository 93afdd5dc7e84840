"""Watches whether a training loss is still a finite number, without waiting for the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch

from trainables.errors import Diverged

STEPS_BETWEEN_LOOKS = 50
"""Seldom, since a look costs some kernels; but NaN should not be trained on for a whole epoch."""


class LossWatch:
    """The losses of one epoch, in the order of its steps.

    To ask a GPU for a value is to wait until it has done everything before. So what a look finds is copied beside the
    computing, and read at a later look, when it is there; only at the end of the epoch is it waited for.

    Attributes:
        losses: scalars where they were computed, a step each.
    """

    def __init__(self, epoch: int, steps_per_epoch: int, lr_at: Callable[[int], float]) -> None:
        """Args:
        epoch: from 1.
        steps_per_epoch: optimizer steps.
        lr_at: the learning rate at a step of the trial.
        """
        self.losses: list[torch.Tensor] = []
        self._epoch = epoch
        self._steps_per_epoch = steps_per_epoch
        self._lr_at = lr_at
        self._looked_at = 0
        self._under_way: deque[tuple[int, torch.Tensor, torch.cuda.Event]] = deque()

    def add(self, loss: torch.Tensor) -> None:
        """Takes the loss of the next step, and looks when it is time to.

        Raises:
            Diverged: a loss of this epoch is not a finite number.
        """
        self.losses.append(loss)
        if len(self.losses) % STEPS_BETWEEN_LOOKS == 1:
            self._look()

    def end(self) -> None:
        """Looks at all that is left; waits for the device.

        Raises:
            Diverged: a loss of this epoch is not a finite number; names the first step where that was so.
        """
        while self._under_way:
            first, finite, event = self._under_way.popleft()
            event.synchronize()
            self._judge(first, finite)
        self._judge(self._looked_at, self._finite().cpu())

    def _look(self) -> None:
        first, finite = self._looked_at, self._finite()
        self._looked_at = len(self.losses)
        if finite.device.type != "cuda":
            self._judge(first, finite.cpu())
            return
        there = torch.empty(finite.shape, dtype=torch.bool).pin_memory()
        there.copy_(finite, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._under_way.append((first, there, event))
        while self._under_way and self._under_way[0][2].query():  # type: ignore[no-untyped-call]
            first, there, _ = self._under_way.popleft()
            self._judge(first, there)

    def _finite(self) -> torch.Tensor:
        """Whether each loss is that has not been looked at."""
        new = self.losses[self._looked_at :]
        return torch.stack(new).isfinite() if new else torch.ones(0, dtype=torch.bool)

    def _judge(self, first: int, finite: torch.Tensor) -> None:
        if bool(finite.all()):
            return
        number = first + finite.tolist().index(False)
        step = (self._epoch - 1) * self._steps_per_epoch + number
        raise Diverged(
            f"the training loss is {self.losses[number].item()} in epoch {self._epoch}, step {number + 1} of "
            f"{self._steps_per_epoch} (lr {self._lr_at(step):g}): a smaller lr, or a warm-up, may help"
        )
