"""Trains on a batch that does not fit in memory in parts; the batch size stays what the search chose.

Before training on a GPU, `MicroBatches.probe` tries one step with the real model at the real batch and halves the
part (the micro-batch) until it fits. Should another process take memory later, a step that runs out of it is
done again with half the micro-batch. Gradients add up to those of the whole batch.

What differs: batch normalisation sees the statistics of a micro-batch, not of the batch, as in any gradient
accumulation. A trial that ran in parts therefore reports `micro_batch_size`, and its log says so.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from itertools import chain

import torch
from torch import nn

from trainables.errors import Infeasible
from trainables.image.compute.memory import is_out_of_memory
from trainables.image.parallel.workers import Workers

Backward = Callable[[torch.Tensor], None]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_BATCH_NORM_OF_ONE = "more than 1 value per channel"
_OPTIMIZER_TENSORS = 2
"""That Adam and most of its relatives keep for each parameter."""


class MicroBatches:
    """One optimizer step's forward and backward pass, in as many parts as memory needs.

    Attributes:
        batch_size: of an optimizer step; of several workers, the most that one has of it.
        size: examples that go through the model at a time; it only ever shrinks.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, backward: Backward, batch_size: int, workers: Workers | None = None
    ) -> None:
        """Args:
        model: images (N, C, H, W) → logits.
        loss: logits and targets → the mean over the examples. (Any other mean would not add up.)
        backward: adds a loss's gradients to the parameters'.
        batch_size: of an optimizer step.
        workers: that share each batch.
        """
        self._workers = workers or Workers()
        self.batch_size = self._workers.largest_share(batch_size)
        self.size = self.batch_size
        self._model = model
        self._loss = loss
        self._backward = backward
        self._has_fitted = False

    def __call__(
        self, images: torch.Tensor, targets: torch.Tensor, whole: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds the gradients of a batch to the parameters', which must have none yet.

        Args:
            images: (N, C, H, W).
            targets: N of them.
            whole: examples in the batch, of which several workers have a part each (it may be empty).

        Returns:
            The mean loss over the whole batch, a scalar, and the logits (N, C); both without gradients.

        Raises:
            Infeasible: not even one example fits, and none ever has.
        """
        if self._workers.number > 1:
            # Out of memory, one cannot begin anew: the others are in the middle of what they do together.
            loss, logits = self._as_one_of_several(images, targets, whole or len(images))
            return self._workers.add_up(self._model, loss), logits
        while True:
            try:
                result = self._in_parts(images, targets)
            except (RuntimeError, MemoryError, ValueError) as error:
                reason = self._halve(error, len(images))
            else:
                self._has_fitted = True
                return result
            # Outside `except`: the error's traceback holds on to the tensors of the step that failed.
            self._forget_step()
            print(f"out of memory ({reason}): continuing with micro-batches of {self.size} of {self.batch_size}")

    def whole(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As a call, of a batch that is known to fit; what goes wrong is raised as it is."""
        return self._in_parts(images, targets)

    def probe(self, image_shape: tuple[int, int, int], targets: torch.Tensor) -> None:
        """Finds the largest micro-batch that fits, without leaving a trace in the model or the random numbers.

        Call it with the model in the mode that it will train in, and before its first step.

        Args:
            image_shape: (C, H, W).
            targets: of `batch_size` examples, N of them, on the device.

        Raises:
            Infeasible: not even one example fits.
        """
        device = targets.device
        with infeasible_when_out_of_memory(f"a batch of {len(targets)} images"):
            images = torch.zeros((len(targets), *image_shape), device=device)
            images = images.contiguous(memory_format=torch.channels_last)
        buffers = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices, device_type=device.type):
            while True:
                try:
                    reserved = self._optimizer_state()
                    self._in_parts(images[: 2 * self.size], targets[: 2 * self.size])
                    _wait_for(device)
                    del reserved
                    break
                except (RuntimeError, MemoryError, ValueError) as error:
                    reason = self._halve(error, len(images))
                reserved = []
                self._forget_step()
        self._forget_step()
        with torch.no_grad():
            for name, buffer in self._model.named_buffers():
                buffer.copy_(buffers[name])
        self._has_fitted = True
        self.size = self._workers.smallest(self.size, device)
        if self.size < self.batch_size:
            print(
                f"batches of {self.batch_size} do not fit in memory ({reason}): they go through the model in "
                f"micro-batches of {self.size}, and gradients are accumulated. Batch normalisation, where the model "
                "has it, sees one micro-batch at a time"
            )

    @property
    def metrics(self) -> dict[str, float]:
        """What a report is to say: `micro_batch_size`, when it is smaller than the batch."""
        return {"micro_batch_size": self.size} if self.size < self.batch_size else {}

    def _in_parts(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if len(images) <= self.size:
            logits = self._model(images)
            loss = self._loss(logits, targets)
            self._backward(loss)
            return loss.detach(), logits.detach()
        losses, parts = [], []
        sizes = even_parts(len(images), self.size)
        portions = zip(torch.split(images, sizes), torch.split(targets, sizes), sizes, strict=True)
        for some_images, some_targets, size in portions:
            logits = self._model(some_images)
            # A part's share of the mean: parts need not be of one size.
            loss = self._loss(logits, some_targets) * (size / len(images))
            self._backward(loss)
            losses.append(loss.detach())
            parts.append(logits.detach())
            del logits, loss
        return torch.stack(losses).sum(), torch.cat(parts)

    def _as_one_of_several(
        self, images: torch.Tensor, targets: torch.Tensor, whole: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `_in_parts`, in as many parts as every other worker; loss and gradients are this one's shares."""
        number = -(-self._workers.largest_share(whole) // self.size)
        sizes_of_all = [divided(share, number) for share in self._workers.shares(whole)]
        sizes = sizes_of_all[self._workers.rank]
        losses, parts = [], []
        portions = zip(
            torch.split(images, sizes), torch.split(targets, sizes), zip(*sizes_of_all, strict=True), strict=True
        )
        for some_images, some_targets, all_sizes in portions:
            num = len(some_images)
            if not num:
                # The others wait for this worker in each layer: an example of zeros, which counts for nothing.
                some_images = images.new_zeros((1, *images.shape[1:]))
                some_targets = targets.new_zeros((1, *targets.shape[1:]))
            with self._workers.batch_norm(all_sizes):
                logits = self._model(some_images)
                loss = self._loss(logits, some_targets) * (num / whole)
            self._backward(loss)
            losses.append(loss.detach())
            parts.append(logits.detach()[:num])
            del logits, loss
        return torch.stack(losses).sum(), torch.cat(parts)

    def _halve(self, error: Exception, num_examples: int) -> str:
        """Takes the next smaller micro-batch; the error's first line. Raises it, if it says something else."""
        reason = _first_line(error)
        if _BATCH_NORM_OF_ONE in reason and self.size < self.batch_size:
            raise Infeasible(
                f"batches of {self.batch_size} fit in memory only in micro-batches of {self.size}, and some of these "
                f"hold one example, of which batch normalisation has no statistics: {reason}"
            ) from error
        if not is_out_of_memory(error):
            raise error
        size = min(self.size, num_examples)
        if size == 1:
            if self._has_fitted:
                raise error  # it did fit: somebody else has taken the memory, and another attempt may find it free
            raise Infeasible(f"out of memory even with one example at a time (micro-batch 1): {reason}") from error
        self.size = -(-size // 2)
        return reason

    def _forget_step(self) -> None:
        for parameter in self._model.parameters():
            parameter.grad = None
        _release_memory()

    def _optimizer_state(self) -> list[torch.Tensor]:
        """As much memory as the optimizer will take at its first step."""
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        return list(chain.from_iterable([torch.empty_like(one) for one in trained] for _ in range(_OPTIMIZER_TENSORS)))


def even_parts(total: int, largest: int) -> list[int]:
    """Divides `total` into as few parts of at most `largest` as possible, of sizes that differ by at most one.

    Even, so that no part is a single example where that can be avoided: batch normalisation fails on one.
    """
    return divided(total, -(-total // largest))


def divided(total: int, number: int) -> list[int]:
    """Divides `total` into so many parts, of sizes that differ by at most one; there may be empty ones."""
    size, longer = divmod(total, number)
    return [size + 1] * longer + [size] * (number - longer)


@contextlib.contextmanager
def infeasible_when_out_of_memory(what: str) -> Iterator[None]:
    """Says of a device that runs out of memory in this block that the configuration does not fit.

    Args:
        what: does not fit, in words.
    """
    reason = ""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = _first_line(error)
    if reason:
        _release_memory()
        raise Infeasible(f"{what} does not fit in memory: {reason}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _release_memory() -> None:
    """Gives back what is no longer referred to, so that the next try does not meet fragments of the last one."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
