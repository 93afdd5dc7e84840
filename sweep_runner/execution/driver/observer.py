"""Whoever watches a run, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sweep_runner.execution.cluster.preflight import NodeReport
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.ray_runtime.session import RaySession
from sweep_runner.results.state import SweepState
from trainables.contract import Preparation


class Observer(Protocol):
    """Is told what happens, to show it."""

    def preparing(self, what: str, done: int, total: int) -> None: ...
    def prepared(self, preparation: Preparation) -> None: ...
    def looked_over(self, reports: Sequence[NodeReport]) -> None: ...
    def started(self, session: RaySession, max_concurrent: int) -> None: ...
    def tick(self, keeper: Keeper, state: SweepState) -> None: ...
    def stopping(self) -> None: ...
    def left(self, text: str) -> None: ...
    def noted(self, text: str) -> None: ...
    def warned(self, text: str) -> None: ...
    def searched(self) -> None: ...
    def finishing(self, what: str) -> None: ...


@dataclass(frozen=True)
class SweepOutcome:
    """How a run of a sweep ended.

    Attributes:
        state: of all its trials.
        package: the published model, None when there is none.
        notes: what the user should know of the end, such as why no model was published.
        failed: whether the final evaluation or the export went wrong.
    """

    state: SweepState
    package: Path | None
    notes: tuple[str, ...]
    failed: bool = False
