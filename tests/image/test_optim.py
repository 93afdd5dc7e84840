"""Optimizers and learning rate."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import timm.optim
import torch
from torch import nn

from trainables.errors import TrainableError
from trainables.image.choices.optimizers import OPTIMIZERS, optimizer_problem
from trainables.image.config import ImageConfig
from trainables.image.models.factory import build_model, starting_model
from trainables.image.training.optim import make_optimizer, set_learning_rate
from trainables.image.training.schedule import learning_rate, plateau_factor, stops_early

KINDS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adamax": torch.optim.Adamax,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "radam": torch.optim.RAdam,
    "lion": timm.optim.Lion,
    "muon": timm.optim.Muon,
}
RATES = {"sgd": 0.05, "adadelta": 10.0, "lion": 0.0005, "rmsprop": 0.00005}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_each_optimizer_learns(name: str, kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    config = ImageConfig.model_validate(
        {"model": "mlp6", "input_resolution": 8, "optimizer": name, "lr": RATES.get(name, 0.002)}
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


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_momentum_reaches_those_that_have_it(name: str) -> None:
    config = ImageConfig(model="mlp6", input_resolution=8, optimizer=name, momentum=0.7)
    assert {group["momentum"] for group in make_optimizer(config, build_model(config, 2)).param_groups} == {0.7}


def test_nesterov_is_sgds_choice() -> None:
    for nesterov in (False, True):
        config = ImageConfig(model="mlp6", input_resolution=8, optimizer="sgd", nesterov=nesterov)
        assert make_optimizer(config, build_model(config, 2)).param_groups[0]["nesterov"] is nesterov


def test_position_embeddings_do_not_decay() -> None:
    config = ImageConfig(model="vit_tiny_patch16_224", input_resolution=32, weight_decay=0.05)
    model: Any = build_model(config, 2)
    plain = [
        id(p)
        for group in make_optimizer(config, model).param_groups
        if not group["weight_decay"]
        for p in group["params"]
    ]
    assert {id(model.pos_embed), id(model.cls_token)} <= set(plain)


def test_blocks_learn_more_slowly_the_further_they_are_from_the_head() -> None:
    config = ImageConfig(
        model="resnet18", finetune="scratch", input_resolution=32, layer_lr_decay=0.5, head_lr_multiplier=10.0
    )
    model = starting_model(config, 2)
    optimizer = make_optimizer(config, model)
    set_learning_rate(optimizer, 0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rate = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert rate["fc.weight"] == rate["fc.bias"] == pytest.approx(1.0)
    assert rate["layer4.1.conv1.weight"] == pytest.approx(0.05)
    assert rate["layer4.0.conv1.weight"] == pytest.approx(0.025)
    assert rate["conv1.weight"] == pytest.approx(0.1 * 0.5**9)


def test_an_optimizer_that_cannot_be_had_is_an_error_for_the_user() -> None:
    config = ImageConfig(model="mlp6", input_resolution=8, optimizer="fusedadam")
    with pytest.raises(TrainableError, match="the optimizer fusedadam cannot be made"):
        make_optimizer(config, build_model(config, 2))


def test_the_table_of_optimizers_knows_what_timm_knows() -> None:
    assert set(timm.optim.list_optimizers()) >= OPTIMIZERS
    for name in ("adam", "adamw", "sgd", "adamax", "adadelta", "rmsprop", "radam", "lion", "lookahead_lion"):
        assert optimizer_problem(name) is None
    assert optimizer_problem("cadafactor") is None, "timm is asked about the others"
    assert "did you mean adamw" in str(optimizer_problem("AdamW"))
    assert "second derivatives" in str(optimizer_problem("adahessian"))
    assert "list_optimizers" in str(optimizer_problem("qqqqqqq"))


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


def test_step_falls_every_so_many_steps() -> None:
    rates = [
        learning_rate(step, peak=1.0, num_steps=30, schedule="step", steps_to_fall=10, gamma=0.1) for step in range(30)
    ]
    assert rates == pytest.approx([1.0] * 10 + [0.1] * 10 + [0.01] * 10)


@pytest.mark.parametrize("num_steps", [10, 37, 100])
def test_one_cycle_is_pytorchs(num_steps: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=num_steps)
    expected = []
    for _ in range(num_steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < num_steps:
            theirs.step()
    found = [learning_rate(step, peak=0.3, num_steps=num_steps, schedule="one_cycle") for step in range(num_steps)]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_plateaus_are_counted_from_the_best() -> None:
    losses = [1.0, 0.9, 0.95, 0.92, 0.91, 0.5, 0.6, 0.6, 0.6]
    found = [plateau_factor(losses[:seen], "val_loss", gamma=0.1, patience=2) for seen in range(len(losses) + 1)]
    assert found == pytest.approx([1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01])
    assert plateau_factor([0.1, 0.2, 0.3], "val_accuracy", 0.1, 0) == 1.0
    assert plateau_factor([0.3, 0.2, 0.1], "val_accuracy", 0.1, 0) == pytest.approx(0.01)


def test_early_stopping_counts_epochs_since_the_best() -> None:
    assert not stops_early([], "val_loss", 1)
    assert not stops_early([0.5, 0.4, 0.45], "val_loss", 2)
    assert stops_early([0.5, 0.4, 0.45, 0.4], "val_loss", 2), "as good is no gain"
    assert not stops_early([0.5, 0.6, 0.7], "val_accuracy", 1)
    assert stops_early([0.5, 0.6, 0.6], "val_accuracy", 1)
    assert not stops_early([0.5] * 99, "val_loss", None)
