"""What models take (parameters, bytes, milliseconds), measured on this machine and put on record.

It depends on the architecture alone: network, resolution, pooling, classes. So each is measured once, untrained or from
the package that is published, and every trial that has it learns the figures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweep_runner.execution.build import build
from sweep_runner.execution.evaluation.assistant import Assistant
from sweep_runner.execution.evaluation.finalize import FinalResult
from sweep_runner.results.display import counted
from sweep_runner.results.events import ModelMeasured
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import SweepState
from sweep_runner.spec.goals import wanted_facts_of
from sweep_runner.spec.plan import Plan
from trainables.contract import Progress
from trainables.cpus import num_cpus
from trainables.errors import TrainableError
from trainables.facts import standard_facts
from trainables.machine import busy, machine_name
from trainables.own_modules import find_own_modules, folders_of_own_modules

MOST_ARCHITECTURES = 8
"""Of the kept trials that are measured when a sweep ends: an export takes seconds, of large networks a minute."""
_FIRST_S = 15.0
"""What measuring one takes, before any was: MobileNetV2 took 13 s on two CPUs, most of it for the export."""
_POLL_S = 0.5


@dataclass(frozen=True)
class MeasureTask:
    """What is to be measured.

    Attributes:
        trainable: built-in name or `package.module:attribute`.
        data: the sweep file's data section.
        data_folder: where `Trainable.prepare` left its files.
        config: of a trial, before the trainable's defaults.
        facts: the names that are wanted.
        num_threads: CPU threads.
        import_paths: put behind `sys.path`.
    """

    trainable: str
    data: Mapping[str, Any]
    data_folder: str
    config: Mapping[str, Any]
    facts: Sequence[str]
    num_threads: int
    import_paths: Sequence[str] = ()


def measure(task: MeasureTask, progress: Progress) -> Mapping[str, float]:
    """Calls `Trainable.measure`; for an `Assistant`."""
    find_own_modules(task.import_paths)
    trainable, config = build(task.trainable, task.data, task.data_folder, task.config)
    return dict(trainable.measure(config, task.facts, task.num_threads))


class CannotMeasure(Exception):
    """Why nothing was measured, in words."""


class Measurement:
    """One architecture that an assistant measures.

    Args:
        plan: the sweep.
        paths: of its folder.
        params: of a trial that has the architecture.
        facts: the names that are wanted.
    """

    def __init__(self, plan: Plan, paths: SweepPaths, params: Mapping[str, Any], facts: Sequence[str]) -> None:
        spec = plan.spec
        self._architecture = architecture_of(plan, params)
        self._task = MeasureTask(
            trainable=spec.trainable,
            data=spec.data,
            data_folder=str(paths.data),
            config=spec.config_of(params),
            facts=facts,
            num_threads=num_cpus(),
            import_paths=folders_of_own_modules(spec.trainable, spec.data),
        )

    def begin(self, assistant: Assistant) -> None:
        """Begins; returns at once."""
        assistant.begin(measure, self._task)

    def poll(self, assistant: Assistant, timeout_s: float = 0.0) -> Mapping[str, float] | None:
        """What was measured; None: it is not there yet.

        Raises:
            CannotMeasure: it went wrong.
        """
        if not assistant.wait(timeout_s):
            return None
        try:
            found: Mapping[str, float] = assistant.answer()
        except TrainableError as error:
            raise CannotMeasure(str(error)) from error
        except Exception as error:
            raise CannotMeasure((str(error).strip() or type(error).__name__).splitlines()[-1]) from error
        return found

    def event(
        self, facts: Mapping[str, float], trials: Sequence[int] = (), problem: str = "", *, loaded: bool = False
    ) -> ModelMeasured:
        """What is to be put on record; `loaded`: other work had the CPUs meanwhile."""
        return ModelMeasured(
            time=time.time(),
            architecture=self._architecture,
            facts=facts,
            machine=machine_name(loaded=loaded),
            trials=tuple(trials),
            asked=tuple(self._task.facts),
            problem=problem,
        )


def architecture_of(plan: Plan, params: Mapping[str, Any]) -> str:
    """What the facts of a trial depend on."""
    return plan.trainable.architecture(plan.make_config(params))


def wanted_facts(plan: Plan) -> tuple[str, ...]:
    """What is measured of the models of a sweep that has ended; empty: nothing."""
    spec = plan.spec
    needed = wanted_facts_of(spec.limits, spec.objective.also, plan.trainable.facts)
    usual = standard_facts(plan.trainable.facts) if spec.export.latency and spec.export.formats else ()
    return tuple(dict.fromkeys((*usual, *needed)))


def trials_with(plan: Plan, state: SweepState, architecture: str) -> tuple[int, ...]:
    """The trials that have an architecture, numbers ascending."""
    return tuple(
        number
        for number, summary in sorted(state.trials.items())
        if (summary.started or summary.ended) and architecture_of(plan, summary.params) == architecture
    )


def record_facts(plan: Plan, recorder: Recorder, trial: int, result: FinalResult) -> None:
    """Puts on record what was measured of a package."""
    if not result.facts:
        return
    architecture = architecture_of(plan, recorder.state.trials[trial].params)
    recorder.record(
        ModelMeasured(
            time=time.time(),
            architecture=architecture,
            facts=result.facts,
            machine=result.machine,
            trials=trials_with(plan, recorder.state, architecture),
            exported=True,
            asked=wanted_facts(plan),
        )
    )


def due_for_measuring(plan: Plan, state: SweepState, kept: Sequence[int]) -> dict[str, int]:
    """The architectures of kept trials that are to be measured, and a trial that has each: the best come first."""
    if not (wanted := wanted_facts(plan)):
        return {}
    sign = -1.0 if state.objective.mode == "max" else 1.0
    ranked = sorted(kept, key=lambda number: (sign * (state.trials[number].best_value or 0.0), number))
    due: dict[str, int] = {}
    for number in ranked:
        architecture = architecture_of(plan, state.trials[number].params)
        if architecture not in state.measured or not set(wanted) <= set(state.measured[architecture].asked):
            due.setdefault(architecture, number)
    return dict(list(due.items())[:MOST_ARCHITECTURES])


def measure_kept(
    plan: Plan,
    recorder: Recorder,
    paths: SweepPaths,
    kept: Sequence[int],
    assistant: Assistant,
    say: Callable[[str], None],
    stopped: Callable[[], bool],
    left_s: Callable[[], float] = lambda: math.inf,
) -> tuple[str, ...]:
    """Measures the architectures of kept trials that were not measured yet.

    Args:
        plan: the sweep.
        recorder: open.
        paths: of its folder.
        kept: the trials with a checkpoint.
        assistant: does it.
        say: told what happens.
        stopped: whether the user wants it to end.
        left_s: how many seconds there are for it; those that find no time are left to a resume.

    Returns:
        What the user should know.
    """
    notes: list[str] = []
    took = _FIRST_S
    due = due_for_measuring(plan, recorder.state, kept)
    warning = busy() if due else ""
    for place, (architecture, number) in enumerate(due.items(), start=1):
        if stopped():
            break
        if left_s() < took:
            rest = counted(len(due) - place + 1, "architecture")
            notes.append(
                f"no time was left to measure the latency of {rest} (search.stop.after); {paths.command('resume')} does"
            )
            break
        began = time.monotonic()
        say(f"measuring latency, {place} of {len(due)} architectures: {architecture}")
        known = recorder.state.measured.get(architecture)
        missing = [fact for fact in wanted_facts(plan) if known is None or fact not in known.asked]
        measurement = Measurement(plan, paths, recorder.state.trials[number].params, missing)
        measurement.begin(assistant)
        try:
            while (facts := measurement.poll(assistant, _POLL_S)) is None:
                if stopped():
                    assistant.close()
                    return tuple(notes)
        except CannotMeasure as error:
            notes.append(f"the latency of {architecture} (trial {number}) was not measured: {error}")
            continue
        trials = trials_with(plan, recorder.state, architecture)
        recorder.record(measurement.event(facts, trials, loaded=bool(warning)))
        took = time.monotonic() - began
    tell_later_trials(plan, recorder)
    if warning:
        notes.append(f"during the measurement of latency, {warning}")
    return tuple(notes)


def tell_later_trials(plan: Plan, recorder: Recorder) -> None:
    """Trials that came after their architecture was measured learn its figures."""
    state = recorder.state
    if not state.measured:
        return
    lacking: dict[str, list[int]] = {}
    for number, summary in sorted(state.trials.items()):
        if not summary.facts and (summary.started or summary.ended):
            lacking.setdefault(architecture_of(plan, summary.params), []).append(number)
    known = [
        replace(state.measured[each], time=time.time(), trials=tuple(lacking[each]))
        for each in lacking
        if each in state.measured
    ]
    recorder.record_many(known)
