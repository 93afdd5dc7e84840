"""How the workers of a trial talk to each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.distributed as dist

from trainables.contract import EpochReport
from trainables.errors import TrainableError
from trainables.image.parallel import workers
from trainables.image.parallel.backend import Choice, Equipment, agree, chosen, own_equipment
from trainables.local import LocalHandle

NOTHING = Equipment("", has_nccl=True)


def test_on_cpus_it_is_gloo() -> None:
    assert chosen([NOTHING, Equipment("", has_nccl=False)]) == Choice("gloo")


def test_a_gpu_for_each_is_nccl() -> None:
    assert chosen([Equipment("GPU-1", True), Equipment("GPU-2", True)]) == Choice("nccl")


def test_gpus_without_nccl_fall_back_with_a_reason() -> None:
    choice = chosen([Equipment("GPU-1", True), Equipment("GPU-2", False), Equipment("GPU-3", False)])
    assert choice == Choice("gloo", "ranks 1, 2 have a PyTorch without NCCL")


def test_a_gpu_that_is_shared_falls_back_with_a_reason() -> None:
    choice = chosen([Equipment("GPU-1", True), Equipment("GPU-2", True), Equipment("GPU-2", True)])
    assert choice == Choice("gloo", "2 workers share the GPU GPU-2, and NCCL needs one per worker")


def test_some_with_and_some_without_a_gpu_are_refused() -> None:
    with pytest.raises(TrainableError, match=r"^rank 1 has no GPU that PyTorch can use, the other workers have one"):
        chosen([Equipment("GPU-1", True), NOTHING])


def test_all_decide_alike_whoever_comes_first() -> None:
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=30))
    own = [Equipment("GPU-1", True), Equipment("GPU-2", False), Equipment("GPU-3", True)]
    with ThreadPoolExecutor(3) as pool:
        choices = list(pool.map(lambda rank: agree(store, rank, 3, own[rank]), (2, 0, 1)))
    assert choices == [Choice("gloo", "rank 1 has a PyTorch without NCCL")] * 3


def test_what_a_process_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_equipment(0).gpu == ""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: type("Facts", (), {"uuid": f"GPU-{number}"})
    )
    assert [own_equipment(rank).gpu for rank in range(3)] == ["GPU-0", "GPU-1", "GPU-0"]


def test_a_slow_exchange_is_a_warning_of_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "0")
    monkeypatch.setattr(workers, "agree", lambda *_: Choice("gloo", "2 workers share the GPU GPU-2"))
    for name in ("TCPStore", "init_process_group"):
        monkeypatch.setattr(dist, name, mock.Mock())
    handle = LocalHandle(tmp_path, num_workers=2, rank=1)
    workers._connect(handle)
    handle.report(EpochReport(1, {"val_accuracy": 0.5}))
    assert handle.reports[0].warnings == (), "the first worker says it"
    handle = LocalHandle(tmp_path, num_workers=2)
    workers._connect(handle)
    handle.report(EpochReport(1, {"val_accuracy": 0.5}))
    (warning,) = handle.reports[0].warnings
    assert warning.endswith("slower than NCCL: 2 workers share the GPU GPU-2")
