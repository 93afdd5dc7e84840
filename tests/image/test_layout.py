"""Maps are channels last where PyTorch can do that, and plain where its CPU kernels cannot."""

from __future__ import annotations

import copy

import torch
from torch import nn

from trainables.image.models.layout import channels_last


class Stem(nn.Module):
    """A wide way and a strided 1×1 shortcut of three channels, as the stems of MobileOne and FastViT have them."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.shortcut = nn.Conv2d(3, 16, 1, stride=2)
        self.after = nn.Conv2d(16, 16, 1, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.after(self.wide(x) + self.shortcut(x))
        return out


def seen_by(model: nn.Module) -> dict[str, bool]:
    """Which convolutions are given channels last."""
    seen: dict[str, bool] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], name: str) -> None:
        seen[name] = not inputs[0].is_contiguous()

    for name in ("wide", "shortcut", "after"):
        module = model.get_submodule(name)
        module.register_forward_pre_hook(lambda module, inputs, name=name: note(module, inputs, name))
    model(torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last))
    return seen


def test_only_a_narrow_strided_shortcut_stays_plain() -> None:
    model = channels_last(Stem())
    assert model.wide.weight.is_contiguous(memory_format=torch.channels_last)
    assert not model.wide.weight.is_contiguous()
    assert model.shortcut.weight.is_contiguous()
    expected = {"wide": True, "shortcut": False, "after": True}
    assert seen_by(copy.deepcopy(model)) == expected, "an averaged copy, too"
    assert seen_by(channels_last(model)) == expected, "done twice, it is the same"


def test_gradients_are_those_of_the_plain_layout() -> None:
    torch.manual_seed(0)
    plain = Stem()
    other = channels_last(copy.deepcopy(plain))
    images = torch.rand(2, 3, 8, 8)
    plain(images).square().sum().backward()
    other(images.contiguous(memory_format=torch.channels_last)).square().sum().backward()
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert one.grad is not None
        assert two.grad is not None
        torch.testing.assert_close(one.grad, two.grad)
