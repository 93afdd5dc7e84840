"""Optimizers and learning rate."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from trainables.image.config import ImageConfig
from trainables.image.models import build_model
from trainables.image.optim import learning_rate, make_optimizer


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_each_optimizer_learns(name: str, kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    config = ImageConfig.model_validate(
        {"model": "mlp6", "input_resolution": 8, "optimizer": name, "lr": 0.002 if name != "sgd" else 0.05}
    )
    model = build_model(config, 2)
    optimizer = make_optimizer(config, model)
    assert type(optimizer) is kind
    images, targets = torch.rand(16, 3, 8, 8), torch.arange(16) % 2
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_biases_and_norms_do_not_decay_and_frozen_parameters_are_left_out() -> None:
    config = ImageConfig(model="resnet10t", input_resolution=32, weight_decay=0.05)
    model = build_model(config, 2)
    model.conv1.requires_grad_(False)
    groups = make_optimizer(config, model).param_groups
    decay = {group["weight_decay"]: group["params"] for group in groups}
    assert set(decay) == {0.0, 0.05}
    assert all(value.ndim <= 1 for value in decay[0.0])
    assert all(value.ndim > 1 for value in decay[0.05])
    frozen = {id(value) for value in model.conv1.parameters()}
    assert not any(id(value) in frozen for group in groups for value in group["params"])


def test_momentum_reaches_sgd() -> None:
    config = ImageConfig(model="mlp6", input_resolution=8, optimizer="sgd", momentum=0.7)
    assert {group["momentum"] for group in make_optimizer(config, build_model(config, 2)).param_groups} == {0.7}


def test_constant_stays() -> None:
    assert {learning_rate(step, peak=0.3, num_steps=20) for step in range(20)} == {0.3}


def test_cosine_falls_from_the_peak_to_nearly_zero() -> None:
    rates = [learning_rate(step, peak=0.3, num_steps=100, schedule="cosine") for step in range(100)]
    assert rates[0] == 0.3
    assert rates[50] == pytest.approx(0.15)
    assert all(after < before for before, after in itertools.pairwise(rates))
    assert 0.0 < rates[-1] < 0.001


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_rises_in_equal_steps_to_the_peak(schedule: str) -> None:
    rates = [
        learning_rate(step, peak=1.0, num_steps=50, num_warmup_steps=9, schedule=schedule)  # type: ignore[arg-type]
        for step in range(50)
    ]
    assert rates[:9] == pytest.approx([0.1 * (step + 1) for step in range(9)])
    assert rates[9] == max(rates) == 1.0
