"""The study after its process was killed: at every record, and by SIGKILL at random moments."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from pathlib import Path
from typing import get_args

import pytest

from sweep_runner.search.study import Study
from sweep_runner.spec.space import IntRange
from sweep_runner.spec.strategies import Sampler

REPEATABLE = ("random", "grid", "qmc")
OPTIONS = {"grid": {"points": 2}, "tpe": {"startup_trials": 2}, "gp": {"startup_trials": 3}, "cma-es": {"popsize": 4}}
OPTIONS["nsga-ii"] = {"population_size": 2}
# Not to the last digit the same in a new process: gp's fit starts from the last one, which a new process does not
# have, and nsga-ii orders the parents that it reads back from the study otherwise than those that it has just chosen.
NOT_THE_SAME = ("gp", "nsga-ii")
NAMES = ("model", "optimizer", "momentum", "lr", "width")


@pytest.fixture
def small_spec(make_spec):
    """A smaller space, because here it is run very often."""

    def make(sampler, trials):
        full = make_spec()
        return make_spec(
            sampler,
            trials,
            space={name: full.space[name] for name in NAMES},
            baselines={
                baseline: {name: value for name, value in params.items() if name in NAMES}
                for baseline, params in full.baselines.items()
            },
            options=OPTIONS.get(sampler, {}),
        )

    return make


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_killed_after_every_record(sampler, small_spec, open_study, drive, tmp_path) -> None:
    """Whatever the last record was, the sweep goes on and ends with every trial and every value once."""
    trials = 4 if sampler in REPEATABLE else 8
    spec = small_spec(sampler, trials)
    undisturbed = open_study(spec, tmp_path / "whole")
    drive(undisturbed)
    undisturbed.close()
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    # The learning ones are slow, and have their state in the later trials.
    cuts = range(len(lines)) if sampler in REPEATABLE else range(len(lines) % 4, len(lines), 4)
    if sampler == "gp":
        cuts = range(len(lines) // 2, len(lines), 16)
    for cut in cuts:
        path = tmp_path / f"cut-{cut}"
        path.write_bytes(b"".join(lines[:cut]))
        study = open_study(spec, path)
        open_now = study.open_trials()
        assert [proposal.number for proposal in open_now] == sorted(proposal.number for proposal in open_now)
        drive(study)
        study.close()
        found = study.trials()
        assert [trial.number for trial in found] == list(range(trials))
        assert [trial.name for trial in found] == ["small", "large"] + [None] * (trials - 2)
        assert {trial.state for trial in found} == {"COMPLETED"}
        assert all(list(trial.intermediate) == [1, 2, 3] for trial in found)
        if sampler not in NOT_THE_SAME:
            assert found == undisturbed.trials()
        assert open_study(spec, path).trials() == found


def _work(path: Path, spec, drive) -> None:
    with Study.open(path, spec) as study:
        drive(study)


@pytest.mark.parametrize("sampler", REPEATABLE)
def test_sigkill_at_random_moments(sampler, small_spec, open_study, drive, tmp_path) -> None:
    spec = small_spec(sampler, 40)
    undisturbed = open_study(spec, tmp_path / "whole")
    drive(undisturbed)
    path = tmp_path / "study.journal"
    # By what it has written, not by the clock: on a quick machine it is done within a few milliseconds.
    share = (tmp_path / "whole").stat().st_size / 10
    moments = random.Random(0)
    kills = 0
    for _ in range(200):
        # Forked: libraries are loaded, so that the kill falls into the work and not into an import.
        worker = multiprocessing.get_context("fork").Process(target=_work, args=(path, spec, drive))
        worker.start()
        assert worker.pid is not None
        if kills < 8:
            enough = (path.stat().st_size if path.exists() else 0) + moments.uniform(1, share)
            while worker.is_alive() and (not path.exists() or path.stat().st_size < enough):
                pass
            os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        if worker.exitcode == 0:
            break
        assert worker.exitcode == -signal.SIGKILL
        kills += 1
    assert kills >= 3
    assert open_study(spec).trials() == undisturbed.trials()


def test_baselines_are_enqueued_once_whenever_it_was_killed(make_spec, open_study, tmp_path) -> None:
    baselines = {f"b{index}": {"x": index} for index in range(5)}
    spec = make_spec("random", 8, space={"x": IntRange(low=0, high=9)}, baselines=baselines)
    open_study(spec).close()
    lines = (tmp_path / "study.journal").read_bytes().splitlines(keepends=True)
    for cut in range(len(lines) + 1):
        path = tmp_path / f"cut-{cut}"
        path.write_bytes(b"".join(lines[:cut]))
        for _ in range(2):
            study = open_study(spec, path)
            waiting = [(trial.number, trial.name, trial.params["x"], trial.state) for trial in study.trials()]
            assert waiting == [(index, f"b{index}", index, "WAITING") for index in range(5)]
            study.close()
