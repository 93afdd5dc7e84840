"""Which trials may be trained: what their models take is known before, and may be over a limit of the sweep file.

Everything is decided from facts that are in the log, so that a restart decides the same. What the log lacks is
measured: of all architectures of the space before the first trial, while the machine is quiet; where they are too many
for that, when one is proposed, in a process of its own while trials run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from sweep_runner.errors import RequestError
from sweep_runner.execution.evaluation.assistant import Assistant
from sweep_runner.execution.evaluation.measuring import CannotMeasure, Measurement, architecture_of, tell_later_trials
from sweep_runner.results.events import LimitChecked, ModelMeasured
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import RANKED, SweepState
from sweep_runner.spec.goals import over_in_words, over_limits, wanted_facts_of
from sweep_runner.spec.plan import Plan
from sweep_runner.spec.space import combinations, first_params, grid_values
from trainables.facts import is_costly
from trainables.machine import busy

MOST_AHEAD = 64
"""Architectures that are measured before the first trial."""


_POLL_S = 0.2


@dataclass(frozen=True)
class Verdict:
    """Whether a trial may be trained.

    Attributes:
        measured: what is known of its architecture; None: it is being measured, ask again.
        over: the limits that it breaks, in words; empty: it may be trained.
        violations: by how much of each limit it is over it.
    """

    measured: ModelMeasured | None
    over: str = ""
    violations: Mapping[str, float] = field(default_factory=dict)


class Gate:
    """Holds trials against the limits, and knows what further objectives are before training.

    Args:
        plan: the sweep.
        paths: of its folder.
        recorder: open; what is measured is put on record.
    """

    def __init__(self, plan: Plan, paths: SweepPaths, recorder: Recorder) -> None:
        self._plan = plan
        self._paths = paths
        self._recorder = recorder
        self._limits = plan.spec.limits
        self._wanted = tuple(
            dict.fromkeys(wanted_facts_of(plan.spec.limits, plan.spec.objective.also, plan.trainable.facts))
        )
        self._assistant = Assistant()
        self._running: Measurement | None = None

    @property
    def is_open(self) -> bool:
        """Whether every trial may be trained, and nothing need be known of it before."""
        return not self._wanted

    def close(self) -> None:
        """Ends the process that measures."""
        self._assistant.close()

    def look(self, params: Mapping[str, Any], timeout_s: float = 0.0) -> Verdict:
        """Whether a trial with these params may be trained. Begins to measure what is not known yet.

        Args:
            params: of the trial.
            timeout_s: how long to wait for what is being measured.
        """
        architecture = architecture_of(self._plan, params)
        if self._running is not None and self._polled(timeout_s) is None:
            return Verdict(None)
        missing = self._missing(architecture)
        if missing:
            measurement = Measurement(self._plan, self._paths, params, missing)
            measurement.begin(self._assistant)
            self._running = measurement
            return Verdict(None)
        if self._running is None:
            self._assistant.close()  # it holds the libraries of training, and further architectures are rare
        return self.verdict(architecture)

    def verdict(self, architecture: str) -> Verdict:
        """What the log says of an architecture."""
        known = self._recorder.state.measured.get(architecture)
        if known is None:
            return Verdict(None)
        over = over_in_words(self._limits, known.facts, known.asked)
        if over and known.problem:
            over = f"{over} ({known.problem})"
        return Verdict(known, over, over_limits(self._limits, known.facts, known.asked))

    def _missing(self, architecture: str) -> tuple[str, ...]:
        """What is to be measured next: first what costs nothing, and what does only if no limit is broken by then."""
        known = self._recorder.state.measured.get(architecture)
        asked = set(known.asked) if known else set()
        missing = [fact for fact in self._wanted if fact not in asked]
        if known is not None and over_limits(self._limits, known.facts, known.asked):
            return ()
        cheap = tuple(fact for fact in missing if not is_costly(fact))
        return cheap or tuple(missing)

    def _polled(self, timeout_s: float) -> ModelMeasured | None:
        """Takes what is being measured; None while it is not there yet."""
        assert self._running is not None
        measurement = self._running
        try:
            facts = measurement.poll(self._assistant, timeout_s)
            if facts is None:
                return None
            event = measurement.event(facts)
        except CannotMeasure as error:
            event = measurement.event({}, problem=str(error))
        self._running = None
        self._recorder.record(event)
        return event

    # Before the first trial -----------------------------------------------------------------------------

    def measure_ahead(self, say: Callable[[str], None], stopped: Callable[[], bool]) -> None:
        """Measures every architecture that the space holds, if they are not too many, and says which are over a limit.

        Raises:
            RequestError: the space holds none that keeps the limits.
        """
        if self.is_open:
            return
        architectures = dict(self._architectures())
        if not architectures or len(architectures) > MOST_AHEAD:
            count = f"more than {MOST_AHEAD}" if architectures else "any number of"
            say(
                f"the space holds {count} architectures: each is measured when its first trial is proposed, while "
                f"other trials run"
            )
            return
        due = {name: params for name, params in architectures.items() if self._missing(name)}
        if due and any(is_costly(fact) for fact in self._wanted) and (warning := busy()):
            say(f"latency is measured before the first trial: {warning}")
        for place, (architecture, params) in enumerate(due.items(), start=1):
            say(f"measuring {place} of {len(due)} architectures: {architecture}")
            while self.look(params, _POLL_S).measured is None:
                if stopped():
                    self.close()
                    self._running = None
                    return
        self.close()
        self._tell(list(architectures), say)

    def _architectures(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The architectures of the space and of the baselines, and params that make each; none: too many to list."""
        plan = self._plan
        spec, keys = plan.spec, plan.trainable.architecture_keys
        values_of = {}
        for name in keys:
            if name in spec.space:
                values = grid_values(spec.space[name])
                if values is None:
                    return
                values_of[name] = values
        first = first_params(spec.space, spec.fixed)
        chosen = combinations(spec.space, values_of, spec.fixed)
        seen: set[str] = set()
        for params in (*spec.baselines.values(), *({**first, **values} for values in chosen)):
            try:
                architecture = architecture_of(plan, params)
            except ValidationError:
                continue  # values that a condition keeps apart
            if architecture not in seen:
                seen.add(architecture)
                yield architecture, params
            if len(seen) > MOST_AHEAD:
                return

    def _tell(self, architectures: list[str], say: Callable[[str], None]) -> None:
        over = {name: verdict.over for name in architectures if (verdict := self.verdict(name)).over}
        if not self._limits:
            return
        if len(over) == len(architectures):
            listed = "; ".join(f"{name}: {words}" for name, words in list(over.items())[:5])
            more = f"; and {len(over) - 5} more" if len(over) > 5 else ""
            raise RequestError(
                f"no architecture of the space is within the limits, so nothing can be trained: {listed}{more}",
                hint="Raise the limits, or put smaller models into the space: `sweep models` lists models with their "
                "parameters.",
            )
        if over:
            say(
                f"{len(architectures) - len(over)} of {len(architectures)} architectures are within the limits; the "
                f"others:"
            )
            for name, words in over.items():
                say(f"  {name}: {words}")
        else:
            say(f"all {len(architectures)} architectures of the space are within the limits")


def apply_limits(plan: Plan, recorder: Recorder) -> None:
    """Puts on record which trained trials are over a limit by what is known now, and which are no longer.

    A limit may have been changed since, and an exported model may take longer than the untrained one did.
    """
    if not plan.spec.limits and not any(summary.over_limit for summary in recorder.state.trials.values()):
        return
    tell_later_trials(plan, recorder)
    state = recorder.state
    for number, summary in sorted(state.trials.items()):
        if summary.state in RANKED and summary.facts:
            over = over_of(plan, state, number)
            if over != summary.over_limit:
                recorder.record(LimitChecked(time=time.time(), trial=number, over=over))


def over_of(plan: Plan, state: SweepState, number: int) -> str:
    """The limits that a trained trial breaks, in words. What was never measured of it breaks none."""
    summary = state.trials[number]
    measured = state.measured.get(architecture_of(plan, summary.params))
    return over_in_words(plan.spec.limits, summary.facts, measured.asked if measured else ())
