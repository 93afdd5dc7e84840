"""A small trainable of a user's own, and a shorthand to load and check sweep files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from sweep_runner.errors import RequestError
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec
from sweep_runner.spec.plan import Plan

MODULE = """
from pathlib import Path
from typing import Literal
from pydantic import BaseModel, ConfigDict, Field, model_validator
from trainables.contract import ConfigProblem, Trainable

class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    net: str = "mlp"
    pooling: Literal["avg", "max", "catavgmax"] = "avg"
    optimizer: Literal["adam", "sgd", "lion"] = "adam"
    mixed_precision: Literal["no", "bf16"] = "no"
    lr: float = Field(1e-3, gt=0, le=10)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weights: bool | Path = False
    batch_size: int = Field(32, ge=1, multiple_of=8)
    epochs: int = Field(3, ge=1)
    seed: int | None = None

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self):
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: true with momentum 0: it needs momentum above 0")
        return self

class Split(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    train: float = Field(0.8, gt=0, le=1)

class Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    root: Path | None = None
    view: Literal["images", "crops"] = "images"
    split: Split = Split()

class Own(Trainable):
    config_class = Config
    data_class = Data
    metrics = {"val_accuracy": "max", "val_loss": "min"}
    check_keys = ("net", "pooling", "momentum", "nesterov")

    @classmethod
    def check(cls, config):
        if config.net == "vit" and config.pooling == "catavgmax":
            return [ConfigProblem("pooling", "catavgmax does not go with vit: use avg or max")]
        if config.net == "mlp" and config.epochs == 9:
            return [ConfigProblem("net", "an mlp sees no neighbours", fatal=False)]
        if config.epochs == 8 and config.net != "cnn":
            return [ConfigProblem("net", "it is slow", fatal=False, of_value=True)]
        return []

    def train(self, config, handle):
        raise NotImplementedError
"""

GOOD = """\
name: trial-sweep
trainable: own_trainable:Own
data: {root: pictures, view: crops}
fixed: {epochs: 9}
space:
  net: [mlp, vit]
  pooling: [avg, max]
  optimizer: [adam, sgd]
  momentum: {low: 0.5, high: 0.9, when: {optimizer: sgd}}
  lr: {low: 1e-4, high: 1, log: true}
  batch_size: {low: 8, high: 64, step: 8}
baselines:
  known: {net: mlp, pooling: max, optimizer: sgd, momentum: 0.9, lr: 1, batch_size: 32}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory: holds `own_trainable.py` and `good.yaml`."""
    (tmp_path / "own_trainable.py").write_text(MODULE)
    (tmp_path / "good.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_trainable", raising=False)
    yield tmp_path
    sys.modules.pop("own_trainable", None)


@pytest.fixture
def plan_of(folder: Path) -> Callable[..., Plan]:
    """Loads and checks a sweep file: its text (the good one if None), then `--set` overrides."""

    def plan(text: str | None = None, *overrides: str) -> Plan:
        path = Path("sweep.yaml")
        path.write_text(GOOD if text is None else dedent(text))
        return check_spec(load_spec(path, overrides))

    return plan


@pytest.fixture
def problems_of(plan_of: Callable[..., Plan]) -> Callable[..., str]:
    """The whole text of what is wrong with a sweep file."""

    def problems(text: str | None = None, *overrides: str) -> str:
        with pytest.raises(RequestError) as caught:
            plan_of(text, *overrides)
        assert caught.value.exit_code == 2
        return str(caught.value)

    return problems
