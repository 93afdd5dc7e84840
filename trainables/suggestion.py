"""A sweep that a trainable suggests for some data, with its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Suggestion:
    """Settings for a sweep, in the forms that a sweep file has.

    Attributes:
        fixed: hyperparameters that all trials share.
        space: hyperparameters to search: a list of values, `{values: ..., when: ...}`, or `{low: ..., high: ...}`.
        metric: the objective.
        trials: how many.
        why: a key, such as `space.lr` or `objective`, → the reason for its value, in one line.
        said: what was looked at and decided, one line each, for people.
    """

    fixed: Mapping[str, Any]
    space: Mapping[str, Any]
    metric: str
    trials: int
    why: Mapping[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()
