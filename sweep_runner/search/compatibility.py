"""Whether a sweep file still fits the study that it is to go on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sweep_runner.errors import Problem, RequestError
from sweep_runner.spec.model import SweepSpec


def identity(spec: SweepSpec) -> dict[str, Any]:
    """What the trials of one study must have in common, JSON-ready.

    The number of trials, the pruner, resources and everything else may change between two runs.
    """
    dumped = spec.model_dump(mode="json")
    search = dumped["search"]
    return {
        "space": dumped["space"],
        "fixed": dumped["fixed"],
        # Pairs, because their order gives the trials' numbers.
        "baselines": [[name, params] for name, params in dumped["baselines"].items()],
        "objective": dumped["objective"],
        "search": {key: search[key] for key in ("sampler", "seed", "options")},
    }


def check_unchanged(stored: Mapping[str, Any], spec: SweepSpec, name: str) -> None:
    """Compares the study's identity with the sweep's.

    Args:
        stored: `identity` of the sweep that the study was made for.
        spec: the sweep to go on with.
        name: of the sweep, for the message.

    Raises:
        RequestError: they differ; one problem for each difference.
    """
    now = identity(spec)
    problems = [
        Problem(f"{place}: {_change(before, after)}")
        for section in now
        for place, before, after in _differences(section, _by_key(stored.get(section)), _by_key(now[section]))
    ]
    if not problems and _exact(stored.get("baselines")) != _exact(now["baselines"]):
        problems = [Problem("baselines: they have another order, which gives the trials other numbers")]
    if problems:
        hint = (
            f"sweep {name!r} has already started: undo this, or run the changed file as a new sweep, under another name"
        )
        raise RequestError([*problems[:-1], replace(problems[-1], hint=hint)])


def _by_key(section: Any) -> dict[str, Any]:
    return dict(section or {})


def _differences(
    section: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[tuple[str, str | None, str | None]]:
    found = []
    for key in sorted({*before, *after}):
        if key not in before or key not in after or _exact(before[key]) != _exact(after[key]):
            old, new = (_short(side[key]) if key in side else None for side in (before, after))
            found.append((f"{section}.{key}", old, new))
    return found


def _change(before: str | None, after: str | None) -> str:
    if before is None:
        return f"{after} is new"
    if after is None:
        return f"{before} is gone"
    return f"was {before}, is now {after}"


def _exact(value: Any) -> str:
    """JSON with sorted keys: tells 1 and true apart, which Python's `==` does not."""
    return json.dumps(value, sort_keys=True)


def _short(value: Any) -> str:
    """For the user: without the keys of a parameter that say nothing."""
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if item is not None and item is not False and item != {}}
    return json.dumps(value)
