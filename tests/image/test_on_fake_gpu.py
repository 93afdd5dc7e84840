"""What a trial does on a GPU, with tensors of a GPU that is not there: no two devices are mixed, nothing is read.

Parametrized by the project's own tables, so that whatever is added to them is covered by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import timm
import torch
from torch import nn

from tests.support.fake_gpu import DEVICE, FakeGpu, fake_accelerator
from tests.support.trials import Case, bright_corners
from trainables.image.batches.augment import make_augmentation, with_generator
from trainables.image.batches.feed import Feed
from trainables.image.batches.mixing import make_mixing
from trainables.image.choices.losses import loss_problem
from trainables.image.choices.optimizers import OPTIMIZERS
from trainables.image.config import Augment, ImageConfig, Loss, Schedule
from trainables.image.features import backbone
from trainables.image.features.backbone import FrozenBackbone
from trainables.image.measures.losses import training_loss
from trainables.image.models.factory import build_model
from trainables.image.models.table import OWN_NETS
from trainables.image.parallel.workers import Workers
from trainables.image.settings.balance import Balance, Strategy
from trainables.image.training import checkpoint, graph
from trainables.image.training.classifier import epochs, starting_net
from trainables.image.training.evaluate import compute_logits
from trainables.image.training.graph import CAPTURABLE, FUSED, WARM_UP_STEPS, keep_on_device
from trainables.image.training.optim import make_optimizer, set_learning_rate
from trainables.image.training.order import epoch_generator
from trainables.image.training.turns import off_the_gpu

MODELS = [*OWN_NETS, "shufflenet_v2_x0_5", "squeezenet1_1", "googlenet", *timm.list_models("test_*")]
"""Our own nets, torchvision's, and timm's small one of each family."""
READ_THEMSELVES = {"adamp", "novograd", "sgdp"}
"""Optimizers that ask the device for a value in each step."""
COMPUTE_THEMSELVES = {"adafactorbv", "lamb", "lambw"}
"""Optimizers that compute a factor of each step in Python."""
CHANGES = [
    *({"augment": kind} for kind in get_args(Augment)),
    *({name: 0.5} for name in ("hflip", "vflip", "crop_scale", "color_jitter", "invert", "random_erasing")),
    {"rotation_degrees": 20.0},
    {"mixup": 0.2},
    {"cutmix": 1.0},
    {"mixup": 0.2, "cutmix": 1.0, "augment": "randaugment", "random_erasing": 0.5},
]


def trained(
    case: Case,
    precision: str = "no",
    balance: Balance | None = None,
    resumed: Path | None = None,
    **values: Any,
) -> tuple[FakeGpu, dict[str, float]]:
    """Trains an epoch of a few steps and a validation; the GPU, and what was reported."""
    config = configured(**values)
    with FakeGpu() as gpu:
        net, _ = starting_net(config, len(case.index.classes), case, None, 0)
        with fake_accelerator(precision) as accelerator:
            last = 0 if resumed is None else 1
            run = epochs(config, case.index, case, net, accelerator, Workers(), 0, [], balance, last, resumed)
            report = next(run).report
            run.close()
    assert {one.device for one in (*net.parameters(), *net.buffers())} == {DEVICE}
    assert gpu.num_operations > 50
    return gpu, dict(report.metrics)


@pytest.fixture(scope="module")
def corners() -> Case:
    return bright_corners(16)


@pytest.fixture(scope="module")
def labels() -> Case:
    return bright_corners(16, multilabel=True)


def test_devices_that_are_mixed_are_refused() -> None:
    with FakeGpu(), pytest.raises(RuntimeError, match="same device"):
        torch.ones(3, device=DEVICE) + torch.ones(3)
    with FakeGpu() as gpu:
        assert torch.ones(3).sum().item() == 3.0, "what is on the CPU is real"
        assert not gpu.reads
        torch.ones(3, device=DEVICE).sum().item()
        assert len(gpu.reads) == 1


def configured(**values: Any) -> ImageConfig:
    base = {"model": "mlp6", "width": 8, "pretrained": False, "input_resolution": 16, "epochs": 2, "batch_size": 4}
    return ImageConfig.model_validate(base | values)


@pytest.mark.parametrize("values", CHANGES, ids=str)
def test_every_change_to_images(corners: Case, values: dict[str, Any]) -> None:
    config = configured(**values)
    change = with_generator(make_augmentation(config), epoch_generator(0, 1))
    mix = make_mixing(config, 3, 0, 1)
    with FakeGpu() as gpu:
        targets = torch.tensor([0, 1, 2, 0], device=DEVICE)
        feed = Feed(corners, DEVICE, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
        for images in feed.batches(np.arange(8), 4, change):
            assert (images.device, images.shape) == (DEVICE, (4, 3, 16, 16))
            if mix:
                mixed, shares = mix(images, targets)
                assert (mixed.device, shares.device) == (DEVICE, DEVICE)
    assert not gpu.reads


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss(loss: Loss, multilabel: bool) -> None:
    if loss_problem(loss, multilabel) is not None:
        return
    with FakeGpu() as gpu:
        logits = torch.zeros((4, 3), device=DEVICE, requires_grad=True)
        targets = torch.zeros((4, 3), device=DEVICE) if multilabel else torch.zeros(4, dtype=torch.int64, device=DEVICE)
        mixed = torch.zeros((4, 3), device=DEVICE)
        weights = torch.ones(3, device=DEVICE)
        for values in ({}, {"label_smoothing": 0.1, "pos_weight": 2.0}):
            for of_classes in (None, weights):
                minimised = training_loss(configured(loss=loss, **values), multilabel, of_classes)
                for wanted in (targets, mixed):
                    assert minimised(logits, wanted).device == DEVICE
    assert not gpu.reads


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer(optimizer: str) -> None:
    config = configured(optimizer=optimizer, model="simple_cnn3", width=2)
    with FakeGpu() as gpu:
        net = build_model(config, 3).to(DEVICE)
        made = make_optimizer(config, net)
        for step in range(2):
            set_learning_rate(made, 0.1 / (step + 1))
            for parameter in net.parameters():
                parameter.grad = torch.zeros_like(parameter)
            made.step()
            made.zero_grad()
    assert {one.device for one in net.parameters()} == {DEVICE}
    assert not gpu.reads or optimizer in READ_THEMSELVES


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_schedule(corners: Case, schedule: Schedule) -> None:
    trained(corners, schedule=schedule, warmup_epochs=0.5)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_every_precision(corners: Case, precision: str) -> None:
    trained(corners, precision, model="simple_cnn3", ema_decay=0.9, dropout=0.2, mixup=0.2)


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_every_balance(corners: Case, strategy: Strategy) -> None:
    trained(corners, balance=Balance(strategy=strategy))


def test_averaged_weights(corners: Case) -> None:
    trained(corners, model="simple_cnn3", average_weights=2)


def test_several_labels(labels: Case) -> None:
    trained(labels, mixup=0.2, threshold="tuned")


@pytest.mark.parametrize("model", MODELS)
def test_every_kind_of_model(model: str) -> None:
    trained(bright_corners(8, size=64), "bf16", model=model, width=None, input_resolution=64, ema_decay=0.9)


def test_the_device_is_asked_for_nothing_within_an_epoch() -> None:
    few, many = (trained(bright_corners(num))[0].reads for num in (16, 80))
    assert few == many, "as often for 15 steps as for 3"
    assert len(few) < 8


def test_a_checkpoint_of_a_cpu_goes_on(corners: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        checkpoint, "set_random_state", lambda state: None
    )  # PyTorch reads it as tensors without values
    config = configured(ema_decay=0.9)
    corners.train(config.model_copy(update={"epochs": 1}), tmp_path)
    (folder,) = tmp_path.glob("attempt-1/checkpoints/epoch-00001")
    trained(corners, ema_decay=0.9, resumed=folder)


def test_a_batch_that_does_not_fit_goes_through_in_parts(corners: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = nn.Linear.forward

    def of_two_at_most(self: nn.Linear, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images)

    monkeypatch.setattr(nn.Linear, "forward", of_two_at_most)
    assert trained(corners)[1]["micro_batch_size"] == 2


def test_models_that_take_turns_leave_the_gpu_to_each_other() -> None:
    config = configured(optimizer="adamw")
    with FakeGpu():
        net = build_model(config, 3).to(DEVICE)
        average = build_model(config, 3).to(DEVICE)
        optimizer = make_optimizer(config, net)
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
        with off_the_gpu(net, average, optimizer):
            assert {one.device.type for one in (*net.parameters(), *average.parameters())} == {"cpu"}
        assert {one.device for one in (*net.parameters(), *average.parameters())} == {DEVICE}


def test_evaluation_and_the_pass_of_a_frozen_backbone(corners: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(model="simple_cnn3", width=4, mixed_precision="bf16")
    monkeypatch.setattr(backbone, "compute_device", lambda: DEVICE)
    with FakeGpu():
        assert compute_logits(build_model(config, 3).eval(), corners, np.arange(4), DEVICE).shape == (4, 3)
        frozen = FrozenBackbone(build_model(config, 3), config)
        for images in Feed(corners, frozen.device, *frozen.normalization).batches(np.arange(4), 2):
            for name, values in frozen(images).items():
                assert (values.device.type, values.shape) == ("cpu", (2, frozen.widths[name]))


def test_images_that_stay_on_the_gpu() -> None:
    values = {"pixels_on_device": "on", "augment": "light", "mixup": 0.2}
    few, many = (trained(bright_corners(num), **values) for num in (16, 80))
    assert few[0].reads == many[0].reads, "nothing within an epoch"
    assert many[1]["pixels_on_device_bytes"] == 80 * 16 * 16 * 3


def kernels_of_steps(optimizer: str) -> list[list[tuple[str, str]]]:
    """What an optimizer launches in three of its steps, each captured.

    Raises:
        RuntimeError: it reads a value, or takes one from the CPU.
    """
    config = configured(optimizer=optimizer, model="simple_cnn3", width=2)
    found, states = [], set()
    with FakeGpu() as gpu:
        net = build_model(config, 3).to(DEVICE)
        made = make_optimizer(config, net)
        keep_on_device(made, DEVICE)
        for step in range(6):
            set_learning_rate(made, 0.1 / (step + 1))
            for parameter in net.parameters():
                parameter.grad = torch.zeros_like(parameter)
            if step < WARM_UP_STEPS:
                made.step()
            else:
                gpu.captured.clear()
                with torch.cuda.graph(None):  # type: ignore[arg-type]
                    made.step()
                found.append(list(gpu.captured))
                kept = [one for state in made.state.values() for one in state.values()]
                states.add(tuple(id(one) for one in kept if isinstance(one, torch.Tensor)))
            made.zero_grad()
    assert len(states) == 1, "it goes on where it keeps its state"
    return found


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_an_optimizer_that_is_captured_takes_nothing_from_python(optimizer: str) -> None:
    if optimizer in CAPTURABLE:
        first, *others = kernels_of_steps(optimizer)
        assert all(kernels == first for kernels in others)
    elif optimizer in COMPUTE_THEMSELVES:
        first, *others = kernels_of_steps(optimizer)
        assert first not in others
    else:
        with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
            kernels_of_steps(optimizer)


@pytest.mark.parametrize("optimizer", ["adam", "radam"])
def test_a_checkpoint_of_either_way_goes_on_in_the_other(optimizer: str) -> None:
    config = configured(optimizer=optimizer, model="simple_cnn3", width=2)
    with FakeGpu():
        net = build_model(config, 3).to(DEVICE)
        for first, second in ((None, DEVICE), (DEVICE, None)):
            made, again = make_optimizer(config, net), make_optimizer(config, net)
            for each, device in ((made, first), (again, second)):
                if each is again:
                    again.load_state_dict(made.state_dict())
                keep_on_device(each, device)
                for parameter in net.parameters():
                    parameter.grad = torch.zeros_like(parameter)
                each.step()
            assert all(group["capturable"] == (second is not None) for group in again.param_groups)
            steps = {state["step"].device.type for state in again.state.values()}
            assert steps == {"cuda" if second is not None or optimizer == "adam" else "cpu"}


WHOLE = [
    {"optimizer": "adam", "head_lr_multiplier": 2.0, "ema_decay": 0.9, "mixup": 0.2, "schedule": "cosine"},
    {"cutmix": 1.0, "mixup": 0.2, "augment": "light", "hflip": 0.5, "crop_scale": 0.5, "rotation_degrees": 20.0}
    | {"color_jitter": 0.3, "invert": 0.5, "random_erasing": 0.5, "optimizer": "sgd", "schedule": "one_cycle"},
    {"model": "simple_cnn3", "batch_norm": True, "dropout": 0.2, "optimizer": "lion", "pixels_on_device": "on"},
]


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("values", WHOLE, ids=str)
def test_a_whole_step_is_captured_and_takes_nothing_from_python(
    values: dict[str, Any], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "fp16" and values["optimizer"] not in FUSED:
        return
    found = []
    for warm_up in (WARM_UP_STEPS, WARM_UP_STEPS + 2):
        monkeypatch.setattr(graph, "WARM_UP_STEPS", warm_up)
        gpu, metrics = trained(bright_corners(40), precision, **({"graph": "on"} | values))
        assert metrics["graph_fraction"] == (7 - warm_up) / 8, "of 8 steps, the last one of a smaller batch"
        assert len(gpu.reads) < 8
        found.append(gpu.captured)
    assert len(found[0]) > 30
    assert found[0] == found[1], "what one step launches is what another does"


def test_validation_that_is_captured() -> None:
    _, metrics = trained(bright_corners(88), graph="on", ema_decay=0.9)
    assert metrics["eval_graph_fraction"] == (5 - WARM_UP_STEPS) / 6, "of 6 batches, the last one smaller"


def test_the_final_evaluation_is_captured() -> None:
    case = bright_corners(330)
    for wanted in (False, True):
        with FakeGpu() as gpu:
            net = build_model(configured(model="simple_cnn3", width=4), 3).eval()
            assert compute_logits(net, case, np.arange(330), DEVICE, graph=wanted).shape == (330, 3)
        assert bool(gpu.captured) == wanted
        assert len(gpu.reads) == 1, "all outputs together"


@pytest.mark.parametrize(
    ("precision", "values"),
    [("fp16", {"optimizer": "lion"}), ("no", {"optimizer": "lamb"}), ("no", {"graph": "auto"})],
)
def test_a_step_that_is_not_captured(
    corners: Case, precision: str, values: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _, metrics = trained(corners, precision, **({"graph": "on"} | values))
    assert "graph_fraction" not in metrics
    assert ("one kernel at a time" in capsys.readouterr().out) == (values.get("graph") != "auto")
