"""A trainable whose models have a size: the wider, the better and the slower. Without PyTorch, by a formula."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from trainables.contract import EpochReport, Trainable, TrialHandle
from trainables.contract import NoData as Nothing
from trainables.errors import TrainableError
from trainables.facts import NUM_PARAMETERS, ONNX_LATENCY
from trainables.synthetic import SyntheticConfig

UNMEASURABLE = 13
"""A width of which no latency can be had."""
BROKEN = 17
"""A width whose measuring fails."""
SLOWER_EXPORTED = 8
"""A width whose exported model takes ten times as long as the untrained one."""
CALLS = "measured.txt"
"""A line for each width that was measured, in the data folder."""


class SizedConfig(SyntheticConfig):
    """As the synthetic one, with a width."""

    width: int = Field(4, ge=1, description="Of the network.")


class Sized(Trainable[SizedConfig, Nothing]):
    """See the module."""

    config_class = SizedConfig
    metrics = {"val_accuracy": "max", "val_loss": "min"}
    facts: ClassVar[Mapping[str, str]] = {NUM_PARAMETERS: "parameters", ONNX_LATENCY: "milliseconds"}
    architecture_keys = ("width",)

    def measure(self, config: SizedConfig, facts: Sequence[str], num_threads: int = 1) -> Mapping[str, float]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / CALLS).open("a") as file:
            file.write(f"{config.width}\n")
        if config.width == BROKEN:
            raise TrainableError("this width breaks")
        return facts_of(config.width)

    def measure_package(self, package: Path, facts: Sequence[str]) -> Mapping[str, float]:
        width = json.loads((package / "model.json").read_text())["width"]
        found = dict(facts_of(width))
        if width == SLOWER_EXPORTED:
            found[ONNX_LATENCY] *= 10
        return found

    def note_facts(self, package: Path, facts: Mapping[str, float], machine: str) -> None:
        card = json.loads((package / "model.json").read_text())
        (package / "model.json").write_text(json.dumps({**card, "facts": dict(facts), "machine": machine}))

    def train(self, config: SizedConfig, handle: TrialHandle) -> None:
        first = handle.resumed.epoch + 1 if handle.resumed else 1
        for epoch in range(first, config.epochs + 1):
            handle.report(
                EpochReport(epoch, {"val_accuracy": accuracy(config.width, epoch)}), save=partial(_save, epoch)
            )

    def export(
        self, config: SizedConfig, checkpoint: Path, folder: Path, info: Mapping[str, Any], num_threads: int = 1
    ) -> Mapping[str, Any]:
        (folder / "model.json").write_text(json.dumps({"origin": dict(info), "width": config.width}))
        return {}


def facts_of(width: int) -> Mapping[str, float]:
    """What a width has: 1,000 parameters and a millisecond each."""
    found = {NUM_PARAMETERS: 1000.0 * width, ONNX_LATENCY: float(width)}
    if width == UNMEASURABLE:
        del found[ONNX_LATENCY]
    return found


def accuracy(width: int, epoch: int) -> float:
    """The wider, the better; a little better with each epoch."""
    return 1 - 1 / (width + 1) - 0.01 / epoch


def _save(epoch: int, folder: Path) -> None:
    (folder / "state.json").write_text(json.dumps({"epoch": epoch}))
