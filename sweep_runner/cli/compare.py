"""`sweep compare`: two sweeps or two trials, side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from sweep_runner.cli.common import Out, common_options, json_option
from sweep_runner.cli.trial_view import SPREAD
from sweep_runner.errors import RequestError
from sweep_runner.results.display import few_digits
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from sweep_runner.results.leaderboard import Leaderboard, TrialRow
    from sweep_runner.results.pairing import Significance


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@json_option
@common_options
def compare(first: str, second: str, as_json: bool, results: ResultsPaths, out: Out) -> None:
    """Compare A with B: params, metrics, and whether the difference is significant.

    Each is a sweep (its best trial counts) or a trial: NAME/3, NAME/BASELINE, NAME/best.
    Significance is tested on the examples that both final evaluations have: a paired bootstrap of the difference in
    accuracy, in which examples of one group stay together.

    \b
    Examples:
      sweep compare quickstart/mlp-adam quickstart/cnn-adam
      sweep compare voc-crops voc-foreground --json
    """
    from sweep_runner.report.comparison import data_changes, differing, significance

    (one, a), (other, b) = (_find(name, results) for name in (first, second))
    if (one.sweep.sweep, a.trial) == (other.sweep.sweep, b.trial):
        raise RequestError(f"{first} and {second} are the same trial ({a.trial}): name two")
    of_file = [_fixed(results, board) for board in (one, other)]
    params = differing({**of_file[0], **a.params}, {**of_file[1], **b.params})
    shown: list[dict[str, Any]] = [{board.objective: row.value, **row.metrics} for board, row in ((one, a), (other, b))]
    metrics = [
        (name, shown[0][name], shown[1].get(name))
        for name in shown[0]
        if not name.endswith("_num_examples") and shown[0][name] is not None and shown[1].get(name) is not None
    ]
    facts: list[tuple[str, Any, Any]] = [("state", a.state, b.state)]
    facts += [(name, a.row.get(name), b.row.get(name)) for name in ("epochs", "duration_s", "num_parameters")]
    tested = significance((results.sweep(one.sweep.sweep), a), (results.sweep(other.sweep.sweep), b), out.warn)
    fingerprints = {board.sweep.values.get("data_fingerprint") for board in (one, other)}
    if len(fingerprints) > 1:
        changes = "".join(f"; {change}" for change in data_changes(results, one.sweep.sweep, other.sweep.sweep))
        matched = "" if isinstance(tested, str) else ". Examples that both have are matched by name and labels"
        out.warn(f"the two sweeps have different data, so their metrics do not compare directly{changes}{matched}")
    if as_json:
        out.json(
            {
                "first": {"sweep": one.sweep.sweep, "trial": a.trial, "name": a.name},
                "second": {"sweep": other.sweep.sweep, "trial": b.trial, "name": b.name},
                "params": {name: list(values) for name, *values in params},
                "metrics": {name: list(values) for name, *values in metrics},
                "facts": {name: list(values) for name, *values in facts},
                "significance": tested
                if isinstance(tested, str)
                else {**asdict(tested), "difference": tested.difference, "significant": tested.significant},
            }
        )
        return
    if one.sweep.sweep == other.sweep.sweep:
        names = [f"trial {row.trial}" for row in (a, b)]
    else:
        names = [f"{board.sweep.sweep}/{row.trial}" for board, row in ((one, a), (other, b))]
    for named, row in zip(names, (a, b), strict=True):
        if row.name:
            out.say(f"{named}: baseline {row.name}")
    rows: list[tuple[Any, ...]] = [("param", *each, None) for each in params]
    spreads = {name: values for name, *values in metrics if name.endswith(SPREAD)}
    rows += [
        ("metric", name, *_with_spread((x, y), spreads.get(f"{name}{SPREAD}")), y - x)
        for name, x, y in metrics
        if name not in spreads
    ]
    rows += [("fact", name, x, y, y - x if isinstance(x, int | float) and isinstance(y, int | float) else None)
             for name, x, y in facts]  # fmt: skip
    if not params:
        out.say("both have the same params")
    out.table(("kind", "what", *names, "difference"), rows, by_row=True, optional=["kind"])
    _print_significance(tested, names, out)


def _with_spread(values: tuple[Any, Any], spread: list[float] | None) -> list[Any]:
    """Two values of a metric, with their standard deviations over the folds where there are any."""
    if spread is None:
        return list(values)
    return [f"{few_digits(value)} ± {own:.2g}" for value, own in zip(values, spread, strict=True)]


def _print_significance(tested: Significance | str, names: list[str], out: Out) -> None:
    if isinstance(tested, str):
        out.say(f"significance: {tested}")
        return
    if tested.num_left_out:
        out.warn(f"{tested.num_left_out} examples are in only one of the two evaluations and were left out")
    better = names[1] if tested.difference > 0 else names[0]
    verdict = f"{better} is significantly better" if tested.significant else "the difference is not significant"
    out.result(
        f"accuracy on the same {tested.num_examples} {tested.split} examples: "
        f"{tested.first:.4f} and {tested.second:.4f}, "
        f"difference {tested.difference:+.4f} (95 % from {tested.low:+.4f} to {tested.high:+.4f}, "
        f"p = {tested.p_value:.3g}): "
        f"{verdict}"
    )


def _fixed(results: ResultsPaths, board: Leaderboard) -> dict[str, Any]:
    """What the sweep file fixes for all trials: another sweep may search it."""
    from sweep_runner.report.facts import read_spec

    spec = read_spec(results.sweep(board.sweep.sweep))
    return dict(spec.fixed) if spec is not None else {}


def _find(name: str, results: ResultsPaths) -> tuple[Leaderboard, TrialRow]:
    from sweep_runner.results.leaderboard import leaderboard
    from sweep_runner.results.trial_names import find_trials, split_name

    sweep, trial = split_name(name)
    board = leaderboard(results, sweep)
    return board, find_trials(board, [trial])[0]
