"""`sweep ls`, `top`, `show`, `query`: what is in the results folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweep_runner.cli.common import Out, common_options, json_option, output_options
from sweep_runner.cli.trial_name import trial_arguments
from sweep_runner.errors import RequestError
from sweep_runner.results.costs import COSTS, cheapest_first, cost
from sweep_runner.results.paths import ResultsPaths, SweepPaths

if TYPE_CHECKING:
    from sweep_runner.results.annotations import Annotation
    from sweep_runner.results.leaderboard import Leaderboard, SweepRow


_MOST_REASONS, _MOST_NUMBERS = 5, 8


@click.command()
@json_option
@common_options
def ls(as_json: bool, results: ResultsPaths, out: Out) -> None:
    """List all sweeps: state, best value, number of trials per state.

    \b
    Examples:
      sweep ls
      sweep ls --results /shared/results --json
    """
    from sweep_runner.results.leaderboard import sweep_rows

    rows = sweep_rows(results)
    for row in rows:
        if row.problem:
            out.warn(row.problem)
    if as_json:
        out.json([_sweep_json(row) for row in rows])
        return
    if not rows:
        out.say(f"No sweeps in {results.shown} yet. Start one: sweep run FILE")
        return
    out.table(
        ("sweep", "state", "objective", "best", "trial", "trials", "started", "duration"),
        [
            (
                row.sweep,
                row.state,
                row.values.get("objective"),
                row.values.get("best_value"),
                row.values.get("best_trial"),
                _counts(row),
                _when(row.values.get("started")),
                _duration(row.values.get("duration_s")),
            )
            for row in rows
        ],
        optional=("duration", "started", "trial"),
    )


@click.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Number of trials to show.")
@click.option(
    "--by",
    type=click.Choice(["objective", *COSTS]),
    default="objective",
    show_default=True,
    help="Order of the rows: by the objective, or by a cost, the lowest first.",
)
@click.option("--front", is_flag=True, help="Only the Pareto front of a sweep with several objectives.")
@json_option
@common_options
def top(name: str, limit: int, by: str, front: bool, as_json: bool, results: ResultsPaths, out: Out) -> None:
    """Show the leaderboard of the sweep NAME.

    The rank is by the objective, also with --by. Failed trials, and copies of a configuration that was trained before,
    have no rank.

    \b
    Examples:
      sweep top quickstart
      sweep top quickstart --by latency
      sweep top small-and-good --front
      sweep top quickstart --limit 50 --json
    """
    from sweep_runner.results.annotations import read_annotations
    from sweep_runner.results.leaderboard import leaderboard

    board = leaderboard(results, name)
    if front:
        if not board.goals:
            raise RequestError(
                f"sweep {board.sweep.sweep!r} has one objective, {board.objective}: it has no Pareto front"
            )
        board = replace(board, ranked=board.front)
    board = _ordered(board, COSTS.get(by), out)
    if as_json:
        out.json(_board_json(board, limit, read_annotations(results.sweep(name), out.warn)))
        return
    _print_board(board, results.sweep(name), limit, out, COSTS.get(by))


def _ordered(board: Leaderboard, column: str | None, out: Out) -> Leaderboard:
    """With its ranked rows by what they cost; None: as they are."""
    if column is None:
        return board
    lacking = sum(cost(row, column) is None for row in board.ranked)
    if lacking:
        out.say(f"{lacking} of {len(board.ranked)} trials have no {column}: it is measured when the sweep ends")
    return replace(board, ranked=tuple(cheapest_first(board.ranked, column)))


def show_leaderboard(results: ResultsPaths, name: str, limit: int, out: Out) -> None:
    """Prints what `sweep top NAME` prints."""
    from sweep_runner.results.leaderboard import leaderboard

    _print_board(leaderboard(results, name), results.sweep(name), limit, out)


def _print_board(board: Leaderboard, paths: SweepPaths, limit: int, out: Out, by: str | None = None) -> None:
    from sweep_runner.cli.leaderboard_view import print_ranked
    from sweep_runner.results.annotations import read_annotations
    from sweep_runner.results.answer import answer_of

    sweep = board.sweep
    out.say(
        f"{sweep.sweep}: {sweep.state.lower()}, {_counts(sweep) or 'no trials yet'}; {board.objective} ({board.mode})"
    )
    for key, words in (("stop_reason", "the search has ended by"), ("confirm_reason", "confirming:")):
        if text := sweep.values.get(key):
            out.say(f"{words} {text}")
    if sweep.state == "INTERRUPTED":
        out.say(f"continue with: {paths.command('resume')}")
    shown = board.ranked[:limit]
    if shown:
        print_ranked(board, shown, out, by, read_annotations(paths, out.warn))
    else:
        out.say("No trial within the limits has a value yet." if board.over_limit else "No trial has a value yet.")
    _say_over_limit(board, out)
    if shown and (answer := answer_of(board)) is not None:
        for line in answer.lines():
            out.say(line)
    if len(board.ranked) > limit:
        out.say(f"{len(board.ranked) - limit} more: {paths.command('top', f'--limit {len(board.ranked)}')}")


def _say_over_limit(board: Leaderboard, out: Out) -> None:
    """Which trials have no rank because of a limit: grouped by what they are over."""
    groups: dict[str, list[int]] = {}
    for row in board.over_limit:
        groups.setdefault(str(row.row["over_limit"]), []).append(row.trial)
    for over, numbers in list(groups.items())[:_MOST_REASONS]:
        out.say(f"over a limit, without a rank: {counted_trials(numbers)}: {over}")
    left = sum(len(numbers) for numbers in list(groups.values())[_MOST_REASONS:])
    if left:
        out.say(f"over a limit, without a rank: {left} more trials")


def counted_trials(numbers: Sequence[int]) -> str:
    """`trial 3`, `trials 3, 4, 5 and 7 more`."""
    shown = ", ".join(map(str, numbers[:_MOST_NUMBERS]))
    more = f" and {len(numbers) - _MOST_NUMBERS} more" if len(numbers) > _MOST_NUMBERS else ""
    return f"trial{'s' if len(numbers) > 1 else ''} {shown}{more}"


@click.command()
@trial_arguments
@json_option
@common_options
def show(name: str, trial: str | None, as_json: bool, results: ResultsPaths, out: Out) -> None:
    """Show a trial of the sweep NAME: params, metrics, learning curve, attempts, files.

    TRIAL is a number, a baseline's name, or best (the default).

    \b
    Examples:
      sweep show quickstart
      sweep show quickstart 0
      sweep show quickstart/mlp-adam
    """
    from sweep_runner.cli.trial_view import print_trial, trial_json
    from sweep_runner.report.accuracy import accuracy_of
    from sweep_runner.results.annotations import read_annotations
    from sweep_runner.results.history import attempts_of, files_of, learning_curve
    from sweep_runner.results.leaderboard import leaderboard
    from sweep_runner.results.package_formats import COLUMNS, package_formats
    from sweep_runner.results.trial_names import find_trial
    from sweep_runner.results.uses_of_test import uses_of_test

    board = leaderboard(results, name)
    row = find_trial(board, trial)
    paths, number = results.sweep(name), row.trial
    curve = learning_curve(paths, number, out.warn)
    attempts, files = attempts_of(paths, number, board.sweep.state == "RUNNING"), files_of(paths, number)
    noted = read_annotations(paths, out.warn).get(number)
    found = {split: accuracy_of(paths, number, split, out.warn) for split in ("val", "test")}
    shares = {split: share for split, share in found.items() if share is not None}
    formats = package_formats(paths.best)
    if formats is not None and formats.trial != number:
        formats = package_formats(paths.export(number))
    if as_json:
        told = trial_json(board, row, curve, attempts, files, shares, noted)
        rows = [dict(zip(COLUMNS, each, strict=True)) for each in formats.rows] if formats else []
        out.json({**told, "formats": rows, "formats_left_out": formats.left_out if formats else {}})
    else:
        again = paths.command("reproduce", str(row.trial))
        print_trial(board, row, curve, attempts, files, shares, again, out, noted)
        if formats is not None:
            out.result("\nformats of the model")
            if formats.rows:
                out.table(COLUMNS, formats.rows)
            for line in formats.lines():
                out.result(f"  {line}")
        if "test" in shares:
            out.say(f"test split: {uses_of_test(results, board)}")


@click.command()
@click.argument("sql", required=False)
@click.option("--list", "list_only", is_flag=True, help="List all tables with their columns, types and meanings.")
@click.option("--saved", is_flag=True, help="List the saved queries.")
@output_options
@click.option(
    "--time-limit",
    "time_limit_s",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Time limit of the query.",
)
@common_options
def query(
    sql: str | None,
    list_only: bool,
    saved: bool,
    file_format: str,
    output: Path | None,
    time_limit_s: float,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Run SQL (DuckDB) over the tables of all sweeps, running ones included. Queries are read-only.

    @NAME runs a saved query: one of the project's, or your own from queries/NAME.sql in the results folder.

    \b
    Tables: sweeps, trials, epochs, predictions, classes, confusions, candidates.
    Examples:
      sweep query "select pooling, max(best_val_accuracy) from trials group by pooling"
      sweep query --format csv "select * from epochs where sweep = 'digits'" > epochs.csv
      sweep query @worst-classes
    """
    from sweep_runner.cli.no_pandas import without_pandas
    from sweep_runner.cli.query_output import check_output, write_result
    from sweep_runner.results.saved_queries import find_query, saved_queries, user_folder

    if saved and sql is None and not list_only:
        out.table(("query", "what"), [(f"@{each.name}", each.about) for each in saved_queries(results).values()])
        out.say(f"your own go into {user_folder(results)}/NAME.sql")
        return
    if saved or (sql is None) == (not list_only):
        raise RequestError(
            "give a query or --list", hint='for example: sweep query "select * from trials" or sweep query --list'
        )
    check_output(file_format, output)
    if not any(True for _ in results.sweeps()):
        raise RequestError(
            f"no sweeps in {results.shown}",
            hint="run one (`sweep run FILE`), or choose another folder with --results",
        )
    if sql is not None and sql.startswith("@"):
        sql = find_query(results, sql[1:].strip()).sql
    with without_pandas():
        from sweep_runner.results.query import list_tables, run_query

        if sql is None:
            table = list_tables(results, out.warn)
        else:
            table = run_query(results, sql, time_limit_s=time_limit_s, warn=out.warn)
        write_result(table, file_format, output, out)


def _sweep_json(row: SweepRow) -> dict[str, Any]:
    return {**row.values, "sweep": row.sweep, "state": row.state}


def _board_json(board: Leaderboard, limit: int, notes: Mapping[int, Annotation]) -> dict[str, Any]:
    from sweep_runner.cli.trial_view import row_json
    from sweep_runner.results.answer import answer_of

    answer = answer_of(board)
    return {
        "sweep": board.sweep.sweep,
        "state": board.sweep.state,
        "objective": board.objective,
        "mode": board.mode,
        "goals": [{"column": column, "mode": mode} for column, mode in board.goals],
        "front": [row.trial for row in board.front],
        "counts": board.sweep.counts,
        "answer": None if answer is None else answer.to_json(),
        "trials": [row_json(row, notes.get(row.trial)) for row in board.ranked[:limit]],
        "unranked": [row_json(row, notes.get(row.trial)) for row in board.unranked],
    }


def _counts(row: SweepRow) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in row.counts.items())


def _when(time: Any) -> str | None:
    return None if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M")


def _duration(duration_s: float | None) -> str | None:
    if duration_s is None:
        return None
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
