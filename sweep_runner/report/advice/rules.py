"""The rules, in the order of how much they usually bring. A rule says nothing without evidence; add one here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sweep_runner.report.advice import of_data, of_search
from sweep_runner.report.advice.evidence import Advice, Evidence, read_evidence
from sweep_runner.results.leaderboard import Leaderboard
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.tables import Warn
from sweep_runner.spec.model import SweepSpec

RULES: tuple[Callable[[Evidence], Iterable[Advice]], ...] = (
    of_search.hardly_ran,
    of_search.edge_of_range,
    of_search.best_epoch_is_last,
    of_search.train_above_val,
    of_data.hardly_above_constant,
    of_data.suspicious_labels,
    of_data.one_class_has_the_errors,
    of_search.pruned_at_first_rung,
    of_data.val_too_small,  # the end of a run says so, too
    of_data.near_duplicates,
)
"""Each is a function of what is on record, and of nothing else."""


def advise(seen: Evidence) -> list[Advice]:
    """What every rule has to say."""
    return [advice for rule in RULES for advice in rule(seen)]


def advice_for(board: Leaderboard, paths: SweepPaths, spec: SweepSpec | None, warn: Warn) -> list[Advice]:
    """What to do next after a sweep; nothing while no trial has a value."""
    seen = read_evidence(board, paths, spec, warn)
    return [] if seen is None else advise(seen)
