"""The driver's assistant without a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sweep_runner.execution.evaluation.assistant import Assistant
from trainables.contract import Progress, no_progress


class AssistantHere(Assistant):
    """Does what it is asked in this process, which has PyTorch already: another one takes seconds to import it."""

    def begin(self, function: Callable[..., Any], task: object) -> None:
        self._asked = function, task

    def import_ahead(self, modules: Sequence[str]) -> None:
        pass

    def wait(self, timeout_s: float, progress: Progress = no_progress) -> bool:
        self._progress = progress
        return True

    def answer(self) -> Any:
        function, task = self._asked
        return function(task, self._progress)
