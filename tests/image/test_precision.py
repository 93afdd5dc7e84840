"""The number format that `mixed_precision: auto` means."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from tests.support.trials import bright_corners
from trainables.errors import TrainableError
from trainables.image.compute import precision
from trainables.image.compute.precision import chosen_precision, gpu_precision, is_separable
from trainables.image.config import ImageConfig
from trainables.image.models.factory import build_model

SEPARABLE = ("mobilenetv3_small_100", "mobilenetv2_100", "efficientnet_b0", "shufflenet_v2_x1_0")
DENSE = ("resnet10t", "resnet18", "convnext_tiny", "simple_cnn3", "mlp6")


@functools.cache
def net_of(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(ImageConfig(model=name, input_resolution=32), 3)


@pytest.mark.parametrize(
    ("name", "separable"), [(name, True) for name in SEPARABLE] + [(name, False) for name in DENSE]
)
def test_families(name: str, separable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net = net_of(name)
    assert is_separable(net) == separable
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    assert chosen_precision("auto", net, 64) == ("no" if separable else "bf16")
    assert chosen_precision("auto", net, 32) == "no", "gradients of a map of one pixel are not exact"
    assert chosen_precision("bf16", net, 64) == "bf16", "what is asked for is done"
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    assert chosen_precision("auto", net, 64) == "no"
    with pytest.raises(TrainableError, match="fp16 needs a GPU"):
        chosen_precision("fp16", net, 64)


@pytest.mark.parametrize(
    ("capability", "wanted"),
    [
        ((6, 1), "no"),
        ((7, 0), "no"),
        ((7, 5), "no"),
        ((8, 0), "bf16"),
        ((8, 9), "bf16"),
        ((9, 0), "bf16"),
        ((12, 0), "bf16"),
    ],
)
def test_on_a_gpu_it_is_by_capability(
    capability: tuple[int, int], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    for name in ("resnet18", "mobilenetv2_100"):
        assert chosen_precision("auto", net_of(name), 32) == wanted, "neither family nor size decides on a GPU"
        for asked in ("no", "bf16", "fp16"):
            assert chosen_precision(asked, net_of(name), 32) == asked, "what is asked for is done"
    assert gpu_precision(capability, rocm=True) == "bf16"


def test_tf32_is_left_as_pytorch_has_it(tmp_path: Path) -> None:
    """Off for matrix products, on for convolutions, as the documents say; a trial changes neither."""
    values = {"model": "mlp6", "width": 4, "pretrained": False, "input_resolution": 16, "epochs": 1}
    bright_corners(16).train(ImageConfig.model_validate({**values, "mixed_precision": "no"}), tmp_path)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
