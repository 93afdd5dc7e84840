"""The persistent study: proposes trials, takes their values, decides what is pruned, and survives any crash.

Wraps one Optuna study in a journal file. Trials have the sweep's numbers: baselines 0, 1, … in file order, then
proposals, then baselines that were added later, and so on. Optuna cannot reopen a finished trial, so a retry is a
further trial in Optuna's file with the user attributes `retry_of` and `trial`; here it goes on under its old number.

A sweep whose file has changed goes on with its history, if `compatibility` allows the change: the journal is
written anew (`migration`) and put in the old one's place in one step, so that a crash leaves either.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweep_runner.durable import write_atomically
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.search import pruners
from sweep_runner.search.compatibility import as_stored, changes, check_changes, identity
from sweep_runner.search.distributions import decode_all, encode, suggest
from sweep_runner.search.failures import CONFIRMS, GOALS, PAUSED, RETRY_OF
from sweep_runner.search.journal import Journal, SweepStorage, open_journal
from sweep_runner.search.migration import migrated
from sweep_runner.search.repeatable import GridPoints
from sweep_runner.search.roster import Roster
from sweep_runner.search.samplers import make_sampler
from sweep_runner.search.trial import EndState, Proposal, State, TrackedTrial, TrialRecord
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.space import is_active
from sweep_runner.spec.strategies import Pruner

__all__ = ["EndState", "Proposal", "State", "Study", "TrialRecord"]

_IDENTITY = "sweep"  # study attribute: what the study was made for
_NAME, _NUMBER = "name", "trial"  # trial attributes
_FITS_MEMORY = "fits_memory"  # Optuna constraint: above 0 is violated
_FAR_OVER = 1e6  # of a limit on what a model has not: JSON and sums of violations want a finite number


class Study:
    """See the module. Made by `Study.open`; for one thread.

    A proposal is on disk when it is handed out. What happens to it is on disk when the next one is, or when the study
    is closed: the sweep's log has it before, from which the keeper brings the study up. After a SweepError (full disk)
    open the study anew.
    """

    def __init__(
        self,
        spec: SweepSpec,
        pruner: Pruner,
        sampler: BaseSampler,
        not_proposed: list[int],
        storage: SweepStorage,
        journal: Journal,
    ) -> None:
        """Use `Study.open`."""
        self._spec = spec
        self._not_proposed = not_proposed  # Optuna's numbers of baselines and retries, ascending; the sampler sees them
        self._grid = sampler if isinstance(sampler, GridPoints) else None
        self._storage = storage
        self._journal = journal
        self._study = self._create_or_load(sampler)
        self._roster = Roster(pruner, spec.objective.mode, spec.fixed)
        self._trials = self._roster.trials
        self._load()

    @classmethod
    def open(cls, path: Path, spec: SweepSpec, default_epochs: int | None = None) -> Self:
        """Opens the study of a sweep, or creates it. The caller holds the sweep's lock.

        Args:
            path: of the journal file (`SweepPaths.study`), in an existing folder.
            spec: the sweep. What may be different in it from an earlier run is said in `compatibility`.
            default_epochs: the trainable's, when the sweep names no epochs; only hyperband asks.

        Raises:
            RequestError: the sweep has changed in what its trials must share, or has no such grid or brackets.
            SweepError: the file cannot be read or written.
        """
        _quiet()
        pruner = pruners.resolve(spec, default_epochs)
        try:
            return cls._open(path, spec, pruner)
        except _Changed as changed:
            before = as_stored(changed.stored, spec)
            with cls._open(path, before, pruner) as study:
                check_changes(before, spec, study.trials())
                content = migrated(study._storage, before.space, spec.space, {_IDENTITY: identity(spec)})
            try:
                write_atomically(path, content)
            except OSError as error:
                raise SweepError(f"cannot write {path}: {error.strerror}; the study is as it was") from error
            return cls._open(path, spec, pruner)

    @classmethod
    def check(cls, path: Path, spec: SweepSpec) -> None:
        """Whether `open` would take the sweep as it is now. As `open`, but changes nothing that was recorded."""
        _quiet()
        if not path.exists():
            return
        storage, journal = open_journal(path)
        stored = _stored_identity(storage)
        journal.close()
        if stored is not None and changes(stored, spec):
            before = as_stored(stored, spec)
            with cls._open(path, before, spec.pruner) as study:
                check_changes(before, spec, study.trials())

    @classmethod
    def _open(cls, path: Path, spec: SweepSpec, pruner: Pruner) -> Self:
        # What may be refused comes before a file is made.
        not_proposed: list[int] = []
        sampler = make_sampler(spec, lambda optuna_number: _index(optuna_number, not_proposed))
        storage, journal = open_journal(path)
        try:
            with journal.one_sync():
                return cls(spec, pruner, sampler, not_proposed, storage, journal)
        except BaseException:
            journal.close()
            raise

    def close(self) -> None:
        """Closes the journal, all of it on disk."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What is next ---------------------------------------------------------------------------------------

    def ask(self) -> Proposal | None:
        """The next trial: a paused one that may go on, else a new one, baselines first; None when there is neither.

        There may be one again when another trial has reported.
        """
        resumed = self.next_promoted()
        if resumed is not None:
            self.go_on(resumed)
            return self._trials[resumed].proposal()
        if len(self._trials) - self._roster.num_repetitions - len(self._roster.waiting) >= self.planned:
            return None
        self._storage.trials_wait = bool(self._roster.waiting)
        with self._journal.one_sync():
            optuna_trial = self._study.ask()
            number = min(self._roster.waiting, default=len(self._trials))
            if number == len(self._trials):
                self._roster.add(TrackedTrial(number, optuna_trial.number, optuna_trial._trial_id, None, {}, "WAITING"))
            trial = self._trials[number]
            assert trial.optuna_number == optuna_trial.number, "Optuna hands out waiting trials in order"
            self._roster.run(trial, suggest(optuna_trial, self._spec.space, self._spec.fixed))
        return trial.proposal()

    def repeat(self, number: int) -> Proposal:
        """A further trial with the params of an earlier one. No sampler proposed it, and none will see it.

        It is no rival of others to a pruner, and not among those that are planned.
        """
        original = self._storage.get_trial(self._trials[number].optuna_id)
        added = self._add_running(original, {CONFIRMS: number})
        trial = TrackedTrial(len(self._trials), added.number, added._trial_id, None, {}, "RUNNING", confirms=number)
        self._roster.add(trial)
        self._roster.run(trial, dict(self._trials[number].params))
        return trial.proposal()

    def _add_running(self, like: FrozenTrial, attributes: dict[str, Any]) -> FrozenTrial:
        """Adds a trial that runs with the params of another one and was not asked for."""
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=like.params,
                distributions=like.distributions,
                intermediate_values=like.intermediate_values if RETRY_OF in attributes else {},
                user_attrs=attributes,
            )
        )
        added = self._study.get_trials(deepcopy=False)[-1]
        self._not_proposed.append(added.number)
        return added

    def next_promoted(self) -> int | None:
        """The paused trial that may go on next. Without promotion nothing holds back those that are paused."""
        return self._roster.next_promoted()

    def surplus(self, most: int) -> list[int]:
        """The paused trials that are to be given up so that not more than `most` wait, numbers ascending."""
        return self._roster.surplus(most)

    @property
    def planned(self) -> int:
        """How many trials are searched: `search.trials`, or fewer when the grid ends before. Not: repetitions."""
        if self._grid is None:
            return self._spec.search.trials
        return min(self._spec.search.trials, len(self._spec.baselines) + len(self._grid))

    def open_trials(self) -> list[Proposal]:
        """The running and paused trials, numbers ascending. Just opened, no worker has one: their driver is dead."""
        return [trial.proposal() for trial in self._trials if trial.state in ("RUNNING", "PAUSED")]

    def reopen(self, number: int) -> Proposal:
        """Makes a failed (or infeasible) trial run again under its number, with its params and values.

        A trial that runs already stays as it is, so this can be repeated after a crash.

        Raises:
            RequestError: there is no such trial, or it did not fail.
        """
        if not 0 <= number < len(self._trials):
            raise RequestError(f"no trial {number}; the sweep has {len(self._trials)} (from 0)")
        trial = self._trials[number]
        if trial.state == "RUNNING":
            return trial.proposal()
        if trial.state not in ("FAILED", "INFEASIBLE"):
            raise RequestError(f"trial {number} is {trial.state}: only a failed trial can be retried")
        attributes: dict[str, Any] = {RETRY_OF: trial.optuna_number, _NUMBER: number}
        if trial.name is not None:
            attributes[_NAME] = trial.name
        if trial.confirms is not None:
            attributes[CONFIRMS] = trial.confirms
        added = self._add_running(self._storage.get_trial(trial.optuna_id), attributes)
        trial.optuna_number, trial.optuna_id = added.number, added._trial_id
        trial.state, trial.value = "RUNNING", None
        return trial.proposal()

    # What happened --------------------------------------------------------------------------------------

    def report(self, number: int, epoch: int, value: float) -> None:
        """Records the objective's value after an epoch. An epoch that is recorded already stays as it is.

        Does not wait for the disk, which would halve the reports that a driver can take.
        """
        trial = self._trials[number]
        if epoch in trial.intermediate:
            return
        assert trial.state in ("RUNNING", "PAUSED"), f"trial {number} is {trial.state} and reports epoch {epoch}"
        with self._journal.no_sync():
            self._storage.set_trial_intermediate_value(trial.optuna_id, epoch, float(value))
        trial.intermediate[epoch] = float(value)

    def should_prune(self, number: int, epoch: int) -> str | None:
        """Why a trial is to stop after the epoch that it has just reported; None to go on.

        Writes nothing. Do not ask at a trial's last epoch.
        """
        return self._roster.should_prune(number, epoch)

    def should_pause(self, number: int, epoch: int) -> str | None:
        """Why a trial is to pause after the epoch that it has just reported; None to go on.

        Writes nothing. Do not ask at a trial's last epoch.
        """
        return self._roster.should_pause(number, epoch)

    def pause(self, number: int, value: float | None = None, further: Sequence[float | None] = ()) -> None:
        """A running trial waits at a rung. Again: does nothing. Does not wait for the disk.

        Args:
            number: of the trial.
            value: the objective at its best epoch so far.
            further: what it has of the further objectives, if there are any.
        """
        if self._trials[number].state == "RUNNING":
            with self._journal.no_sync():
                self._note_goals(self._trials[number], value, further)
        self._set_paused(number, True)

    def go_on(self, number: int) -> None:
        """A paused trial runs again. Again: does nothing. Does not wait for the disk."""
        self._set_paused(number, False)

    def _set_paused(self, number: int, paused: bool) -> None:
        trial = self._trials[number]
        if trial.state == ("PAUSED" if paused else "RUNNING"):
            return
        assert trial.state in ("RUNNING", "PAUSED"), f"trial {number} is {trial.state}: it neither pauses nor goes on"
        with self._journal.no_sync():
            self._storage.set_trial_user_attr(trial.optuna_id, PAUSED, paused)
        self._roster.pause(trial, paused)

    def tell(
        self,
        number: int,
        state: EndState,
        value: float | None = None,
        *,
        violations: Mapping[str, float] | None = None,
        further: Sequence[float | None] = (),
    ) -> None:
        """Ends a trial. A trial that has ended already stays as it is. Does not wait for the disk.

        Args:
            number: of the trial.
            state: how it ended. An infeasible trial violates a constraint, so that tpe learns to stay away.
            value: of a completed trial; when it is not a finite number, the study counts the trial as failed.
                Samplers take the last reported value for a pruned one.
            violations: of an infeasible trial: by how much of each limit it is over it. Empty: it is memory that it
                lacked.
            further: what it has of the further objectives, if there are any.
        """
        trial = self._trials[number]
        if trial.state not in ("WAITING", "RUNNING", "PAUSED"):
            return
        assert trial.state != "WAITING", f"trial {number} was never asked for"
        assert state != "COMPLETED" or value is not None, f"trial {number} completed without a value"
        with self._journal.no_sync():
            if state == "COMPLETED" and (values := _all_finite(value, further)) is not None:
                self._study.tell(trial.optuna_number, values, state=TrialState.COMPLETE)
            elif state == "PRUNED":
                self._note_goals(trial, value, further)
                self._study.tell(trial.optuna_number, state=TrialState.PRUNED)
            elif state == "INFEASIBLE":
                # PRUNED, because constraints of failed trials are not looked at, and a completed one needs a value.
                running = _running(self._study, trial.optuna_id)
                for name, amount in (violations or {_FITS_MEMORY: 1.0}).items():
                    if name not in running.constraints:
                        running.set_constraint(name, min(amount, _FAR_OVER))
                self._study.tell(trial.optuna_number, state=TrialState.PRUNED)
            else:
                self._study.tell(trial.optuna_number, state=TrialState.FAIL)
        self._roster.end(trial, self._storage.get_trial(trial.optuna_id))

    def _note_goals(self, trial: TrackedTrial, value: float | None, further: Sequence[float | None]) -> None:
        """What a trial that stopped early has of several objectives: Optuna knows values of completed trials only."""
        if further and (values := _all_finite(value, further)) is not None:
            self._storage.set_trial_user_attr(trial.optuna_id, GOALS, values)

    def trials(self) -> tuple[TrialRecord, ...]:
        """Every trial, by number, waiting baselines included."""
        return tuple(trial.record() for trial in self._trials)

    @property
    def num_finished(self) -> int:
        """How many trials have ended, however."""
        return sum(trial.state not in ("WAITING", "RUNNING", "PAUSED") for trial in self._trials)

    @property
    def is_over(self) -> bool:
        """Whether every trial that is planned has ended, or is paused with no prospect of going on."""
        searched = [trial for trial in self._trials if trial.confirms is None]
        stopped = all(trial.state not in ("WAITING", "RUNNING") for trial in searched)
        return stopped and len(searched) >= self.planned and self.next_promoted() is None

    # Opening --------------------------------------------------------------------------------------------

    def _create_or_load(self, sampler: BaseSampler) -> optuna.Study:
        spec = self._spec
        existing = self._storage.get_all_studies()
        if existing:
            # Under the name that it has: the sweep's folder may have been renamed.
            study = optuna.load_study(
                study_name=existing[0].study_name, storage=self._storage, sampler=sampler, pruner=NopPruner()
            )
        else:
            study = optuna.create_study(
                study_name=spec.name,
                storage=self._storage,
                sampler=sampler,
                pruner=NopPruner(),
                directions=["maximize" if mode == "max" else "minimize" for _, mode in _objectives(spec)],
            )
        stored = _stored_identity(self._storage)
        if stored is not None:
            if changes(stored, spec):
                raise _Changed(stored)
        else:  # new, or killed before this line: then it has no trials either
            study.set_metric_names([name for name, _ in _objectives(spec)])
            study.set_user_attr(_IDENTITY, identity(spec))
        return study

    def _load(self) -> None:
        """Reads every trial, queues missing baselines, and completes a trial whose suggestion was cut off."""
        known = self._study.get_trials(deepcopy=False)
        self._not_proposed.extend(frozen.number for frozen in known if _was_not_proposed(frozen))
        if self._grid is not None:
            self._grid.go_on_after([frozen.params for frozen in known if self._is_whole_proposal(frozen)])
        for frozen in known:
            if RETRY_OF in frozen.user_attrs:
                trial = self._trials[frozen.user_attrs[_NUMBER]]
                trial.optuna_number, trial.optuna_id = frozen.number, frozen._trial_id
                trial.state, trial.value = "RUNNING", None
            else:
                name, confirms = frozen.user_attrs.get(_NAME), frozen.user_attrs.get(CONFIRMS)
                trial = TrackedTrial(
                    len(self._trials), frozen.number, frozen._trial_id, name, {}, "WAITING", confirms=confirms
                )
                self._roster.add(trial)
            self._take(trial, frozen)
        names = {trial.name for trial in self._trials}
        for name in self._spec.baselines:
            if name not in names:
                self._enqueue(name)

    def _is_whole_proposal(self, frozen: FrozenTrial) -> bool:
        """Not a baseline, not a retry or repetition, and not one whose suggestion was cut off."""
        if _was_not_proposed(frozen):
            return False
        space, params = self._spec.space, decode_all(self._spec.space, frozen.params)
        return all(name in params or not is_active(space[name], {**self._spec.fixed, **params}) for name in space)

    def _take(self, trial: TrackedTrial, frozen: FrozenTrial) -> None:
        trial.intermediate.update(frozen.intermediate_values)
        if frozen.state == TrialState.WAITING:
            assert trial.name is not None
            trial.params = dict(self._spec.baselines[trial.name])
        elif frozen.state == TrialState.RUNNING:
            running = _running(self._study, frozen._trial_id)
            self._roster.run(trial, suggest(running, self._spec.space, self._spec.fixed))
            if frozen.user_attrs.get(PAUSED):
                self._roster.pause(trial, True)
        else:
            self._roster.run(trial, decode_all(self._spec.space, frozen.params))
            self._roster.end(trial, frozen)

    def _enqueue(self, name: str) -> None:
        space, params = self._spec.space, self._spec.baselines[name]
        stored = {key: encode(space[key], value) for key, value in params.items() if key in space}
        self._study.enqueue_trial(stored, user_attrs={_NAME: name})
        added = self._study.get_trials(deepcopy=False)[-1]
        self._not_proposed.append(added.number)
        self._roster.add(TrackedTrial(len(self._trials), added.number, added._trial_id, name, dict(params), "WAITING"))


def _objectives(spec: SweepSpec) -> list[tuple[str, str]]:
    """The name of each objective, and which way is better."""
    further = [(goal.column, goal.better_is) for goal in spec.objective.also]
    return [(spec.objective.metric, spec.objective.mode), *further]


def _all_finite(value: float | None, further: Sequence[float | None]) -> list[float] | None:
    """The values of all objectives, if each is a finite number."""
    values = [each for each in (value, *further) if each is not None and math.isfinite(each)]
    return values if len(values) == 1 + len(further) else None


class _Changed(Exception):
    """The study was made for another sweep file.

    Attributes:
        stored: its identity.
    """

    def __init__(self, stored: Mapping[str, Any]) -> None:
        super().__init__()
        self.stored = stored


def _stored_identity(storage: JournalStorage) -> Mapping[str, Any] | None:
    """What the study was made for; None when there is no study yet."""
    studies = storage.get_all_studies()
    return studies[0].user_attrs.get(_IDENTITY) if studies else None


def _was_not_proposed(frozen: FrozenTrial) -> bool:
    return any(key in frozen.user_attrs for key in (RETRY_OF, _NAME, CONFIRMS))


def _index(optuna_number: int, not_proposed: list[int]) -> int:
    """The index among proposed trials: without baselines and retries. Negative for one of those."""
    position = bisect_left(not_proposed, optuna_number)
    if position < len(not_proposed) and not_proposed[position] == optuna_number:
        return -1 - position
    return optuna_number - position


def _running(study: optuna.Study, optuna_id: int) -> optuna.Trial:
    """Goes on with a running trial. Optuna offers no public way; its own `ask` does just this."""
    return optuna.Trial(study, optuna_id)


def _quiet() -> None:
    """Optuna's log lines and warnings are for those who call it; what matters to the user we say ourselves."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(optuna|cmaes|sweep_runner\.search)(\.|$)")
