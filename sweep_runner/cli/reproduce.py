"""`sweep reproduce`: a recorded trial again, and whether it gives the same figures."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweep_runner.cli.common import Out, common_options, json_option
from sweep_runner.cli.trial_name import trial_arguments
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from sweep_runner.execution.driver.reproduce import Again, Setting
    from sweep_runner.results.leaderboard import TrialRow
    from sweep_runner.results.recorded import Comparison

_SHOWN = 10


@click.command()
@trial_arguments
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    metavar="SHARE",
    help="Relative tolerance of each metric (default: 0 on the same machine with the same versions, else 0.05).",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the run's files here (default: they are removed).",
)
@json_option
@common_options
def reproduce(
    name: str,
    trial: str | None,
    tolerance: float | None,
    folder: Path | None,
    as_json: bool,
    results: ResultsPaths,
    out: Out,
) -> None:
    """Train a trial of the sweep NAME again, and compare every epoch's metrics with the recorded ones.

    TRIAL is a number, a baseline's name, or best (the default). Data and weights must be the recorded ones;
    other differences (versions, hardware) are printed. The sweep itself does not change. Exit code 1: a metric is off
    by more than the tolerance.

    \b
    Examples:
      sweep reproduce quickstart
      sweep reproduce quickstart cnn-adam --json
    """
    from sweep_runner.cli.data import Teller
    from sweep_runner.execution.driver.reproduce import reproduce as run_again
    from sweep_runner.execution.driver.reproduce import setting_of
    from sweep_runner.results.lookup import find_sweep, spec_file
    from sweep_runner.spec.check import load_plan
    from trainables import environment
    from trainables.contract import EpochReport

    paths = find_sweep(results, name)
    row = _find(results, name, trial)
    if removed := environment.withhold(os.environ):
        out.say(environment.words(removed))
    plan = load_plan(spec_file(paths), resolved=True)
    if folder is not None and folder.is_dir() and any(folder.iterdir()):
        raise RequestError(f"--folder {folder}: is not empty", hint="Choose a new folder: the trial begins at epoch 1.")
    setting = setting_of(plan, paths, row.trial)
    out.say(f"{name}: trial {row.trial}{f' ({row.name})' if row.name else ''}, seed {row.row['seed']}")
    for note in setting.notes:
        out.say(note)
    for difference in setting.differences:
        out.warn(f"not as recorded: {difference}")
    recorded = setting.trial.figures

    def show(report: EpochReport) -> None:
        metric = plan.spec.objective.metric
        before = recorded.get(report.epoch, {}).get(metric)
        out.say(f"epoch {report.epoch}: {metric} {report.metrics[metric]!r}, recorded {before!r}")

    with tempfile.TemporaryDirectory(prefix="sweep-reproduce-") as temporary:
        found, again = run_again(plan, setting, row.trial, folder or Path(temporary), Teller(out), show, tolerance)
    holds = found.holds and bool(again.error) == setting.failed
    if as_json:
        out.json(_as_json(name, row, setting, found, again, holds))
    else:
        _tell(row, setting, found, again, holds, out)
    if not holds:
        click.get_current_context().exit(1)


def _find(results: ResultsPaths, name: str, trial: str | None) -> TrialRow:
    from sweep_runner.results.leaderboard import leaderboard
    from sweep_runner.results.trial_names import find_trials

    return find_trials(leaderboard(results, name), [trial])[0]


def _tell(row: TrialRow, setting: Setting, found: Comparison, again: Again, holds: bool, out: Out) -> None:
    within = "to the last digit" if found.tolerance == 0 else f"within {100 * found.tolerance:g} %"
    if again.error:
        out.say(f"it failed: {again.error}" + (", as recorded" if setting.failed else ""))
    elif setting.failed:
        assert setting.trial.end is not None
        out.warn(f"it did not fail here; recorded: {setting.trial.end.reason}")
    if found.unrecorded:
        out.say(f"not recorded, left out: {', '.join(found.unrecorded)}")
    if found.deviations:
        out.table(
            ("epoch", "metric", "recorded", "again", "off by"),
            [
                (each.epoch, each.metric, each.recorded, each.again, each.relative)
                for each in sorted(found.deviations, key=lambda each: -each.relative)[:_SHOWN]
            ],
        )
    if len(found.deviations) > _SHOWN:
        out.say(f"{len(found.deviations) - _SHOWN} more: --json")
    what = f"trial {row.trial}: {found.num_figures} figures of {found.num_epochs} epochs"
    if holds:
        same = "the same" if not found.deviations else "reproduced"
        out.result(f"{what} are {same} {within}")
    elif found.beyond:
        out.result(f"{what}, and {len(found.beyond)} are not the same {within}")
    else:
        out.result(f"{what} are the same {within}, but it did not end as recorded")


def _as_json(
    name: str, row: TrialRow, setting: Setting, found: Comparison, again: Again, holds: bool
) -> dict[str, object]:
    return {
        "sweep": name,
        "trial": row.trial,
        "name": row.name,
        "reproduced": holds,
        "tolerance": found.tolerance,
        "num_epochs": found.num_epochs,
        "num_figures": found.num_figures,
        "unrecorded": found.unrecorded,
        "deviations": [{**asdict(each), "relative": each.relative} for each in found.deviations],
        "error": again.error,
        "differences": setting.differences,
        "notes": setting.notes,
    }
