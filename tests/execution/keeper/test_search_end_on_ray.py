"""A sweep on Ray that a rule ends while trials run, that confirms its best, and that is extended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths
from tests.support.sweeps import log_of, sweep

pytestmark = pytest.mark.ray

FILE = """
name: ended
trainable: synthetic
fixed: {epochs: 40, epoch_s: 0.1, noise: 0.0}
space: {lr: {low: 0.001, high: 0.1, log: true}}
search: {sampler: random, trials: 10, seed: 0, stop: {at: 0.3}, confirm: {top: 1, seeds: 2}}
resources: {max_concurrent: 2}
dashboard: false
metrics: false
"""


def test_a_target_ends_the_search_the_best_is_confirmed_and_extend_goes_on(tmp_path: Path) -> None:
    (tmp_path / "ended.yaml").write_text(FILE)
    first = sweep("run", "ended.yaml", "--json", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert told["stopped_by"] == "at"
    assert told["best"]["confirmed"]["runs"][0] >= 0.3
    assert len(told["best"]["confirmed"]["runs"]) == 2
    events = log_of(tmp_path / "results" / "ended")
    stop = [event["kind"] for event in events].index("stop")
    assert {event["trial"] for event in events[stop:] if event["kind"] == "pause"} == {0, 1}, "both ran, and both pause"
    board = leaderboard(ResultsPaths(tmp_path / "results"), "ended")
    (again,) = [row for row in board.unranked if row.confirms is not None]
    assert (again.trial, again.confirms) == (2, board.ranked[0].trial)

    resumed = sweep("resume", "ended", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "nothing is left to run: the search has ended by search.stop.at (0.3)" in resumed.stderr
    assert "sweep extend ended --trials N" in resumed.stderr

    extended = sweep("extend", "ended", "--trials", "1", "--set", "resources.max_concurrent=3", cwd=tmp_path)
    assert extended.returncode == 0, extended.stderr
    board = leaderboard(ResultsPaths(tmp_path / "results"), "ended")
    searched = [row for row in board.rows if row.confirms is None]
    assert sorted((row.trial, row.state, row.row["epochs"]) for row in searched) == [
        (0, "COMPLETED", 40),
        (1, "COMPLETED", 40),
        (3, "COMPLETED", 40),
    ]
