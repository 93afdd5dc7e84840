"""A frozen net without its batch normalisations computes what it did."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from trainables.image.features.folding import folded

IMAGES = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))


def with_statistics(model: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # not those of a new one, which do nothing
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return model.eval()


def num_norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("name", ["mobilenetv2_050", "resnet10t", "tf_efficientnet_b0", "densenet121"])
def test_the_same_function_with_fewer_steps(name: str) -> None:
    model = with_statistics(timm.create_model(name))
    other = folded(model, IMAGES)
    images = torch.randn((3, 3, 64, 64))
    with torch.no_grad():
        expected = model.forward_features(images)
        torch.testing.assert_close(other.forward_features(images), expected, rtol=1e-3, atol=1e-3)
    assert num_norms(other) < num_norms(model)


class Net(nn.Module):
    """Whose convolution's output is used beside its normalisation, too, if it is asked to."""

    def __init__(self, beside: bool) -> None:
        super().__init__()
        self.beside = beside
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.conv(images)
        normal: torch.Tensor = self.norm(values)
        return normal + values if self.beside else normal


def test_a_net_that_cannot_do_without_stays_as_it_is() -> None:
    assert num_norms(folded(with_statistics(Net(beside=False)), IMAGES)) == 0
    model = with_statistics(Net(beside=True))
    assert folded(model, IMAGES) is model
    assert num_norms(model) == 1
