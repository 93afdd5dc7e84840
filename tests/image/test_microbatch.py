"""Batches that do not fit in memory: errors are injected by a model that refuses more than it has room for."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainables.errors import Infeasible
from trainables.image.compute.memory import is_out_of_memory
from trainables.image.training.microbatch import (
    MicroBatches,
    even_parts,
    infeasible_when_out_of_memory,
)

SAYINGS: list[Exception] = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 40000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    MemoryError("Unable to allocate 37.3 GiB for an array with shape (10000000000,)"),
]


class Room(nn.Module):
    """A model with room for so many examples at a time."""

    def __init__(self, net: nn.Module, room: int, saying: Exception = SAYINGS[0]) -> None:
        super().__init__()
        self.net = net
        self.room = room
        self.saying = saying
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.room:
            raise self.saying
        self.seen.append(len(images))
        logits: torch.Tensor = self.net(images)
        return logits


def small_net(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * 36, 5))


def batch(num: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(num, 3, 8, 8, generator=generator), torch.randint(0, 5, (num,), generator=generator)


def micro(model: nn.Module, batch_size: int) -> MicroBatches:
    return MicroBatches(model, F.cross_entropy, torch.Tensor.backward, batch_size)


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("saying", SAYINGS, ids=lambda error: str(error)[:40])
def test_every_way_of_saying_it_halves_the_micro_batch(saying: Exception) -> None:
    model = Room(small_net(), 5, saying)
    step = micro(model, 32)
    step(*batch(32))
    assert step.size == 4
    assert sum(model.seen) == 32


def test_other_errors_are_not_taken_for_it() -> None:
    for error in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), OSError(12)):
        assert not is_out_of_memory(error)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        micro(Room(small_net(), 1, RuntimeError("CUDA error: an illegal memory access")), 4)(*batch(4))


@pytest.mark.parametrize(("num", "room"), [(32, 8), (32, 5), (23, 7), (3, 2), (2, 1), (7, 1)])
def test_gradients_loss_and_logits_are_those_of_the_whole_batch(num: int, room: int) -> None:
    whole, parts = small_net(), Room(small_net(), room)
    loss, logits = micro(whole, num)(*batch(num))
    part_loss, part_logits = micro(parts, num)(*batch(num))
    assert max(parts.seen) <= room
    torch.testing.assert_close(part_loss, loss)
    torch.testing.assert_close(part_logits, logits)
    torch.testing.assert_close(gradients(parts), gradients(whole))


def test_what_fits_goes_through_at_once_and_bit_for_bit() -> None:
    plain, model = small_net(), Room(small_net(), 32)
    images, targets = batch(32)
    logits = plain(images)
    F.cross_entropy(logits, targets).backward()
    _, same = micro(model, 32)(images, targets)
    assert model.seen == [32]
    assert torch.equal(same, logits)
    assert all(torch.equal(one, other) for one, other in zip(gradients(model), gradients(plain), strict=True))


def test_memory_that_goes_missing_later_shrinks_the_rest_of_the_training() -> None:
    model = Room(small_net(), 8)
    step = micro(model, 8)
    step(*batch(8))
    model.zero_grad()
    model.room = 3
    loss, _ = step(*batch(8))
    torch.testing.assert_close(loss, micro(small_net(), 8)(*batch(8))[0])
    assert step.size == 2
    assert step.metrics == {"micro_batch_size": 2}
    model.room = 0
    with pytest.raises(torch.OutOfMemoryError):  # it has fitted: worth another attempt, so not Infeasible
        step(*batch(8))


def test_not_even_one_example_is_infeasible() -> None:
    with pytest.raises(Infeasible, match=r"micro-batch 1\): CUDA out of memory"):
        micro(Room(small_net(), 0), 16)(*batch(16))
    with pytest.raises(Infeasible, match="micro-batch 1"):
        micro(Room(small_net(), 0), 16).probe((3, 8, 8), batch(16)[1])


def test_batch_normalisation_of_one_example_is_infeasible_and_says_why() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4), nn.Linear(4, 5))
    with pytest.raises(Infeasible, match=r"micro-batches of 1.*batch normalisation"):
        micro(Room(net, 1), 8)(*batch(8))


def test_the_probe_finds_what_fits_and_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 36, 5))
    before = copy.deepcopy(net.state_dict())
    random = torch.get_rng_state()
    model = Room(net, 6)
    step = micro(model, 20)
    step.probe((3, 8, 8), batch(20)[1])
    assert step.size == 5
    assert not gradients(model)
    assert torch.equal(torch.get_rng_state(), random)
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "batches of 20 do not fit" in capsys.readouterr().out
    # The second part of a step holds gradients, too: it is tried as well, but no more than that.
    assert model.seen == [5, 5]


def test_fewer_examples_than_a_batch_are_halved_from_their_number() -> None:
    model = Room(small_net(), 4)
    step = micro(model, 65_536)
    step(*batch(10))
    assert step.size == 3
    assert sorted(model.seen) == [2, 2, 3, 3]


@pytest.mark.parametrize(
    ("total", "largest", "parts"), [(8, 8, [8]), (8, 3, [3, 3, 2]), (9, 8, [5, 4]), (5, 1, [1] * 5), (33, 16, [11] * 3)]
)
def test_parts_are_few_and_even(total: int, largest: int, parts: list[int]) -> None:
    assert even_parts(total, largest) == parts


def test_a_model_that_does_not_fit_is_infeasible() -> None:
    words = "vit itself does not fit in memory: CUDA error: out of memory"
    with pytest.raises(Infeasible, match=words), infeasible_when_out_of_memory("vit itself"):
        raise SAYINGS[1]
    with pytest.raises(ValueError, match="else"), infeasible_when_out_of_memory("vit itself"):
        raise ValueError("something else")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_for_real() -> None:
    """A cap on this process's share of the GPU stands for a small one."""
    device = torch.device("cuda")
    net = nn.Sequential(*(nn.Conv2d(3 if k == 0 else 64, 64, 3, padding=1) for k in range(8)))
    net = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5)).to(device)
    total = torch.cuda.get_device_properties(device).total_memory
    targets = torch.zeros(256, dtype=torch.long, device=device)
    torch.cuda.set_per_process_memory_fraction(3e9 / total)
    try:
        step = MicroBatches(net, F.cross_entropy, torch.Tensor.backward, 256)
        step.probe((3, 224, 224), targets)
        assert 1 <= step.size < 256
        loss, logits = step(torch.rand(256, 3, 224, 224, device=device), targets)
        assert loss.isfinite()
        assert logits.shape == (256, 5)
        with pytest.raises(Infeasible):
            MicroBatches(net, F.cross_entropy, torch.Tensor.backward, 2).probe((3, 8000, 8000), targets[:2])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
