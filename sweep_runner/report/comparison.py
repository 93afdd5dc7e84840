"""Two trials compared with each other: params, metrics, and whether the difference is more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweep_runner.report import facts
from sweep_runner.results.leaderboard import TrialRow
from sweep_runner.results.pairing import Significance, paired
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.tables import Warn
from sweep_runner.spec.changes import differences


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The keys in which two mappings differ, in the order of the first."""
    keys = dict.fromkeys([*first, *second])
    return [(key, first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)]


def data_changes(results: ResultsPaths, first: str, second: str) -> list[str]:
    """What two sweep files say otherwise of the data; none where one is lost."""
    specs = [facts.read_spec(results.sweep(name)) for name in (first, second)]
    if specs[0] is None or specs[1] is None:
        return []
    return [str(change) for change in differences(specs[0], specs[1]) if change.key[0] == "data"]


def significance(
    one: tuple[SweepPaths, TrialRow], other: tuple[SweepPaths, TrialRow], warn: Warn
) -> Significance | str:
    """Whether the second is better than the first by more than chance, or in words why that cannot be told.

    Test is looked at where both were evaluated on it, else val. Examples are paired by their names and labels.
    """
    for split in ("test", "val"):
        tables = [facts.predictions(paths, row.trial, split, warn) for paths, row in (one, other)]
        if tables[0] is not None and tables[1] is not None:
            return paired(split, tables[0], tables[1])
    lacking = [
        f"{paths.name}/{row.trial}" for paths, row in (one, other) if facts.best_with_evaluation(paths, [row]) is None
    ]
    return (
        f"no predictions on the same split ({', '.join(lacking) or 'one has test only, the other val'}): "
        "when a sweep ends, trials with a checkpoint (keep.best, baselines) are evaluated on val, the best on test too"
    )
