"""One recorded trial again, in this process and in a folder of its own: does it give the same figures?

A trial that was paused, interrupted or tried again was trained in pieces, each from the checkpoint of the one before;
here it runs without a break, up to the last epoch that is on record. One that the pruner stopped is stopped there, too.
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep_runner.errors import RequestError, SweepError
from sweep_runner.results.environment import capture_environment, environment_differences
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorded import Comparison, RecordedTrial, compare, environments_of, recorded_trial
from sweep_runner.results.state import SweepState
from sweep_runner.spec.plan import Plan
from trainables.contract import EpochReport, Preparation, Progress
from trainables.errors import TrainableError
from trainables.local import LocalHandle

ELSEWHERE = 0.05
"""Relative tolerance where machine or versions are others: sums in another order change digits, and training carries
them on. On the same machine with the same versions it is 0."""
_HARDWARE = {"cpu": "CPU", "gpus": "GPUs", "gpu_driver": "GPU driver", "platform": "platform"}


class NotTheSame(SweepError):
    """Data or weights are not those of the record: training again would compare something else."""


@dataclass(frozen=True)
class Setting:
    """With what a trial ran, and what is different here.

    Attributes:
        trial: as recorded.
        data_fingerprint: of the data that it was trained on; empty: not known.
        digests: of what else it started from.
        differences: of versions and hardware, in words.
        notes: what else is to be known, in words.
        num_threads: CPU threads that it had.
    """

    trial: RecordedTrial
    data_fingerprint: str
    digests: Mapping[str, str]
    differences: tuple[str, ...]
    notes: tuple[str, ...]
    num_threads: int

    @property
    def failed(self) -> bool:
        """Whether the trial failed by itself, which is part of what is to be seen again."""
        return self.trial.end is not None and self.trial.end.state in ("FAILED", "INFEASIBLE")

    @property
    def tolerance(self) -> float:
        """Within which the figures have to agree."""
        return ELSEWHERE if self.differences else 0.0


@dataclass
class Again:
    """The other run.

    Attributes:
        figures: of each epoch.
        error: how it failed, in words; empty when it did not.
    """

    figures: dict[int, Mapping[str, float]] = field(default_factory=dict)
    error: str = ""


def setting_of(plan: Plan, paths: SweepPaths, number: int) -> Setting:
    """What is on record of a trial, and how this machine compares.

    Raises:
        RequestError: it cannot be run again here: nothing is on record, or it had several workers.
    """
    state = SweepState(plan.spec.objective)
    trial = recorded_trial(paths, number, state)
    if not trial.starts:
        raise RequestError(f"{paths.name}: trial {number} has not started, so there is nothing to reproduce")
    if not trial.figures and (trial.end is None or trial.end.state not in ("FAILED", "INFEASIBLE")):
        raise RequestError(f"{paths.name}: trial {number} has reported no epoch yet: there is nothing to reproduce")
    if (workers := plan.spec.workers_of(trial.starts[-1].params)) > 1:
        raise RequestError(
            f"{paths.name}: trial {number} was trained by {workers} workers together, and a single process gives "
            f"other results",
            hint=f"run it as a separate sweep, with resources.workers={workers} and the params of trial {number}",
        )
    environments = environments_of(paths, trial.starts)
    now = capture_environment(sys.argv)
    notes = list(_pieces(number, trial))
    if not environments:
        differences = [f"not known: {paths.environment} is missing or damaged"]
    else:
        differences = [*environment_differences(environments[-1], now), *_hardware(environments[-1], now, trial)]
        if len(environments) > 1:
            notes.append(f"its attempts ran in {len(environments)} runs of the sweep; compared is with the last one's")
    # Code of another commit is no reason to expect other figures: it is what one wants to know. And a version that is
    # not on record is no other version: earlier sweeps noted fewer packages.
    serious = [
        each for each in differences if not each.startswith(("git commit", "uncommitted")) and " none → " not in each
    ]
    notes += [each for each in differences if each not in serious]
    num_threads = trial.starts[-1].num_threads or plan.spec.resources.num_threads
    return Setting(trial, state.data_fingerprint, state.digests, tuple(serious), tuple(notes), num_threads)


def _pieces(number: int, trial: RecordedTrial) -> Sequence[str]:
    attempts, last = len(trial.starts), max(trial.figures, default=0)
    found = []
    if attempts > 1:
        paused = f", paused after epoch {', '.join(map(str, trial.pauses))}" if trial.pauses else ""
        found.append(f"trial {number} was trained in {attempts} attempts{paused}; here it runs without a break")
    if trial.end is None or trial.end.state != "COMPLETED":
        how = "has not ended" if trial.end is None else f"ended as {trial.end.state}"
        if trial.pauses and trial.pauses[-1] == last and trial.end is None:
            how = "is paused"
        found.append(f"trial {number} {how} after epoch {last}: the run stops there")
    return found


def _hardware(before: Mapping[str, Any], now: Mapping[str, Any], trial: RecordedTrial) -> list[str]:
    found = []
    if hosts := [host for host in trial.hosts if host and host != platform.node()]:
        found.append(f"machine {', '.join(hosts)} → {platform.node()}")
    if before.get("host") in trial.hosts:
        for key, what in _HARDWARE.items():
            if key in before and before[key] != now.get(key):
                found.append(f"{what} {_words(before[key])} → {_words(now.get(key))}")
    elif trial.hosts:
        found.append(f"hardware of {', '.join(trial.hosts)} is not recorded, only that of {before.get('host')}")
    if trial.device not in ("", "cpu"):
        found.append(f"trained on {trial.device}, which adds numbers in no fixed order")
    return found


def _words(value: Any) -> str:
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value or "")) or "none"


def check_same(setting: Setting, preparation: Preparation) -> None:
    """Holds data and weights against the record.

    Raises:
        NotTheSame: they are others.
    """
    problems = []
    if setting.data_fingerprint and preparation.fingerprint != setting.data_fingerprint:
        problems.append(f"the data has changed (fingerprint {setting.data_fingerprint} → {preparation.fingerprint})")
    problems += [
        f"the {what} differ from those that it started from (digest {setting.digests[what]} → {digest})"
        for what, digest in preparation.digests.items()
        if setting.digests.get(what, digest) != digest
    ]
    if problems:
        raise NotTheSame("; ".join(problems) + ". Restore that and try again")


def reproduce(
    plan: Plan,
    setting: Setting,
    number: int,
    folder: Path,
    progress: Progress,
    tell: Callable[[EpochReport], None],
    tolerance: float | None = None,
) -> tuple[Comparison, Again]:
    """Prepares the data, trains the trial again and compares. What the trainable prints goes to stderr.

    Args:
        plan: of the sweep.
        setting: of the trial.
        number: of the trial.
        folder: for what is written; not the sweep's.
        progress: of the preparation.
        tell: gets every epoch.
        tolerance: instead of the setting's.

    Raises:
        NotTheSame: data or weights are others.
        TrainableError: the data cannot be used.
    """
    start = setting.trial.starts[-1]
    config = plan.make_config(start.params)
    data_folder = folder / "data"
    data_folder.mkdir(parents=True, exist_ok=True)
    trainable = plan.trainable(plan.data, data_folder)
    check_same(setting, trainable.prepare({name: (value,) for name, value in config}, progress))
    last = max(setting.trial.figures, default=0)
    again = Again()

    def take(report: EpochReport) -> None:
        again.figures[report.epoch] = report.metrics
        tell(report)
        # One that failed is let on, to where it did.
        if report.epoch >= last + setting.failed:
            raise SystemExit

    handle = LocalHandle(
        folder / "trial",
        number=number,
        name=start.name,
        seed=start.seed,
        num_threads=setting.num_threads,
        metric=plan.spec.objective.metric,
        mode=plan.spec.objective.mode,
        trainable=plan.spec.trainable,
        on_report=take,
    )
    with contextlib.redirect_stdout(sys.stderr):
        try:
            trainable.train(config, handle)
        except SystemExit:
            pass  # ours, at the last recorded epoch; a trainable's own shows as epochs that are missing
        except Exception as error:  # noqa: BLE001 - whatever a trainable raises is how this run ended
            again.error = str(error) if isinstance(error, TrainableError) else f"{type(error).__name__}: {error}"
    found = compare(setting.trial.figures, again.figures, setting.tolerance if tolerance is None else tolerance)
    return found, again
