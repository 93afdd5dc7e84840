"""A study's file written anew for a changed space, with the whole history in it.

Optuna refuses a categorical parameter whose choices have changed, and leaves a parameter whose range has
changed out of what its samplers model. So the trials get the distributions of the new space; their numbers,
names, params, values, states and attributes stay.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial

from sweep_runner.search.distributions import decode, distribution_of, encode
from sweep_runner.search.journal import encoded
from sweep_runner.spec.space import Choice, Parameter, Scalar, Space

_GIVEN = "fixed_params"  # Optuna's: what an enqueued trial is to have
# What samplers noted in terms of the old space: CMA-ES's evolution, and what was drawn for a trial that now has it.
_SAMPLER_NOTES = ("cma:", "x_for_tell", "tpe:relative_params", "gp:relative_params")


class _Lines(BaseJournalBackend):
    """A journal in memory."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.lines += [encoded(log) + b"\n" for log in logs]

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return [json.loads(line) for line in self.lines[log_number_from:]]


def migrated(storage: JournalStorage, before: Space, after: Space, user_attrs: Mapping[str, Any]) -> bytes:
    """The content of a new journal file with the study of an old one.

    Args:
        storage: holds one study, of which every trial lies in both spaces.
        before: the space in which the study's params are stored.
        after: the space in which they are to be stored.
        user_attrs: attributes of the study to set anew.
    """
    (study,) = storage.get_all_studies()
    journal = _Lines()
    new = JournalStorage(journal)
    study_id = new.create_new_study(study.directions, study.study_name)
    for key, value in {**study.user_attrs, **user_attrs}.items():
        new.set_study_user_attr(study_id, key, value)
    for key, value in study.system_attrs.items():
        new.set_study_system_attr(study_id, key, value)
    for trial in storage.get_all_trials(study._study_id, deepcopy=False):
        new.create_new_trial(study_id, _in_new_space(trial, before, after))
    return b"".join(journal.lines)


def _in_new_space(trial: FrozenTrial, before: Space, after: Space) -> FrozenTrial:
    def moved(params: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {name: _moved(value, before[name], after[name]) for name, value in params.items()}

    changed = copy.copy(trial)
    changed.params = moved(trial.params)
    changed.distributions = {name: distribution_of(after[name]) for name in trial.params}
    changed.system_attrs = {
        key: moved(value) if key == _GIVEN else value
        for key, value in trial.system_attrs.items()
        if not key.startswith(_SAMPLER_NOTES)
    }
    return changed


def _moved(value: Scalar, before: Parameter, after: Parameter) -> Scalar:
    if isinstance(before, Choice) or isinstance(after, Choice):
        return encode(after, decode(before, value))
    return value
