"""`sweep explain`: why a trial ended as it did, by replaying its pruner's decisions from the log."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.common import Out, common_options, json_option
from sweep_runner.cli.trial_name import trial_arguments
from sweep_runner.results.display import counted, few_digits
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.trial_names import find_trials

if TYPE_CHECKING:
    from sweep_runner.report.decisions import Comparison
    from sweep_runner.results.leaderboard import Leaderboard, TrialRow

_MAX_RIVALS = 12


@click.command()
@trial_arguments
@json_option
@common_options
def explain(name: str, trial: str | None, as_json: bool, results: ResultsPaths, out: Out) -> None:
    """Suggest what to do after the sweep NAME, or explain why a trial stopped or paused.

    Without TRIAL, rules check what the sweep recorded: best values at the edge of a range, too few epochs, classes
    with most of the errors and more. Each suggestion comes with its evidence. With resources.gpus: auto it also says
    how many trials shared a GPU, and why.

    TRIAL is a number, a baseline's name or best: the rung at which it stopped, the value it needed, and its
    competitors. The pruner's decisions are replayed from the log in its order: a trial is compared with those that had
    reached the rung by then.

    \b
    Examples:
      sweep explain quickstart
      sweep explain quickstart 3
      sweep explain quickstart mlp-adam --json
    """
    from sweep_runner.report.decisions import decisions_of
    from sweep_runner.report.plot_data import title_of
    from sweep_runner.results.leaderboard import leaderboard

    board = leaderboard(results, name)
    if trial is None:
        _advise(board, results.sweep(name), as_json, out)
        return
    row = find_trials(board, [trial])[0]
    decisions = decisions_of(board, results.sweep(name), row)
    if as_json:
        out.json(
            {
                "sweep": name,
                "trial": row.trial,
                "name": row.name,
                "state": row.state,
                "reason": row.reason,
                "epochs": row.row["epochs"],
                "rungs": [
                    {**asdict(rung), "place": rung.place, "threshold": rung.threshold, "verdict": verdict}
                    for rung, verdict in decisions
                ],
            }
        )
        return
    out.result(f"{name} {title_of(row)}: {_ending(row)}")
    if decisions:
        out.table(
            ("rung (epoch)", board.objective, "needed", "rank", "continue", "verdict"),
            [
                (
                    rung.epoch,
                    rung.value,
                    rung.threshold if rung.threshold is not None else "nothing",
                    f"{rung.place} of {len(rung.rivals) + 1}",
                    rung.num_kept,
                    verdict,
                )
                for rung, verdict in decisions
            ],
        )
        last = decisions[-1].rung
        if not last.passed:
            _print_rivals(last, board, out)
        if row.value is not None and row.row["best_epoch"] != last.epoch:
            out.say(
                f"The leaderboard ranks it by its best epoch ({few_digits(row.value)} at epoch "
                f"{row.row['best_epoch']}); rungs compare trials at the same epoch."
            )
    if row.state in ("FAILED", "INFEASIBLE"):
        out.say(f"attempts and files: {results.sweep(name).command('show', str(row.trial))}")


def _advise(board: Leaderboard, paths: SweepPaths, as_json: bool, out: Out) -> None:
    """Prints what to do next."""
    from sweep_runner.report.advice.rules import advice_for
    from sweep_runner.report.facts import read_spec
    from sweep_runner.results.gpus_shared import gpus_shared

    found = advice_for(board, paths, read_spec(paths), out.warn)
    shared = gpus_shared(paths)
    if as_json:
        out.json(
            {"sweep": paths.name, "advice": [asdict(each) for each in found], "gpus": [asdict(one) for one in shared]}
        )
        return
    if shared:
        out.result("trials that shared a GPU (resources.gpus: auto), as decided while they ran:")
        out.table(
            ("trials per GPU", "because", ""), [(e.per_gpu, e.reason, "kept" if e.settled else "") for e in shared]
        )
    for each in found:
        command = f"\n    {each.command}" if each.command else ""
        out.result(f"{each.rule}: {each.evidence}\n  → {each.action}{command}")
    if not board.ranked:
        out.say("no trial has a value yet")
    elif not found:
        out.say("no rule found anything to suggest")


def _ending(row: TrialRow) -> str:
    epochs = row.row["epochs"] or 0
    ran = counted(epochs, "epoch")
    words = {
        "COMPLETED": f"ran to its end, {ran}",
        "PRUNED": f"stopped by the pruner after {ran}",
        "RUNNING": f"is running, {ran} so far",
        "PAUSED": f"paused after {ran}, and may continue",
        "WAITING": "waits for a worker",
    }
    said = words.get(row.state, row.state.lower())
    if row.confirms is not None:
        said = f"repeats trial {row.confirms} with another seed, without pruning; {said}"
    return f"{said}: {row.reason}" if row.reason else said


def _print_rivals(rung: Comparison, board: Leaderboard, out: Out) -> None:
    from sweep_runner.report.plot_data import title_of

    rows = {row.trial: row for row in (*board.ranked, *board.unranked)}
    ordered = sorted(rung.rivals.items(), key=lambda pair: pair[1], reverse=board.mode == "max")
    out.say(f"competitors at the rung of epoch {rung.epoch}, at that time (★ would have continued in its place):")
    out.table(
        ("competitor", board.objective, ""),
        [
            (title_of(rows[number]) if number in rows else f"trial {number}", value, "★" if k < rung.num_kept else "")
            for k, (number, value) in enumerate(ordered[:_MAX_RIVALS])
        ],
    )
    if len(ordered) > _MAX_RIVALS:
        out.say(f"{len(ordered) - _MAX_RIVALS} more: --json")
