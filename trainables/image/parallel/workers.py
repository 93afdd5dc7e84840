"""What the processes of a trial do together; with one process, nothing.

All of them go through the same batches in the same order, and each takes its part of every batch. The gradients are
added up as those of the mean over the whole batch, so that the number of processes does not change what is learnt.
Gradients go out together after the backward pass, not during it as `DistributedDataParallel` sends them: so a process
may have no example at all, or put its part through the model in several, and parameters that a model does not use
stay without a gradient.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import nn

from trainables.contract import TrialHandle
from trainables.image.config import Precision
from trainables.image.measures.metrics import accuracy
from trainables.image.parallel.backend import agree, own_equipment
from trainables.image.parallel.batch_norm import SharedBatchNorm


class Workers:
    """The processes of a trial, as one of them sees them.

    Attributes:
        rank: which one this is.
        number: of all of them.
    """

    def __init__(self, rank: int = 0, number: int = 1) -> None:
        self.rank = rank
        self.number = number

    def share(self, size: int) -> slice:
        """This process's part of so many examples; parts differ by one at most, and may be empty."""
        return slice(size * self.rank // self.number, size * (self.rank + 1) // self.number)

    def shares(self, size: int) -> list[int]:
        """How many of so many examples each process has."""
        parts = (Workers(rank, self.number).share(size) for rank in range(self.number))
        return [part.stop - part.start for part in parts]

    def largest_share(self, size: int) -> int:
        """How many examples the largest part has."""
        return -(-size // self.number)

    def batch_norm(self, sizes: Sequence[int]) -> AbstractContextManager[object]:
        """Inside, batch normalisation in training is over the examples of all processes.

        Args:
            sizes: how many each has in what goes through the model.
        """
        return contextlib.nullcontext() if self.number == 1 else SharedBatchNorm(sizes, self.rank)

    def start_alike(self, model: nn.Module) -> None:
        """Gives every process the first one's parameters and buffers."""
        if self.number > 1:
            for tensor in (*model.parameters(), *model.buffers()):
                dist.broadcast(tensor.data, src=0)

    def draw_apart(self, seed: int, epoch: int) -> None:
        """Dropout and the like draw from other numbers in each process; in the first, from those of one alone."""
        if self.rank:
            (state,) = np.random.SeedSequence([seed, epoch, 4, self.rank]).generate_state(1, np.uint64)
            torch.manual_seed(int(state >> np.uint64(1)))

    def add_up(self, model: nn.Module, loss: torch.Tensor) -> torch.Tensor:
        """Adds up every process's gradients in place, and their shares of the loss: the sum of those.

        A parameter that has a gradient nowhere stays without one: an optimizer would treat zeros otherwise.
        """
        if self.number == 1:
            return loss
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        lacking = [parameter.grad is None for parameter in trained]
        there = 1.0 - torch.tensor(lacking, dtype=torch.float32).to(loss.device)
        parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in trained]
        message = torch.cat([*(part.flatten().float() for part in parts), there, loss.detach().float().reshape(1)])
        dist.all_reduce(message)
        *sums, found, total = torch.split(message, [*(one.numel() for one in trained), len(trained), 1])
        # Asking which of them have one elsewhere waits for a GPU: only where one is lacking here.
        anywhere = found.tolist() if any(lacking) else [1.0] * len(trained)
        for parameter, summed, number in zip(trained, sums, anywhere, strict=True):
            if number:
                if parameter.grad is None:
                    parameter.grad = torch.empty_like(parameter)
                parameter.grad.copy_(summed.view_as(parameter))
        return total[0]

    def gather(self, part: torch.Tensor, size: int) -> torch.Tensor:
        """The parts of all processes as one, (size, ...), in their order; exact however uneven they are."""
        if self.number == 1:
            return part
        largest = self.largest_share(size)
        padded = part.new_zeros((largest, *part.shape[1:]))
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in range(self.number)]
        dist.all_gather(parts, padded)
        return torch.cat([one[:length] for one, length in zip(parts, self.shares(size), strict=True)])

    def accuracy(self, predicted: torch.Tensor, targets: torch.Tensor) -> float:
        """As `accuracy`, over the examples of all processes."""
        if self.number == 1:
            return accuracy(predicted, targets)
        counts = torch.stack([(predicted == targets).sum(), torch.tensor(targets.numel(), device=targets.device)])
        dist.all_reduce(counts)
        right, all_of_them = counts.tolist()
        return float(right / all_of_them)

    def smallest(self, number: int, device: torch.device) -> int:
        """The smallest of every process's number."""
        return number if self.number == 1 else int(self._reduced([number], device, dist.ReduceOp.MIN)[0])

    def largest(self, number: float, device: torch.device) -> float:
        """The largest of every process's number."""
        return number if self.number == 1 else self._reduced([number], device, dist.ReduceOp.MAX)[0]

    def agreed(self, metrics: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """The first process's figures, for all: whatever follows from them is decided alike."""
        if self.number == 1:
            return dict(metrics)
        values = torch.tensor(list(metrics.values()), dtype=torch.float64, device=device)
        dist.broadcast(values, src=0)
        # Whole numbers stay whole.
        typed = zip(metrics.items(), values.tolist(), strict=True)
        return {name: type(own)(value) for (name, own), value in typed}

    def _reduced(self, values: list[float], device: torch.device, how: dist.ReduceOp.RedOpType) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(tensor, op=how)
        return tensor.tolist()


@contextmanager
def accelerator_of(handle: TrialHandle, precision: Precision) -> Iterator[Accelerator]:
    """An Accelerator that leaves nothing behind: one process runs many trials, one after another.

    With several workers it connects them (RANK, WORLD_SIZE and the like are in the environment): see `backend`. One
    that waits for another for longer than `handle.worker_timeout_s` raises.
    """
    try:
        if handle.num_workers == 1:
            yield Accelerator(mixed_precision=precision)
            return
        _connect(handle)
        try:
            accelerator = Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available())
            torch.set_num_threads(handle.num_threads)  # Accelerate has a view of its own
            yield accelerator
        finally:
            dist.destroy_process_group()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


def _connect(handle: TrialHandle) -> None:
    """Makes the process group, at the address in the environment and nowhere else.

    By itself torch has the first process listen on every interface of the machine.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    patience = timedelta(seconds=handle.worker_timeout_s)
    listening = None
    if handle.rank == 0:
        with socket.create_server((address, port)) as server:
            listening = server.detach()  # the store's from here on
    store = dist.TCPStore(  # type: ignore[attr-defined]
        address, port, handle.num_workers, handle.rank == 0, timeout=patience, master_listen_fd=listening
    )
    choice = agree(store, handle.rank, handle.num_workers, own_equipment(int(os.environ.get("LOCAL_RANK", "0"))))
    if choice.why_not_nccl and handle.rank == 0:
        handle.warn(
            f"the workers exchange gradients through gloo and the memory of the machine, which is slower than NCCL: "
            f"{choice.why_not_nccl}"
        )
    dist.init_process_group(
        choice.backend, store=store, rank=handle.rank, world_size=handle.num_workers, timeout=patience
    )
