"""What the report says in words and tables: the answer, what pruning saved, where the time went, samples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.report.plot_data import title_of
from sweep_runner.results.answer import published
from sweep_runner.results.display import few_digits, in_words
from sweep_runner.results.leaderboard import Leaderboard, TrialRow
from sweep_runner.results.log import read_events
from sweep_runner.results.parts import evaluation_path
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.run_time import RunTime, run_time
from sweep_runner.results.tables import Warn, damaged_message, read_part

if TYPE_CHECKING:
    from sweep_runner.spec.model import SweepSpec
    from trainables.intervals import Share

_BINS = 10
NUM_SAMPLES = 12
MAX_FRONT = 4


@dataclass(frozen=True)
class Sample:
    """One example of an evaluation and what the model said.

    Attributes:
        right: whether all of it was right.
        sureness: the probability of what was said; of labels, of the likeliest.
    """

    example: str
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    right: bool
    sureness: float


def read_spec(paths: SweepPaths) -> SweepSpec | None:
    """The sweep file as run; None when it is lost or damaged, which a report can do without."""
    from sweep_runner.spec.loader import load_resolved

    try:
        return load_resolved(paths.spec).spec
    except RequestError:
        return None


def question(paths: SweepPaths) -> str:
    """What the sweep file says of itself in its opening comment: its first paragraph; empty when it says nothing."""
    if not paths.spec.is_file():
        return ""
    lines: list[str] = []
    for line in paths.spec.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return re.split(r"\n\s*\n", "\n".join(lines).strip())[0].replace("\n", " ")


def answer(board: Leaderboard, on_test: Share | None = None) -> str:
    """Two sentences: what came out best, and how it stands to the baselines.

    Args:
        board: the leaderboard.
        on_test: the accuracy on test of the trial whose model is published, where it was evaluated.
    """
    if not board.ranked:
        return "No trial has a value yet. Nothing can be said."
    best = board.ranked[0]
    assert best.value is not None
    metric = board.objective.partition("_")[2]
    model = published(board) or best
    params = in_words(best.params)
    value = best.runs or f"{best.value:.4f}"
    first = f"{title_of(best).capitalize()} is the best of {len(board.ranked)}: {board.objective} {value}"
    if best.runs:
        first += f"; {best.value:.4f} in the search"
    if model.trial == best.trial:
        first += _on_test(model, metric, on_test)
    first += f", with {params}." if params else "."
    if model.trial != best.trial:
        first += f" {_instead(model, board, metric, on_test)}"
    if board.goals:
        first += f" {front_in_words(board)}"
    rivals = [row for row in board.ranked if row.name is not None and row.trial != best.trial]
    if best.name is not None and not rivals:
        return f"{first} No search did better than this baseline."
    if not rivals:
        return f"{first} The sweep has no baseline to compare with."
    rival = rivals[0]
    assert best.counts is not None
    assert rival.counts is not None
    gap = abs(best.counts - rival.counts)
    which = f"the best {'other ' if best.name else ''}baseline, {rival.name} ({rival.counts:.4f})"
    who = "That" if model.trial == best.trial else f"Trial {best.trial}"
    return f"{first} {who} is {gap:.4f} better than {which}."


def _on_test(row: TrialRow, metric: str, on_test: Share | None) -> str:
    """What a trial has on test, to be said after what it has on val; empty where it was not evaluated there."""
    test = row.metrics.get(f"test_{metric}")
    if on_test is not None:
        named = "" if metric == "accuracy" or test is None else f"{test:.4f}, "
        return f", and on test {named}{'accuracy ' if named else ''}{on_test}"
    return "" if test is None else f", and {test:.4f} on test"


def _instead(row: TrialRow, board: Leaderboard, metric: str, on_test: Share | None) -> str:
    """Of a trial that is published although it is not the first: why is told elsewhere."""
    value = f"{board.objective} {row.counts:.4f}" if row.counts is not None else "no value"
    params = f", with {in_words(row.params)}" if row.params else ""
    return f"The published model is that of {title_of(row)}: {value}{_on_test(row, metric, on_test)}{params}."


def front_in_words(board: Leaderboard) -> str:
    """Which trials no other beats in all objectives, and what each has of them; of many the first."""
    columns = [column for column, _ in board.goals]
    told = []
    for row in board.front[:MAX_FRONT]:
        have = ", ".join(f"{column} {few_digits(row.goal(column))}" for column in columns)
        told.append(f"trial {row.trial} ({few_digits(row.value)}; {have})")
    if not told:
        return f"No trial has all of {board.objective}, {', '.join(columns)} yet."
    more = f" and {len(board.front) - MAX_FRONT} more" if len(board.front) > MAX_FRONT else ""
    return (
        f"Of {board.objective}, {', '.join(columns)} no trial beats {', '.join(told)}{more}: the Pareto front. "
        f"The model is that of the best by {board.objective}."
    )


def saved_by_pruning(board: Leaderboard, spec: SweepSpec | None) -> Mapping[str, float] | None:
    """Epochs and seconds that pruned and paused trials were not given; None when there are none.

    The seconds are estimated: the epochs that were not run, each as long as the trial's own were on average. While the
    sweep runs, a paused trial may still get its epochs.
    """
    rows = [row for row in board.ranked if row.state in ("PRUNED", "PAUSED")]
    if not rows:
        return None
    paused = sum(row.state == "PAUSED" for row in rows)
    fixed = spec.fixed.get("epochs") if spec is not None else None
    usual = max((row.row["epochs"] or 0 for row in board.ranked if row.state == "COMPLETED"), default=0)
    epochs = seconds = 0.0
    for row in rows:
        full = row.params.get("epochs", fixed) or usual
        done = row.row["epochs"] or 0
        left = max(0, full - done)
        epochs += left
        if done:
            seconds += left * (row.row["duration_s"] or 0.0) / done
    ran = sum(row.row["epochs"] or 0 for row in board.ranked)
    spent = sum(row.row["duration_s"] or 0.0 for row in board.ranked)
    pruned = len(rows) - paused
    return {
        "pruned": pruned,
        "paused": paused,
        "epochs": epochs,
        "epochs_run": ran,
        "seconds": seconds,
        "seconds_run": spent,
    }


def where_time_went(board: Leaderboard, epochs: pa.Table) -> dict[str, float]:
    """Seconds of training, of waiting for data, of what trials share, and of everything else, over all workers."""
    rows = [row for row in (*board.ranked, *board.unranked) if row.row["copy_of"] is None]
    total = sum(row.row["duration_s"] or 0.0 for row in rows)
    shared = sum(row.row.get("shared_s") or 0.0 for row in rows)
    if not total + shared:
        return {}
    parts = {}
    if "epoch_s" in epochs.column_names:
        spent = np.nan_to_num(np.asarray(epochs["epoch_s"].to_numpy(zero_copy_only=False), dtype=float))
        waits = np.zeros_like(spent)
        if "data_wait_fraction" in epochs.column_names:
            waits = np.nan_to_num(np.asarray(epochs["data_wait_fraction"].to_numpy(zero_copy_only=False), dtype=float))
        parts = {
            "training": float((spent * (1 - waits)).sum()),
            "waiting for data": float((spent * waits).sum()),
            "validation, checkpoints, starting": max(0.0, total - float(spent.sum())),
        }
    lost = sum(row.row["duration_s"] or 0.0 for row in rows if row.state in ("FAILED", "INFEASIBLE"))
    if lost:
        parts["(of it in trials that failed)"] = lost
    parts = parts or {"in trials": total}
    return {"features shared by trials": shared, **parts} if shared else parts


def when_it_ran(paths: SweepPaths, warn: Warn) -> RunTime | None:
    """When the sweep ran, from its log; None without one that can be read."""
    try:
        return run_time(read_events(paths.log))
    except SweepError as error:
        warn(f"pauses of the sweep are drawn as if it had run: {error}")
        return None


def predictions(paths: SweepPaths, trial: int, split: str, warn: Warn) -> pa.Table | None:
    """The predictions of a trial's final evaluation, None without one."""
    path = evaluation_path(paths.table("predictions"), trial, split)
    if not path.exists():
        return None
    try:
        return read_part(path)
    except (OSError, pa.ArrowInvalid) as error:
        warn(damaged_message(path, error))
        return None


def probabilities(table: pa.Table) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, C)."""
    columns = [name for name in table.column_names if name.startswith("p_")]
    if not columns:
        return np.zeros((len(table), 0))
    return np.stack([table[name].to_numpy(zero_copy_only=False).astype(float) for name in columns], axis=1)


def samples(table: pa.Table) -> list[Sample]:
    """Every example, the surest first."""
    sureness = probabilities(table).max(axis=1, initial=0.0)
    found = [
        Sample(example, tuple(labels), tuple(said), set(labels) == set(said), float(sure))
        for example, labels, said, sure in zip(
            table["example"].to_pylist(),
            table["labels"].to_pylist(),
            table["predicted"].to_pylist(),
            sureness,
            strict=True,
        )
    ]
    return sorted(found, key=lambda sample: -sample.sureness)


def calibration_bins(table: pa.Table) -> list[dict[str, float]]:
    """Examples by how sure the model is, in tenths; of labels, every probability of a label on its own."""
    scores = probabilities(table)
    if not scores.size:
        return []
    labels, said = table["labels"].to_pylist(), table["predicted"].to_pylist()
    if any(len(row) != 1 for row in (*labels, *said)):
        names = [name.removeprefix("p_") for name in table.column_names if name.startswith("p_")]
        sure = scores.reshape(-1)
        right = np.array([[name in row for name in names] for row in labels], dtype=float).reshape(-1)
    else:
        sure = scores.max(axis=1)
        right = np.array([one == other for one, other in zip(labels, said, strict=True)], dtype=float)
    place = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    return [
        {"confidence": float(sure[own].mean()), "accuracy": float(right[own].mean()), "count": int(own.sum())}
        for number in range(_BINS)
        if (own := place == number).any()
    ]


def evaluated(paths: SweepPaths, rows: Sequence[TrialRow], most: int) -> list[tuple[TrialRow, str]]:
    """The first trials that were evaluated, and on which split: test if there is one."""
    found: list[tuple[TrialRow, str]] = []
    for row in rows:
        if len(found) < most and (one := best_with_evaluation(paths, [row])) is not None:
            found.append(one)
    return found


def best_with_evaluation(paths: SweepPaths, rows: Sequence[TrialRow]) -> tuple[TrialRow, str] | None:
    """The best trial that was evaluated, and on which split: test if there is one."""
    for row in rows:
        for split in ("test", "val"):
            if evaluation_path(paths.table("predictions"), row.trial, split).exists():
                return row, split
    return None
