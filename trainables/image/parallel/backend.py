"""How the processes of a trial talk to each other: through NCCL, where each has a GPU of its own, else through gloo.

NCCL copies from GPU to GPU. It refuses two processes on one GPU, and a process without one. gloo works everywhere; what
lies on a GPU goes through the memory of the machine, in each step. Each process says in the store what it has before
they are connected, so that all of them decide alike.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import torch
import torch.distributed as dist

from trainables.errors import TrainableError

Backend = Literal["nccl", "gloo"]


class Store(Protocol):
    """Of `torch.distributed`: what one process has set, the others get, as soon as it is there."""

    def set(self, key: str, value: str, /) -> object: ...

    def get(self, key: str, /) -> bytes: ...


@dataclass(frozen=True)
class Equipment:
    """What one process has.

    Attributes:
        gpu: which GPU, by a name that no other one has; empty: none.
        has_nccl: whether its PyTorch has NCCL.
    """

    gpu: str
    has_nccl: bool


@dataclass(frozen=True)
class Choice:
    """How all of them talk.

    Attributes:
        backend: of `torch.distributed`.
        why_not_nccl: in words, where there are GPUs and it is gloo all the same; empty: as it should be.
    """

    backend: Backend
    why_not_nccl: str = ""


def chosen(workers: Sequence[Equipment]) -> Choice:
    """What suits all of the processes of a trial, by rank.

    Raises:
        TrainableError: some have a GPU and some have none; they would not compute the same.
    """
    without = [rank for rank, worker in enumerate(workers) if not worker.gpu]
    if len(without) == len(workers):
        return Choice("gloo")
    if without:
        raise TrainableError(
            f"{_ranks(without)} no GPU that PyTorch can use, the other workers have one: all workers of a trial need "
            "one, or none (resources.gpus: 0). Is the driver of that machine in order?"
        )
    lacking = [rank for rank, worker in enumerate(workers) if not worker.has_nccl]
    if lacking:
        return Choice("gloo", f"{_ranks(lacking)} a PyTorch without NCCL")
    gpu, most = Counter(worker.gpu for worker in workers).most_common(1)[0]
    if most > 1:
        return Choice("gloo", f"{most} workers share the GPU {gpu}, and NCCL needs one per worker")
    return Choice("nccl")


def own_equipment(local_rank: int) -> Equipment:
    """What this process has.

    Args:
        local_rank: its number on its machine: of several GPUs that it sees, Accelerate takes the one of this number.
    """
    if not torch.cuda.is_available():
        return Equipment("", dist.is_nccl_available())
    facts = torch.cuda.get_device_properties(local_rank % torch.cuda.device_count())
    return Equipment(str(facts.uuid), dist.is_nccl_available())


def agree(store: Store, rank: int, number: int, own: Equipment) -> Choice:
    """Tells the other processes what this one has, waits for what they have, and chooses as each of them does.

    Args:
        store: that all of them see.
        rank: of this process.
        number: of all of them.
        own: equipment.

    Raises:
        TrainableError: as `chosen`.
        dist.DistStoreError: one has not come before the store's timeout.
    """
    store.set(f"equipment/{rank}", json.dumps(asdict(own)))
    return chosen([Equipment(**json.loads(store.get(f"equipment/{other}"))) for other in range(number)])


def _ranks(ranks: Sequence[int]) -> str:
    named = ", ".join(map(str, ranks))
    return f"rank {named} has" if len(ranks) == 1 else f"ranks {named} have"
