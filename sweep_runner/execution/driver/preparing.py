"""Has the trainable prepare its data, beside the driver and while Ray starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sweep_runner.errors import Problem, RequestError
from sweep_runner.execution.driver.prepared import put_back, put_back_on_error
from sweep_runner.execution.evaluation.assistant import Assistant, PrepareTask, prepare
from sweep_runner.results.log import read_events
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.state import SweepState, fold
from sweep_runner.spec.changes import differences
from sweep_runner.spec.check import check_prepared
from sweep_runner.spec.loader import load_resolved
from sweep_runner.spec.plan import Plan
from trainables.contract import Preparation, Progress, Trainable

_LISTING_S = 1.0
"""Mistakes in the data show mostly while it is being listed: they are told before Ray is started for nothing."""
_POLL_S = 0.5


class Preparing:
    """One preparation.

    Args:
        plan: the sweep.
        paths: of its folder.
        assistant: does it.
    """

    def __init__(self, plan: Plan, paths: SweepPaths, assistant: Assistant) -> None:
        self._plan = plan
        self._paths = paths
        self._assistant = assistant

    def __call__(
        self,
        progress: Progress,
        tell: Callable[[Preparation], None],
        start_ray: Callable[[], object] | None,
    ) -> Preparation:
        """Prepares. What was prepared before stays as it was, unless this is accepted.

        Args:
            progress: how far it is.
            tell: gets what was found, before it is checked against the sweep.
            start_ray: starts Ray and its workers, which import what trials need; called when this takes longer than a
                moment, and trials will run.

        Raises:
            RequestError: the data is not what it was, or not what the sweep file says.
            TrainableError: the data cannot be used.
        """
        plan, folder = self._plan, self._paths.data
        folder.mkdir(exist_ok=True)
        with put_back_on_error(folder):
            before = fold(read_events(self._paths.log), plan.spec.objective)
            preparation = self._prepare(progress, start_ray if _has_trials(plan, before) else None)
            tell(preparation)
            check_prepared(plan, preparation)
            if before.data_fingerprint and before.data_fingerprint != preparation.fingerprint:
                raise RequestError(_other_data(plan, self._paths, before.data_fingerprint, preparation.fingerprint))
            if other := _others(self._paths, before.digests, preparation.digests):
                raise RequestError(other)
        return preparation

    def leave(self) -> None:
        """Ends it, from another thread and while it is at work: the process is about to end."""
        self._assistant.close()
        put_back(self._paths.data)

    def _prepare(self, progress: Progress, start_ray: Callable[[], object] | None) -> Preparation:
        plan, assistant = self._plan, self._assistant
        if plan.trainable.prepare is Trainable.prepare:
            return plan.trainable(plan.data, self._paths.data).prepare(plan.candidates)  # it has nothing to prepare
        task = PrepareTask(plan.spec.trainable, plan.spec.data, str(self._paths.data), plan.candidates)
        assistant.begin(prepare, task)
        done = assistant.wait(_LISTING_S, progress)
        if not done and start_ray is not None:
            start_ray()
        while not done:
            done = assistant.wait(_POLL_S, progress)
        preparation: Preparation = assistant.answer()
        return preparation


def _has_trials(plan: Plan, before: SweepState) -> bool:
    """Whether trials are to be run, as far as the log says: the study has the last word."""
    return sum(trial.ended is not None for trial in before.trials.values()) < plan.num_trials


def _others(paths: SweepPaths, before: Mapping[str, str], now: Mapping[str, str]) -> list[Problem]:
    """What else is not what it was: weights that were replaced under their name, say."""
    return [
        Problem(
            f"{paths.name}: the {what} differ from those at the start of the sweep (digest {before[what]} → {digest}): "
            "its trials would not be comparable",
            hint="restore those, or start a new sweep under another name",
        )
        for what, digest in now.items()
        if before.get(what, digest) != digest
    ]


def _other_data(plan: Plan, paths: SweepPaths, before: str, now: str) -> list[Problem]:
    """That the data is not what it was, and what of it the sweep file says otherwise."""
    changes = differences(load_resolved(paths.spec).spec, plan.spec) if paths.spec.exists() else []
    return [
        *(Problem(str(change)) for change in changes if change.key[0] == "data"),
        Problem(
            f"{paths.name}: the data differs from that at the start of the sweep (fingerprint {before} → {now}): "
            "its trials would not be comparable",
            hint="restore the data, or start a new sweep under another name",
        ),
    ]
