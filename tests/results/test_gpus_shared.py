"""How many trials shared a GPU: what was decided is explained, and each trial's share is a column."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.cli.main import main
from sweep_runner.results.events import Event, GpusShared, TrialStarted
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.spec.loader import dump_spec, load_spec

SPEC = """\
name: shared
trainable: synthetic
space: {lr: {low: 0.1, high: 1.0}}
search: {sampler: random, trials: 2}
"""


def test_explain_lists_the_decisions_and_trials_their_share(
    make_sweep: Callable[..., SweepPaths],
    trial_events: Callable[[int, dict[str, Any], int, str], list[Event]],
    results: ResultsPaths,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = [
        *trial_events(0, {"lr": 0.9}, 2, "COMPLETED"),
        GpusShared(time=1e4, per_gpu=2, reason="images/s per GPU: 1,000 with 1", rates={"1": 1e3}),
        *trial_events(1, {"lr": 0.5}, 2, "COMPLETED"),
        GpusShared(time=2e4, per_gpu=2, reason="2 at a time are best", settled=True, rates={"1": 1e3, "2": 2e3}),
    ]
    shared = [replace(each, gpus=0.125) if isinstance(each, TrialStarted) else each for each in events]
    paths = make_sweep("shared", [], events=shared)
    file = tmp_path / "shared.yaml"
    file.write_text(SPEC)
    paths.spec.write_text(dump_spec(load_spec(file).spec))
    capsys.readouterr()

    assert main(["explain", "shared", "--results", str(results.root)]) == 0
    said = capsys.readouterr().out
    assert "2\timages/s per GPU: 1,000 with 1" in said
    assert "2\t2 at a time are best\tkept" in said
    assert main(["explain", "shared", "--json", "--results", str(results.root)]) == 0
    assert [each["per_gpu"] for each in json.loads(capsys.readouterr().out)["gpus"]] == [2, 2]
    query = "select distinct gpus from trials"
    assert main(["query", query, "--format", "csv", "--results", str(results.root)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["0.125"]
