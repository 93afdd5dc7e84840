"""`sweep run`, `resume`, `extend`, `retry`: the commands that train."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.checking import checked_plan
from sweep_runner.cli.common import Out, address_option, common_options, json_option, set_option, with_address
from sweep_runner.cli.taken_view import say_taken
from sweep_runner.errors import Problem, RequestError
from sweep_runner.results.paths import ResultsPaths, SweepPaths, results_option

if TYPE_CHECKING:
    from sweep_runner.execution.driver.observer import Observer, SweepOutcome
    from sweep_runner.results.ranking import Runs
    from sweep_runner.results.state import SweepState
    from sweep_runner.spec.plan import Plan


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@set_option
@address_option
@click.option("--fresh", is_flag=True, help="Move an existing sweep of the same name aside and start over.")
@json_option
@common_options
def run(
    file: Path,
    overrides: tuple[str, ...],
    address: str | None,
    fresh: bool,
    as_json: bool,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Run the sweep that FILE describes.

    \b
    Examples:
      sweep run sweeps/quickstart.yaml
      sweep run sweeps/voc.yaml --set data.root=~/VOCdevkit/VOC2012 --set search.trials=10
      sweep run sweeps/voc.yaml --address 10.0.0.5:6379 --results /shared/results
    """
    plan = checked_plan(file, with_address(overrides, address), out)
    say_taken(plan, file, out)
    paths = results.sweep(plan.spec.name)
    from sweep_runner.execution.driver.sweep import start_sweep

    _drive(plan, results, paths, out, as_json, lambda view: start_sweep(plan, paths, view, fresh=fresh))


def take_over_option(command: Callable[..., None]) -> Callable[..., None]:
    """Adds `--take-over`; the command gets `take_over: bool`."""
    return click.option(
        "--take-over",
        is_flag=True,
        help="Take over a sweep whose machine is gone (remote results).",
    )(command)


@click.command()
@click.argument("name")
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="Use the sweep file as it is now.")
@take_over_option
@set_option
@address_option
@json_option
@common_options
def resume(
    name: str,
    file: Path | None,
    take_over: bool,
    overrides: tuple[str, ...],
    address: str | None,
    as_json: bool,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Continue the sweep NAME after a stop. Finished trials do not run again.

    You may change the number of trials, resources and the pruner, add baselines, and widen the space; existing trials
    stay. Changes that would make trials incomparable are refused.

    \b
    Examples:
      sweep resume voc-crops
      sweep resume voc-crops --set resources.max_concurrent=1
      sweep resume voc-crops --set space.lr.high=1.0
      sweep resume voc-crops --file sweeps/voc.yaml
    """
    go_on_with(name, with_address(overrides, address), as_json, results, out, file=file, take_over=take_over)


@click.command()
@click.argument("name")
@click.option("--trials", type=click.IntRange(min=1), required=True, help="Number of additional trials.")
@set_option
@address_option
@json_option
@common_options
def extend(
    name: str,
    trials: int,
    overrides: tuple[str, ...],
    address: str | None,
    as_json: bool,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Run more trials of the sweep NAME.

    A search that search.stop ended continues: its rules count from now on.

    \b
    Examples:
      sweep extend voc-crops --trials 20
      sweep extend voc-crops --trials 20 --set 'space.optimizer=[adam, sgd, adamw]'
    """
    from sweep_runner.results.leaderboard import leaderboard, sweep_row
    from sweep_runner.results.lookup import find_sweep, spec_file
    from sweep_runner.spec.check import check_spec
    from sweep_runner.spec.loader import load_resolved

    paths = find_sweep(results, name)
    # Not what was asked for: a grid may have ended before, and so may a search that a rule has ended.
    planned = check_spec(load_resolved(spec_file(paths))).num_trials
    if sweep_row(paths).values.get("stopped_by"):
        planned = sum(row.confirms is None for row in leaderboard(results, name).rows)
    more = (*with_address(overrides, address), f"search.trials={planned + trials}")
    go_on_with(name, more, as_json, results, out, extended=True)


@click.command()
@click.argument("name")
@address_option
@json_option
@common_options
def retry(name: str, address: str | None, as_json: bool, results: ResultsPaths, out: Out) -> None:
    """Run the failed trials of the sweep NAME again.

    \b
    Example:
      sweep retry voc-crops
    """
    go_on_with(name, with_address((), address), as_json, results, out, retry_failed=True)


def go_on_with(
    name: str,
    overrides: tuple[str, ...],
    as_json: bool,
    results: ResultsPaths,
    out: Out,
    *,
    file: Path | None = None,
    retry_failed: bool = False,
    extended: bool = False,
    take_over: bool = False,
) -> None:
    """Goes on with a sweep, with what is set anew in its file. See `resume_sweep`."""
    from sweep_runner.execution.driver.sweep import resume_sweep
    from sweep_runner.results.lookup import find_sweep, spec_file
    from sweep_runner.spec.changes import differences
    from sweep_runner.spec.loader import load_resolved

    paths = find_sweep(results, name)
    try:
        before = load_resolved(spec_file(paths)).spec
    except RequestError as error:
        if not paths.spec.is_file():
            raise
        hint = (
            "Put it back from a copy. Without one, remove it and run the file that the sweep came from again "
            f"(sweep run FILE, with name: {name}): it continues with the existing trials."
        )
        damaged = Problem(f"{paths.spec} is the sweep's own file, and it is damaged", hint=hint)
        raise RequestError([*error.problems, damaged]) from error
    if file:
        plan = checked_plan(file, overrides, out, before=before)
    else:
        plan = checked_plan(paths.spec, overrides, out, resolved=True)
    if plan.spec.name != before.name:
        raise RequestError(
            f"{plan.loaded.where('name')}: name: {before.name} → {plan.spec.name}: this is a different sweep",
            hint=f"add --set name={before.name} if it is the same sweep, or run it as a new one: sweep run FILE",
        )
    changed = [str(change) for change in differences(before, plan.spec)]
    _drive(
        plan,
        results,
        paths,
        out,
        as_json,
        lambda view: resume_sweep(
            plan, paths, view, changed=changed, retry_failed=retry_failed, extended=extended, take_over=take_over
        ),
    )


def _drive(
    plan: Plan,
    results: ResultsPaths,
    paths: SweepPaths,
    out: Out,
    as_json: bool,
    drive: Callable[[Observer], SweepOutcome],
) -> None:
    from sweep_runner.cli.live import View

    for warning in plan.warnings:
        out.warn(warning)
    # Before imports and data, which on a busy machine take most of a minute.
    out.say(f"{plan.spec.name}: starting", style="dim")
    epochs = plan.candidates.get("epochs", ())
    view = View(out, plan.spec.name, plan.num_trials, epochs[0] if len(epochs) == 1 else None)
    with view.open():
        outcome = drive(view)
    if as_json:
        out.json(_outcome_json(outcome, paths))
    else:
        _show(outcome, results, paths, out)
    if outcome.failed or outcome.state.counts()["FAILED"] or outcome.state.best() is None:
        sys.exit(1)


def _show(outcome: SweepOutcome, results: ResultsPaths, paths: SweepPaths, out: Out) -> None:
    """The end of a sweep: leaderboard to stdout; where everything is, to stderr."""
    from sweep_runner.cli.end_view import candidate_lines, end_lines, trials_text
    from sweep_runner.cli.results import show_leaderboard
    from sweep_runner.execution.publishing.package_origin import published_origin
    from sweep_runner.results.display import clock, from_here
    from sweep_runner.results.temperature import scaling_words

    show_leaderboard(results, paths.name, limit=10, out=out)
    state = outcome.state
    counts = state.counts()
    words = ", ".join(f"{number} {name.lower()}" for name, number in sorted(counts.items()))
    out.say(f"\n{paths.name}: {trials_text(state)} ({words}) in {clock(state.duration_s)}")
    for line in end_lines(state):
        out.say(line)
    best = state.best()
    if best is not None:
        original = state.trials[best.copy_of] if best.copy_of is not None else best
        which = "best"
        if state.answer is not None and state.answer["chosen"] != original.trial:
            original, which = state.trials[state.answer["chosen"]], "published"
        for split in ("val", "test"):
            final = original.final_metrics
            metric = state.objective.metric.partition("_")[2]
            figures = ", ".join(_figures(paths, original.trial, split, final, metric, out))
            if figures:
                out.say(f"{which} trial {original.trial} on {split}: {figures}")
        for line in candidate_lines(state, paths.name):
            out.say(line)
        _say_uses_of_test(results, paths, out)
        _say_front(state, outcome.package is not None, paths, out)
    for trial in state.trials.values():
        if trial.state in ("FAILED", "INFEASIBLE") and not trial.over_limit:  # the leaderboard has told those
            out.warn(f"trial {trial.trial} {trial.state}: {trial.reason}")
    for note in outcome.notes:
        out.warn(note)
    _say_what_next(results, paths, out)
    _write_report(results, paths, out)
    out.say(f"leaderboard  {paths.command('top')}")
    where = " ".join(["", *results_option(results.root)])
    out.say(f'tables       {from_here(paths.tables)}   sweep query "select * from trials"{where}')
    if outcome.package is not None and (refit := (published_origin(paths) or {}).get("refit")):
        epochs = f"{refit['epochs']} epoch{'s' if refit['epochs'] != 1 else ''}"
        out.say(f"The model was retrained on {' and '.join(refit['splits'])}, for {epochs}.")
    if outcome.package is not None and (told := (published_origin(paths) or {}).get("temperature")):
        out.say(scaling_words(told))
    if outcome.package is not None and (outcome.package / "model.onnx").exists():
        out.say(f"model        {from_here(outcome.package / 'model.onnx')}   sweep predict {paths.name} IMAGES{where}")
    elif outcome.package is not None:
        out.say(f"model        {from_here(outcome.package)}   its README.md has the code that loads it")


_ADVICE = 2


def _say_what_next(results: ResultsPaths, paths: SweepPaths, out: Out) -> None:
    """What weighs most of what the rules say, in two lines, and where the rest is."""
    from sweep_runner.report.advice.rules import advice_for
    from sweep_runner.report.facts import read_spec
    from sweep_runner.results.leaderboard import leaderboard

    found = advice_for(leaderboard(results, paths.name), paths, read_spec(paths), lambda text: None)
    for each in found[:_ADVICE]:
        out.say(f"next: {each}")
    hidden = len(found) - _ADVICE
    if hidden > 0 or any(each.command for each in found):
        more = f"{hidden} more, and the commands" if hidden > 0 else "the commands"
        out.say(f"next: {more}: {paths.command('explain')}")


def _say_uses_of_test(results: ResultsPaths, paths: SweepPaths, out: Out) -> None:
    from sweep_runner.results.leaderboard import leaderboard
    from sweep_runner.results.uses_of_test import uses_of_test

    uses = uses_of_test(results, leaderboard(results, paths.name))
    if uses.count:
        out.say(f"test split: {uses}{': each use makes its figure more optimistic' if uses.count > 1 else ''}")


def _say_front(state: SweepState, is_published: bool, paths: SweepPaths, out: Out) -> None:
    """Of several objectives: which trials none beats, and which of them was exported."""
    from sweep_runner.results.front import front_of, goals_of

    best = state.best()
    if not state.objective.also or best is None:
        return
    names = ", ".join([state.objective.metric, *(column for column, _ in goals_of(state.objective))])
    front = front_of(state)
    numbers = [each.trial for each in state.ranked() if each.trial in front]
    out.say(f"Pareto front of {names}: trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers)) or 'none'}")
    if is_published and len(numbers) > 1:
        out.say(
            f"the model is trial {best.trial}'s, the best by {state.objective.metric}; another: "
            f"{paths.command('export', '--trial N')}"
        )


def _figures(
    paths: SweepPaths, trial: int, split: str, final: Mapping[str, float], metric: str, out: Out
) -> Iterator[str]:
    """The objective's metric and the accuracy of a final evaluation, the latter with what it rests on."""
    from sweep_runner.report.accuracy import accuracy_of

    count = final.get(f"{split}_num_examples")
    if not count:
        return
    share = accuracy_of(paths, trial, split, out.warn)
    for name in dict.fromkeys((metric, "accuracy")):
        value = final.get(f"{split}_{name}")
        if name == "accuracy" and share is not None:
            yield f"accuracy {share}"
        elif value is not None:
            spread = final.get(f"{split}_{name}_std")  # of a trial with folds
            folds = "" if spread is None else f" (mean of the folds, ± {spread:.4f})"
            yield f"{name} {value:.4f}{folds} over {count:,.0f} examples"


def _write_report(results: ResultsPaths, paths: SweepPaths, out: Out) -> None:
    """Writes the report. A sweep that has ended does not fail because of it, whatever goes wrong."""
    try:
        from sweep_runner.cli.remote import upload_report
        from sweep_runner.report.page import write_report
        from sweep_runner.results.display import from_here

        report = write_report(results, paths.name, None, out.warn)
        out.say(f"report       {from_here(report)}")
        if url := upload_report(results, paths.name, report):
            out.say(f"uploaded to  {url.rpartition('/')[0]}")
    except Exception as error:  # noqa: BLE001 - hours of training stand behind it, and it can be made again
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        out.warn(f"no report was written ({reason}); try again: {paths.command('report')}")


def _model_file(package: Path | None) -> str | None:
    """The published model: its ONNX file, or where it has none its folder."""
    if package is None:
        return None
    return str(package / "model.onnx" if (package / "model.onnx").exists() else package)


def _runs_json(runs: Runs | None) -> dict[str, object] | None:
    return None if runs is None else {"runs": list(runs.values), "mean": runs.mean, "std": runs.std}


def _outcome_json(outcome: SweepOutcome, paths: SweepPaths) -> dict[str, object]:
    from sweep_runner.results.candidates import rows_of_candidates

    state = outcome.state
    best = state.best()
    return {
        "sweep": paths.name,
        "folder": str(paths.root),
        "trials": dict(state.counts()),
        "duration_s": state.duration_s,
        "stopped_by": state.search.stopped and state.search.stopped.rule,
        "stop_reason": state.search.stopped and state.search.stopped.reason,
        "best": None
        if best is None
        else {
            "trial": best.trial,
            "name": best.name,
            "params": dict(best.params),
            state.objective.metric: best.best_value,
            "confirmed": _runs_json(state.runs(best.trial)),
            "final": best.final_metrics,
            "test_uses": state.test_uses,
        },
        "candidates": rows_of_candidates(paths.name, state),
        "model": _model_file(outcome.package),
        "notes": list(outcome.notes),
    }
