"""The number format that `mixed_precision: auto` means."""

from __future__ import annotations

import pytest
import torch

from trainables.errors import TrainableError
from trainables.image.config import ImageConfig
from trainables.image.models.factory import build_model
from trainables.image.training import precision
from trainables.image.training.precision import chosen_precision, is_separable

SEPARABLE = ("mobilenetv3_small_100", "mobilenetv2_100", "efficientnet_b0", "shufflenet_v2_x1_0")
DENSE = ("resnet10t", "resnet18", "convnext_tiny", "simple_cnn3", "mlp6")


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
