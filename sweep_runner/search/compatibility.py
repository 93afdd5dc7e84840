"""Whether a changed sweep file can go on with the study that it has begun.

Its trials must stay comparable, and each must lie in the space as it is now. What may change: anything that is
not part of `identity` (the number of trials, the pruner, resources, what is kept and exported), further
baselines, and the space as long as every trial is in it: more choices, wider ranges, fewer choices where no
trial had them, a parameter that exists only for a choice that no trial had.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweep_runner.errors import Problem, RequestError
from sweep_runner.search.distributions import decode, encode
from sweep_runner.search.trial import TrialRecord
from sweep_runner.spec.changes import Change, compare
from sweep_runner.spec.model import Objective, SweepSpec
from sweep_runner.spec.space import Choice, FloatRange, IntRange, Parameter, Scalar, Space, is_active, same_value

_MAY_CHANGE = ("space", "baselines")  # within limits
_MOST_SHOWN = 3


def identity(spec: SweepSpec) -> dict[str, Any]:
    """What the trials of one study must have in common, JSON-ready."""
    dumped = spec.model_dump(mode="json")
    search = dumped["search"]
    return {
        "trainable": dumped["trainable"],
        "space": dumped["space"],
        "fixed": dumped["fixed"],
        # Pairs, because their order gave the trials' numbers.
        "baselines": [[name, params] for name, params in dumped["baselines"].items()],
        "objective": dumped["objective"],
        "search": {key: search[key] for key in ("sampler", "seed", "options")},
    }


def changes(stored: Mapping[str, Any], spec: SweepSpec) -> list[Change]:
    """What is different in `spec` from the sweep that the study was made for.

    Args:
        stored: `identity` of that sweep.
        spec: the sweep to go on with.
    """
    now = identity(spec)
    before = {section: stored.get(section, now[section]) for section in now}
    # A study of an earlier version lacks the keys that came since: there they are as they are by default.
    before["objective"] = Objective.model_validate(before["objective"]).model_dump(mode="json")
    before["space"] = {name: _parameter(dumped).model_dump(mode="json") for name, dumped in before["space"].items()}
    return compare(_by_name(before), _by_name(now))


def _by_name(sections: Mapping[str, Any]) -> dict[str, Any]:
    return {**sections, "baselines": dict(sections["baselines"])}


def as_stored(stored: Mapping[str, Any], spec: SweepSpec) -> SweepSpec:
    """`spec`, but with everything of `identity` as it was when the study was made."""
    return spec.model_copy(
        update={
            "trainable": stored.get("trainable", spec.trainable),
            "space": {name: _parameter(dumped) for name, dumped in stored["space"].items()},
            "fixed": stored["fixed"],
            "baselines": dict(stored["baselines"]),
            "objective": Objective.model_validate_json(json.dumps(stored["objective"])),
            "search": spec.search.model_copy(update=stored["search"]),
        }
    )


def _parameter(dumped: Mapping[str, Any]) -> Parameter:
    if "values" in dumped:
        kind: type[Choice] | type[IntRange] | type[FloatRange] = Choice
    else:
        kind = IntRange if isinstance(dumped["low"], int) else FloatRange
    # From JSON, in which a list is a tuple also to a strict model.
    return kind.model_validate_json(json.dumps(dumped))


def check_changes(before: SweepSpec, spec: SweepSpec, trials: Sequence[TrialRecord]) -> None:
    """Refuses what may not change, a space in which some trial would not be, and changed or removed baselines.

    Args:
        before: the sweep that the study was made for.
        spec: the sweep to go on with.
        trials: of the study, as it is.

    Raises:
        RequestError: a problem for each key, with both values and the reason.
    """
    found = changes(identity(before), spec)
    problems = [Problem(str(change)) for change in found if change.key[0] not in _MAY_CHANGE]
    # With the fixed keys as they were: that they changed is told once, not with every condition on them.
    problems += [*_of_space(found, spec.space, before.fixed, trials), *_of_baselines(found, spec, trials)]
    if problems:
        hint = (
            f"Sweep {spec.name!r} has started, and its trials must stay comparable. Undo the change, or run the "
            f"changed file as a new sweep under another name."
        )
        last = problems[-1]
        hint = f"{last.hint}\n    {hint}" if last.hint else hint
        raise RequestError([*problems[:-1], replace(last, hint=hint)])


def _of_space(
    found: Iterable[Change], space: Space, fixed: Mapping[str, Any], trials: Iterable[TrialRecord]
) -> list[Problem]:
    misfits: dict[str, dict[str, list[int]]] = {}  # parameter → what trials have → their numbers
    for trial in trials:
        for name, have in _outside(space, fixed, trial):
            misfits.setdefault(name, {}).setdefault(have, []).append(trial.number)
    problems = []
    told = set()
    for change in found:
        if change.key[0] == "space" and change.key[1] in misfits:
            problems.append(Problem(f"{change} ({_in_words(misfits[change.key[1]])})"))
            told.add(change.key[1])
    problems += [Problem(f"space.{name}: {_in_words(have)}") for name, have in misfits.items() if name not in told]
    return problems


def _outside(space: Space, fixed: Mapping[str, Any], trial: TrialRecord) -> Iterable[tuple[str, str]]:
    """For each parameter that a trial does not fit: its name, and what the trial has."""
    params = {name: value for name, value in trial.params.items() if name not in fixed}
    for name in {**space, **params}:
        exists = name in space and is_active(space[name], {**fixed, **params})
        if name not in params:
            if exists and trial.state != "WAITING":
                yield name, "without it"
        elif not exists or not _holds(space[name], params[name]):
            yield name, f"with {json.dumps(params[name])}"


def _holds(parameter: Parameter, value: Scalar) -> bool:
    """Whether a parameter can take a value and gives it back as it was."""
    return parameter.contains(value) and same_value(decode(parameter, encode(parameter, value)), value)


def _of_baselines(found: Iterable[Change], spec: SweepSpec, trials: Sequence[TrialRecord]) -> list[Problem]:
    names = {trial.name for trial in trials}
    number = len(trials)
    problems = []
    for change in found:
        if change.key[0] != "baselines":
            continue
        if change.key[1] in names:
            problems.append(Problem(f"{change} (it has its trial already)"))
            continue
        if number >= spec.search.trials:
            hint = f"it would be trial {number}, but search.trials is {spec.search.trials}: raise that, too"
            problems.append(Problem(str(change), hint=hint))
        number += 1
    return problems


def _in_words(trials_with: Mapping[str, Sequence[int]]) -> str:
    """`trial 3 with "c"; trials 4, 5 with "d"`, and not more than fits into a line."""
    parts = []
    for have, trials in list(trials_with.items())[:_MOST_SHOWN]:
        numbers = ", ".join(map(str, trials[:_MOST_SHOWN]))
        more = f" and {len(trials) - _MOST_SHOWN} more" if len(trials) > _MOST_SHOWN else ""
        parts.append(f"trial{'s' if len(trials) > 1 else ''} {numbers}{more} {have}")
    left = sum(len(trials) for trials in list(trials_with.values())[_MOST_SHOWN:])
    return "; ".join(parts) + (f"; {left} more" if left else "")
