"""The captured training step, with a capture that needs no GPU: it runs the step on the graph's own input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.trials import bright_corners, numbers, weights_of
from trainables.image.config import ImageConfig
from trainables.image.parallel.workers import Workers
from trainables.image.training import classifier, graph
from trainables.image.training.graph import Capture, Captured, GraphRun, Result, Run, keep_on_device, why_not
from trainables.image.training.optim import set_learning_rate

CPU = torch.device("cpu")


def stand_in(run: Callable[[], Result]) -> Captured:
    """Runs what was captured each time, into the same memory, as a graph does."""
    kept: list[Result] = []

    def replay() -> None:
        result = run()
        if not kept:
            kept.append(result)
        for place, value in zip(kept[0], result, strict=True):
            place.copy_(value)

    return Captured(replay, lambda: kept[0])


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
        made.append(GraphRun(plain, plain, stand_in))
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


@pytest.mark.parametrize("values", [{"batch_norm": True}, {"average_weights": 2}, {"ema_decay": 0.9, "dropout": 0.2}])
def test_a_trial_with_graphs_reports_the_same_to_the_bit(values: dict[str, object], tmp_path: Path) -> None:
    sizes = []

    def captured(run: Callable[[], Result]) -> Captured:
        made = stand_in(run)

        def replay() -> None:
            made.replay()
            sizes.append([len(one) for one in made.result() if one.ndim == 2])

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


def test_validation_that_cannot_be_captured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports, _ = trained(
        tmp_path / "graph", lambda run: (refused if torch.is_inference_mode_enabled() else stand_in)(run)
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
    assert "fp16" in str(why_not(config, gpu, Workers(), scales_losses=True))
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
