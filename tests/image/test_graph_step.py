"""The captured training step, with a capture that needs no GPU: see `recorded_graph`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.recorded_graph import recorded_capture
from tests.support.trials import bright_corners, numbers, weights_of
from trainables.image.config import ImageConfig
from trainables.image.parallel.workers import Workers
from trainables.image.training import classifier, graph
from trainables.image.training.graph import (
    CAPTURABLE,
    FUSED,
    Capture,
    Captured,
    GraphRun,
    Result,
    Run,
    keep_on_device,
    why_not,
)
from trainables.image.training.microbatch import MicroBatches
from trainables.image.training.optim import make_optimizer, set_learning_rate
from trainables.image.training.step import TrainingStep, scaled_backward

CPU = torch.device("cpu")


def losses_of(make: Callable[[Run], Run], sizes: list[int]) -> tuple[list[float], list[torch.Tensor]]:
    """Trains a small net on batches of these sizes, at a rate that changes; the losses and the weights."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, fused=True)
    keep_on_device(optimizer, CPU)

    def plain(images: torch.Tensor, targets: torch.Tensor) -> Result:
        logits = net(images)
        loss = F.cross_entropy(logits, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach(), logits.detach()

    step, found = make(plain), []
    drawn = torch.Generator().manual_seed(1)
    for number, size in enumerate(sizes):
        set_learning_rate(optimizer, 0.01 / (1 + number))
        images, targets = torch.randn(size, 6, generator=drawn), torch.randint(0, 3, (size,), generator=drawn)
        found.append(step(images, targets))
    return [loss.item() for loss, _ in found], [parameter.detach() for parameter in net.parameters()]


SIZES = [8, 8, 8, 8, 8, 8, 5, 8, 8, 5]


def test_it_learns_as_without_a_graph_to_the_bit() -> None:
    made: list[GraphRun] = []

    def captured(plain: Run) -> Run:
        made.append(GraphRun(plain, plain, recorded_capture))
        return made[0]

    losses, weights = losses_of(captured, SIZES)
    wanted, wanted_weights = losses_of(lambda plain: plain, SIZES)
    assert losses == wanted, "each is of its own step, though all replays write into the same memory"
    assert all(torch.equal(one, other) for one, other in zip(weights, wanted_weights, strict=True))
    assert (made[0].num_runs, made[0].num_replayed) == (10, 5), "three to warm up, two of another size"


def test_a_capture_that_fails_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def refused(run: Callable[[], Result]) -> Captured:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    made: list[GraphRun] = []

    def captured(plain: Run) -> Run:
        made.append(GraphRun(plain, plain, refused))
        return made[0]

    assert losses_of(captured, SIZES)[0] == losses_of(lambda plain: plain, SIZES)[0]
    assert made[0].fraction == 0.0
    assert capsys.readouterr().out.count("operation not permitted") == 1, "said once"


BASE = {"model": "simple_cnn3", "width": 4, "pretrained": False, "input_resolution": 16, "batch_size": 4, "epochs": 3}
"""Of 60 images 15 are val: three batches of four, and one of three."""


def refused(run: Callable[[], Result]) -> Captured:
    raise torch.OutOfMemoryError("CUDA out of memory")


def trained(folder: Path, capture: Capture, **values: object) -> tuple[list[dict[str, float]], bytes]:
    """The reports and the last weights of a trial that captures like this, as if there were a GPU."""
    config = ImageConfig.model_validate(BASE | values | {"graph": "on"})
    with mock.patch.object(classifier, "why_not", return_value=None), mock.patch.object(graph, "cuda_capture", capture):
        handle = bright_corners(60).train(config, folder)
    return numbers(handle.reports), weights_of(handle, 3)


CHANGES = {"augment": "light", "hflip": 0.5, "crop_scale": 0.6, "rotation_degrees": 10, "invert": 0.2}
WHAT_CHANGES = [
    {"batch_norm": True, "optimizer": "sgd", "schedule": "cosine", "warmup_epochs": 0.5},
    {"average_weights": 2, "head_lr_multiplier": 3.0, "schedule": "one_cycle", "optimizer": "adamw"},
    {"ema_decay": 0.9, "dropout": 0.2},
    CHANGES | {"random_erasing": 0.5, "color_jitter": 0.2},
    {"mixup": 0.3, "cutmix": 1.0, "ema_decay": 0.9, "batch_norm": True} | CHANGES,
    {"augment": "randaugment", "mixup": 0.3, "ema_decay": 0.9},
]
"""From step to step: rates, decays, random numbers, and what images are mixed with."""


@pytest.mark.parametrize("values", WHAT_CHANGES, ids=str)
def test_a_trial_with_graphs_reports_the_same_to_the_bit(values: dict[str, object], tmp_path: Path) -> None:
    sizes = []

    def captured(run: Callable[[], Result]) -> Captured:
        made = recorded_capture(run)

        def replay() -> None:
            made.replay()
            sizes.append([len(one) for one in made.result() if one.ndim])

        return Captured(replay, made.result)

    wanted, wanted_weights = trained(tmp_path / "eager", refused, **values)
    reports, weights = trained(tmp_path / "graph", captured, **values)
    of_val = [report.pop("eval_graph_fraction") for report in reports]
    assert of_val == [0, 3 / 8, 6 / 12], "after three to warm up, the full batches"
    assert all(report.pop("graph_fraction") > 0.5 for report in reports)
    assert all(report.pop(name) == 0 for report in wanted for name in ("graph_fraction", "eval_graph_fraction"))
    assert sizes == [[4]] * len(sizes), "the partial batches are not the graph's"
    assert reports == wanted
    assert weights == wanted_weights
    # Without graphs images are changed many batches at a time, and rates are numbers of Python, in double precision.
    off = bright_corners(60).train(ImageConfig.model_validate(BASE | values | {"graph": "off"}), tmp_path / "off")
    for report, of_off in zip(reports, numbers(off.reports), strict=True):
        assert report["train_loss"] == pytest.approx(of_off["train_loss"], abs=1e-6)


@pytest.mark.parametrize("optimizer", sorted(set(CAPTURABLE) - set(FUSED)))
def test_an_optimizer_moves_weights_as_without_a_graph(optimizer: str) -> None:
    def moved(make: Callable[[Run], Run], device: torch.device | None) -> list[torch.Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        made = make_optimizer(ImageConfig.model_validate({"optimizer": optimizer, "pretrained": False}), net)
        keep_on_device(made, device)

        def plain(images: torch.Tensor) -> Result:
            net(images).square().mean().backward()
            made.step()
            made.zero_grad()
            return (images,)

        step, drawn = make(plain), torch.Generator().manual_seed(1)
        for number in range(9):
            set_learning_rate(made, 0.01 / (1 + number))
            step(torch.randn(8, 6, generator=drawn))
        return [parameter.detach() for parameter in net.parameters()]

    # What of PyTorch is captured asks for a device that can.
    with contextlib.ExitStack() as stack:
        asks = "_get_capturable_supported_devices"
        for name in [name for name in sys.modules if name.startswith(("torch.optim.", "timm.optim."))]:
            if hasattr(sys.modules[name], asks):
                stack.enter_context(mock.patch(f"{name}.{asks}", return_value=["cpu"]))
        replayed = moved(lambda plain: GraphRun(plain, plain, recorded_capture), CPU)
    for one, other in zip(replayed, moved(lambda plain: plain, None), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 if "mu" in optimizer else 1e-6)  # in bfloat16


def test_what_stays_in_python_would_be_seen() -> None:
    with mock.patch(f"{__name__}.keep_on_device"):
        losses, _ = losses_of(lambda plain: GraphRun(plain, plain, recorded_capture), SIZES)
        wanted, _ = losses_of(lambda plain: plain, SIZES)
    assert losses != wanted, "a rate that is a number of Python is that of the capture for ever"


def test_a_capture_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    def half(run: Callable[[], Result]) -> Captured:
        with mock.patch.object(torch.optim.Adam, "step", side_effect=RuntimeError("operation not permitted")):
            return recorded_capture(run)

    values = {"optimizer": "adam", "batch_norm": True, "mixup": 0.2}
    assert trained(tmp_path / "half", half, **values)[1] == trained(tmp_path / "eager", refused, **values)[1]


def test_a_trial_says_what_is_not_captured_and_why(tmp_path: Path) -> None:
    config = ImageConfig.model_validate(BASE | {"graph": "on", "augment": "trivialaugment", "epochs": 2})
    with mock.patch.object(classifier, "why_not", return_value=None), mock.patch.object(graph, "cuda_capture", refused):
        reports = bright_corners(60).train(config, tmp_path).reports
    augmentation, steps, val = reports[-1].warnings
    assert augmentation.startswith("graph: augmentation runs one kernel at a time: which kernels trivialaugment needs")
    assert "steps" in steps
    assert "validation batches" in val
    assert steps.endswith("could not be captured: CUDA out of memory")


def scaled_losses(make: Callable[[TrainingStep], Run]) -> tuple[list[float], list[float], list[torch.Tensor]]:
    """Trains with scaled losses, of which two overflow; the losses, the scales and the weights."""
    torch.manual_seed(0)
    net = nn.Linear(6, 3)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, fused=True)
    keep_on_device(optimizer, CPU)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    add_gradients = MicroBatches(net, F.cross_entropy, partial(scaled_backward, scaler), 4)
    decide = partial(torch.argmax, dim=1)
    run = make(TrainingStep(net, add_gradients, optimizer, decide, scaler=scaler))
    losses, scales = [], []
    drawn = torch.Generator().manual_seed(1)
    for number in range(12):
        images = torch.randn(4, 6, generator=drawn)
        if number in (1, 7):
            images[0] = torch.inf
        losses.append(run(images, torch.randint(0, 3, (4,), generator=drawn))[0].item())
        scales.append(scaler.get_scale())
    return losses, scales, list(net.parameters())


def test_fp16_skips_a_step_that_overflows_inside_the_graph() -> None:
    made: list[GraphRun] = []

    def captured(step: TrainingStep) -> Run:
        made.append(GraphRun(step, step.whole, recorded_capture, undo=step.forget))
        return made[0]

    losses, scales, weights = scaled_losses(captured)
    wanted, wanted_scales, wanted_weights = scaled_losses(lambda step: step)
    assert made[0].num_replayed == 9
    assert scales == wanted_scales
    assert scales[4:9] == [8.0, 8.0, 8.0, 4.0, 4.0], "a replay has seen the second overflow"
    assert losses == pytest.approx(wanted, nan_ok=True, abs=0)
    assert all(torch.equal(one, other) for one, other in zip(weights, wanted_weights, strict=True))
    assert all(bool(one.isfinite().all()) for one in weights)


def test_validation_that_cannot_be_captured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports, _ = trained(
        tmp_path / "graph", lambda run: (refused if torch.is_inference_mode_enabled() else recorded_capture)(run)
    )
    assert [report["eval_graph_fraction"] for report in reports] == [0.0] * 3
    assert reports[-1]["graph_fraction"] > 0.5, "steps are captured all the same"
    said = "graph: validation batches run one kernel at a time, since they could not be captured: CUDA out of memory"
    assert capsys.readouterr().out.count(said) == 1, "said once"


def test_when_steps_are_captured() -> None:
    config, gpu = ImageConfig(graph="on"), torch.device("cuda")
    assert why_not(config, gpu, Workers(), scales_losses=False) is None
    assert "no GPU" in str(why_not(config, CPU, Workers(), scales_losses=False))
    assert "workers" in str(why_not(config, gpu, Workers(0, 2), scales_losses=False))
    assert "folds" in str(why_not(config, gpu, Workers(), scales_losses=False, takes_turns=True))
    assert why_not(config, gpu, Workers(), scales_losses=True) is None
    assert "lamb" in str(why_not(ImageConfig(optimizer="lamb"), gpu, Workers(), scales_losses=False))


def test_on_a_cpu_it_is_said_and_nothing_else_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = {"model": "mlp6", "width": 8, "pretrained": False, "input_resolution": 16, "epochs": 1}
    case, found = bright_corners(24), []
    for way in ("off", "on"):
        config = ImageConfig.model_validate(base | {"graph": way})
        found.append(case.train(config, tmp_path / way).reports[0].metrics)
    assert found[0]["train_loss"] == found[1]["train_loss"]
    assert "graph_fraction" not in found[1]
    assert "graph: steps run one kernel at a time: there is no GPU" in capsys.readouterr().out
