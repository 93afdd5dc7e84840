"""How `sweep show` tells of one trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_runner.cli.common import Out
from sweep_runner.results.annotations import STAR, Annotation
from sweep_runner.results.answer import answer_of
from sweep_runner.results.display import few_digits, with_unit

if TYPE_CHECKING:
    from sweep_runner.results.history import Attempt
    from sweep_runner.results.leaderboard import Leaderboard, TrialRow
    from trainables.intervals import Share

SPREAD = "_std"
"""Behind the name of a metric: its standard deviation over the folds."""
_BARS = "▁▂▃▄▅▆▇█"
_GAP = "·"
_MAX_WIDTH = 60
_MAX_EPOCHS = 12
_FACTS = (
    "best_epoch", "epochs", "duration_s", "shared_s", "num_parameters", "peak_memory_bytes", "host", "device",
    "attempt", "failures", "seed", "copy_of", "confirms", "confirmed_runs", "confirmed_mean", "confirmed_std",
    "test_use", "num_flops", "onnx_bytes", "onnx_latency_ms", "measured_on", "over_limit", "warnings", "pareto_front",
)  # fmt: skip


def row_json(row: TrialRow, note: Annotation | None = None) -> dict[str, Any]:
    """A trial for scripts, with what somebody has noted of it."""
    facts = {name: row.row.get(name) for name in _FACTS}
    return {
        "rank": row.rank,
        "trial": row.trial,
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
        "value": row.value,
        "metrics": {name: value for name, value in row.metrics.items() if value is not None},
        "params": row.params,
        "starred": note is not None and note.starred,
        "note": "" if note is None else note.note,
        **facts,
    }


def trial_json(
    board: Leaderboard,
    row: TrialRow,
    curve: Sequence[Mapping[str, Any]],
    attempts: Sequence[Attempt],
    files: Sequence[Path],
    shares: Mapping[str, Share],
    note: Annotation | None = None,
) -> dict[str, Any]:
    """A trial with its history, for scripts."""
    return {
        "sweep": board.sweep.sweep,
        "objective": board.objective,
        **row_json(row, note),
        "epochs_reported": [
            {name: value for name, value in epoch.items() if name not in ("sweep", "trial")} for epoch in curve
        ],
        "attempts": [
            {
                "attempt": attempt.number,
                "started": _utc(attempt.started).isoformat(),
                "outcome": attempt.outcome,
                "reason": attempt.reason,
                "duration_s": attempt.duration_s,
            }
            for attempt in attempts
        ],
        "final_accuracy": {split: asdict(found) for split, found in shares.items()},
        "files": [str(path) for path in files],
    }


def print_trial(
    board: Leaderboard,
    row: TrialRow,
    curve: Sequence[Mapping[str, Any]],
    attempts: Sequence[Attempt],
    files: Sequence[Path],
    shares: Mapping[str, Share],
    again: str,
    out: Out,
    note: Annotation | None = None,
) -> None:
    """Prints a trial for people; `again` is the command that trains it again, `note` what somebody has noted of it."""
    place = f", rank {row.rank} of {len(board.ranked)}" if row.rank else ""
    baseline = f" (baseline {row.name})" if row.name else ""
    out.result(f"{board.sweep.sweep} trial {row.trial}{baseline}: {row.state}{place}")
    if row.reason:
        out.result(f"  {row.reason}")
    if note is not None:
        out.result(f"  {STAR + ' ' if note.starred else ''}{note.note}".rstrip())
    if row.value is not None:
        spread = row.metrics.get(f"{board.objective}{SPREAD}")
        over_folds = "" if spread is None else f" ± {few_digits(spread)} over the folds"
        out.result(f"  {board.objective} {few_digits(row.value)}{over_folds} at epoch {row.row['best_epoch']}")
    if row.confirms is not None:
        out.result(f"  repeats trial {row.confirms} with another seed (search.confirm); has no rank")
    if row.runs:
        out.result(f"  {board.objective} {row.runs}, by which it is ranked: {_runs_in_words(board, row)}")
    for split, found in shares.items():
        out.result(f"  final accuracy on {split}: {found}")
    if (answer := answer_of(board)) is not None and row.trial in answer.compared:
        if row.trial == answer.winner:
            for line in answer.lines():
                out.result(f"  {line}")
        else:
            apart = "not significantly different from" if row.trial in answer.alike else "significantly worse than"
            out.result(f"  on val {answer.shares[row.trial]}: {apart} the best, trial {answer.winner}")
    _print_pairs("params", row.params, out)
    _print_pairs("metrics at the best epoch", _with_spreads(row.metrics, board.objective), out)
    _print_pairs("facts", {name: row.row.get(name) for name in _FACTS if name != "best_epoch"}, out, with_units=True)
    if curve:
        _print_curve(board.objective, row, curve, out)
    if attempts:
        out.result("\nattempts")
        for attempt in attempts:
            out.result(f"  {_attempt_line(attempt)}")
    if files:
        out.result("\nfiles")
        for path in files:
            out.result(f"  {path}")
    if curve:
        out.result(f"\nagain: {again}")


def _runs_in_words(board: Leaderboard, row: TrialRow) -> str:
    """`0.8600 in the search, 0.8400 (trial 23) and 0.8200 (trial 28) again`."""
    again = [each for each in board.rows if each.confirms == row.trial and each.state == "COMPLETED"]
    values = " and ".join(f"{each.value:.4f} (trial {each.trial})" for each in again if each.value is not None)
    return f"{row.value:.4f} in the search, {values} again"


def _with_spreads(metrics: Mapping[str, float], objective: str) -> dict[str, Any]:
    """The metrics of a trial with folds as `mean ± standard deviation`; of others as they are."""
    spreads = {name for name in metrics if name.endswith(SPREAD) and name.removesuffix(SPREAD) in {*metrics, objective}}
    return {
        name: f"{few_digits(value)} ± {few_digits(metrics[name + SPREAD])}" if name + SPREAD in spreads else value
        for name, value in metrics.items()
        if name not in spreads
    }


def _print_pairs(title: str, pairs: Mapping[str, Any], out: Out, *, with_units: bool = False) -> None:
    shown = {name: value for name, value in pairs.items() if value is not None}
    if not shown:
        return
    out.result(f"\n{title}")
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        out.result(f"  {name:<{width}}  {with_unit(name, value) if with_units else few_digits(value)}")


def _print_curve(objective: str, row: TrialRow, curve: Sequence[Mapping[str, Any]], out: Out) -> None:
    values = [epoch.get(objective) for epoch in curve]
    out.result("\nlearning curve")
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if finite:
        out.result(f"  {objective}  {sparkline(values)}  {min(finite):.4g} to {max(finite):.4g}")
    columns = [name for name in ("train_loss", "train_accuracy", "val_loss", objective) if name in curve[0]]
    columns = list(dict.fromkeys(columns))
    lines = [["epoch", *columns]]
    for epoch in _chosen(curve, row.row["best_epoch"]):
        mark = "*" if epoch["epoch"] == row.row["best_epoch"] else ""
        lines.append([f"{epoch['epoch']}{mark}", *(few_digits(epoch.get(name)) for name in columns)])
    widths = [max(len(line[position]) for line in lines) for position in range(len(columns) + 1)]
    for line in lines:
        out.result("  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    left_out = len(curve) - (len(lines) - 1)
    if left_out:
        out.result(f"  ({left_out} more epochs: --json)")


def _chosen(curve: Sequence[Mapping[str, Any]], best_epoch: int | None) -> list[Mapping[str, Any]]:
    """All epochs, or some at even distances with the first, the last and the best among them."""
    if len(curve) <= _MAX_EPOCHS:
        return list(curve)
    steps = _MAX_EPOCHS - 2
    positions = {round(step * (len(curve) - 1) / steps) for step in range(steps + 1)}
    positions |= {position for position, epoch in enumerate(curve) if epoch["epoch"] == best_epoch}
    return [curve[position] for position in sorted(positions)]


def sparkline(values: Sequence[float | None]) -> str:
    """Values as a row of bars from the lowest to the highest; a dot where there is no finite value."""
    if len(values) > _MAX_WIDTH:
        values = [values[round(step * (len(values) - 1) / (_MAX_WIDTH - 1))] for step in range(_MAX_WIDTH)]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return _GAP * len(values)
    low, high = min(finite), max(finite)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        _BARS[round((value - low) * scale)] if value is not None and math.isfinite(value) else _GAP for value in values
    )


def _attempt_line(attempt: Attempt) -> str:
    started = _utc(attempt.started).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    duration = "" if attempt.duration_s is None else f", {attempt.duration_s:.1f} s"
    reason = f": {attempt.reason}" if attempt.reason else ""
    return f"{attempt.number}  {started}{duration}  {attempt.outcome}{reason}"


def _utc(time_s: float) -> datetime:
    return datetime.fromtimestamp(time_s, UTC)
