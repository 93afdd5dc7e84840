"""A trainable of a few numbers that can be averaged: what a sweep does with several checkpoints, in milliseconds.

A model is a direction. What is true of an example is on which side of the true direction it lies; each trial's is off
it by noise of its own, so that the mean of several is nearer to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from trainables.combining import Combines, Member
from trainables.contract import EpochReport, Evaluation, Mode, NoData, Preparation, Progress, Trainable, TrialHandle
from trainables.contract import no_progress as _no_progress
from trainables.errors import TrainableError
from trainables.image.measures.scores import score
from trainables.outcomes import packed

WIDTH, EXAMPLES = 12, 400
FILE = "direction.json"


class AveragedConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    epochs: int = 1
    noise: float = 1.0
    network: str = "small"
    color: str = "rgb"
    side: int = 64
    seed: int | None = None
    begin: str = "the same weights"


class Averaged(Trainable[AveragedConfig, NoData], Combines[AveragedConfig]):
    """See the module."""

    config_class = AveragedConfig
    metrics: Mapping[str, Mode] = {"val_accuracy": "max"}  # type: ignore[misc]
    facts: Mapping[str, str] = {"num_parameters": "numbers", "onnx_bytes": "bytes"}  # type: ignore[misc]
    scales = True

    def prepare(self, candidates: Mapping[str, Sequence[Any]], progress: Progress = _no_progress) -> Preparation:
        return Preparation(fingerprint="same")

    def train(self, config: AveragedConfig, handle: TrialHandle) -> None:
        direction = truth() + config.noise * off(handle.seed)

        def save(folder: Path) -> None:
            (folder / FILE).write_text(json.dumps([direction.tolist()]))

        right = _right(_probabilities([direction], "val"), "val")
        handle.report(
            EpochReport(1, {"val_accuracy": float(right.mean())}, packed(right.astype(np.float64))), save=save
        )

    def evaluate(self, config: AveragedConfig, checkpoint: Path, split: str, num_threads: int = 1) -> Evaluation | None:
        said = _probabilities(read(checkpoint), split)
        logits = np.log(np.stack([1 - said, said], axis=1)).astype(np.float32)
        names = [f"{split}-{number}" for number in range(EXAMPLES)]
        return score(split, names, _labels(split), logits, ("no", "yes"), False)

    def export(
        self, config: AveragedConfig, checkpoint: Path, folder: Path, info: Mapping[str, Any], num_threads: int = 1
    ) -> Mapping[str, Any]:
        (folder / "model.json").write_text(json.dumps({"origin": dict(info), "directions": len(read(checkpoint))}))
        return {}

    def measure_package(self, package: Path, facts: Sequence[str]) -> Mapping[str, float]:
        number = json.loads((package / "model.json").read_text())["directions"]
        return {"num_parameters": WIDTH * number, "onnx_bytes": 1000.0 * number}

    def measure(self, config: AveragedConfig, facts: Sequence[str], num_threads: int = 1) -> Mapping[str, float]:
        return {"num_parameters": WIDTH, "onnx_bytes": 1000.0}

    @classmethod
    def why_no_soup(cls, candidates: Mapping[str, Sequence[Any]]) -> str:
        return ""

    def layers(self, config: AveragedConfig) -> str:
        return config.network

    def start(self, config: AveragedConfig, seed: int) -> str:
        return config.begin

    def resolution(self, config: AveragedConfig) -> int:
        return config.side

    def at_resolution(self, config: AveragedConfig, resolution: int) -> AveragedConfig:
        if resolution > 100:
            raise TrainableError(f"no {resolution} px")
        return config.model_copy(update={"side": resolution})

    def sees(self, config: AveragedConfig) -> str:
        return config.color

    def joined_config(self, members: Sequence[Member[AveragedConfig]]) -> AveragedConfig:
        return members[0].config

    def join(self, members: Sequence[Member[AveragedConfig]], folder: Path) -> None:
        (folder / FILE).write_text(json.dumps([read(member.checkpoint)[0].tolist() for member in members]))

    def average(self, members: Sequence[Member[AveragedConfig]], folder: Path, num_threads: int = 1) -> None:
        if any(member.config.network != members[0].config.network for member in members):
            raise TrainableError("other layers")
        mean = np.mean([read(member.checkpoint)[0] for member in members], axis=0)
        (folder / FILE).write_text(json.dumps([mean.tolist()]))


def truth() -> npt.NDArray[np.float64]:
    """The true direction."""
    return np.ones(WIDTH)


def off(seed: int) -> npt.NDArray[np.float64]:
    """The noise of a trial: as long as the true direction, and at right angles to it and to that of other trials."""
    some = np.random.default_rng(0).normal(0, 1, (WIDTH, WIDTH))
    some[:, 0] = truth()
    axes, _ = np.linalg.qr(some)
    noise: npt.NDArray[np.float64] = axes[:, 1 + seed % (WIDTH - 1)] * np.linalg.norm(truth())
    return noise


def read(checkpoint: Path) -> list[npt.NDArray[np.float64]]:
    """The direction of a checkpoint; of models that answer together, several."""
    return [np.asarray(each) for each in json.loads((checkpoint / FILE).read_text())]


def _examples(split: str) -> npt.NDArray[np.float64]:
    return np.random.default_rng(len(split)).normal(0, 1, (EXAMPLES, WIDTH))


def _labels(split: str) -> npt.NDArray[np.int64]:
    return (_examples(split) @ truth() > 0).astype(np.int64)


def _probabilities(directions: Sequence[npt.NDArray[np.float64]], split: str) -> npt.NDArray[np.float64]:
    each = [1 / (1 + np.exp(-np.clip(_examples(split) @ direction, -15, 15))) for direction in directions]
    mean: npt.NDArray[np.float64] = np.mean(each, axis=0)
    return mean


def _right(probabilities: npt.NDArray[np.float64], split: str) -> npt.NDArray[np.bool_]:
    right: npt.NDArray[np.bool_] = (probabilities > 0.5) == (_labels(split) == 1)
    return right
