"""The metric that a trial monitors, where its learning rate or its end depends on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainables.contract import Checkpoint
from trainables.errors import TrainableError
from trainables.image.choices.metrics import monitor_problem
from trainables.image.config import ImageConfig
from trainables.image.index import ImageIndex
from trainables.image.training.schedule import stops_early


def watches(config: ImageConfig) -> bool:
    """Whether anything looks at `config.monitor` while training."""
    return config.schedule == "plateau" or config.early_stopping_patience is not None


def seen_so_far(config: ImageConfig, index: ImageIndex, resumed: Checkpoint | None) -> list[float]:
    """The metric to monitor of each epoch up to a checkpoint; empty where nothing looks at it.

    Raises:
        TrainableError: it is not for this kind of data.
    """
    if not watches(config):
        return []
    if problem := monitor_problem(config.monitor, index.multilabel):
        raise TrainableError(problem)
    return [] if resumed is None else [report.metrics[config.monitor] for report in resumed.history]


def watch(config: ImageConfig, watched: list[float], metrics: Mapping[str, float]) -> None:
    """Takes note of an epoch's metric to monitor, where anything looks at it."""
    if watches(config):
        watched.append(metrics[config.monitor])


def ends_early(config: ImageConfig, watched: Sequence[float]) -> bool:
    """Whether a trial ends before its last epoch, because what it monitors has not gained; says so."""
    if len(watched) == config.epochs or not stops_early(watched, config.monitor, config.early_stopping_patience):
        return False
    print(f"{config.monitor} did not improve for {config.early_stopping_patience} epochs: early stopping")
    return True
