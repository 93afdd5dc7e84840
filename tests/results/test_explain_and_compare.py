"""`sweep explain` tells why a trial stopped; `sweep compare` what differs, and whether it is more than chance."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.cli.main import main
from sweep_runner.results.events import EpochReported, Event, TrialEnded, TrialStarted
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.loader import dump_spec, load_spec
from sweep_runner.spec.model import Objective
from tests.support.evaluated import write_evaluated_sweep

SPEC = """\
name: duel
trainable: synthetic
space: {lr: {low: 0.1, high: 1.0}}
objective: {metric: val_accuracy, mode: max}
search: {sampler: random, trials: 4}
pruner: {kind: successive_halving, min_epochs: 1, reduction_factor: 2}
"""
REASON = "the pruner stopped it"
Sweep = Callable[..., str]
TrialEvents = Callable[[int, dict[str, Any], int, str], list[Event]]


@pytest.fixture
def sweep(results: ResultsPaths, capfd: pytest.CaptureFixture[str]) -> Sweep:
    """Runs a command on the test's results folder: what it prints as result, or with `code` what it tells."""

    def run(*arguments: str, code: int = 0) -> str:
        capfd.readouterr()
        assert main([*arguments, "--results", str(results.root)]) == code
        out, told = capfd.readouterr()
        assert "Traceback" not in told
        assert not (code and out)
        return told if code else out

    return run


@pytest.fixture
def duel(make_sweep: Callable[..., SweepPaths], trial_events: TrialEvents, tmp_path: Path) -> SweepPaths:
    """Trial 0 is held against trials 3 and 2 at its first epoch and stopped; trial 1 comes later; 4 breaks."""
    pruned = trial_events(0, {"lr": 0.1}, 1, "RUNNING")
    broken = trial_events(4, {"lr": 0.4}, 0, "RUNNING")
    paths = make_sweep(
        "duel",
        [],
        events=[
            *trial_events(3, {"lr": 0.9}, 2, "COMPLETED"),
            *trial_events(2, {"lr": 0.5}, 2, "COMPLETED"),
            *pruned,
            TrialEnded(time=1e4, trial=0, attempt=1, state="PRUNED", reason=REASON, duration_s=1.0),
            *trial_events(1, {"lr": 0.2}, 1, "RUNNING"),
            *broken,
            TrialEnded(time=1e4, trial=4, attempt=1, state="FAILED", reason="the flux is off", duration_s=1.0),
        ],
    )
    file = tmp_path / "duel.yaml"
    file.write_text(SPEC)
    paths.spec.write_text(dump_spec(load_spec(file).spec))
    return paths


def test_a_pruned_trial_tells_rung_threshold_and_rivals(sweep: Sweep, duel: SweepPaths) -> None:
    head, decisions, rivals = _blocks(sweep("explain", "duel", "0"), ("rung (epoch)\t", "competitor\t"))
    assert head == f"duel trial 0: stopped by the pruner after 1 epoch: {REASON}\n"
    assert _rows(decisions) == [
        {
            "rung (epoch)": "1",
            "val_accuracy": "0.01",
            "needed": "0.31",
            "rank": "3 of 3",
            "continue": "1",
            "verdict": "stopped",
        }
    ]
    assert [(row["competitor"], row["val_accuracy"], row[""]) for row in _rows(rivals)] == [
        ("trial 3", "0.31", "★"),
        ("trial 2", "0.21", ""),
    ], "trial 1 came later"


def test_json_tells_the_same(sweep: Sweep, duel: SweepPaths) -> None:
    told = json.loads(sweep("explain", "duel", "0", "--json"))
    assert (told["state"], told["reason"], told["epochs"]) == ("PRUNED", REASON, 1)
    assert told["rungs"] == [
        {
            "epoch": 1,
            "mode": "max",
            "value": 0.01,
            "rivals": {"3": 0.31, "2": 0.21},
            "num_kept": 1,
            "place": 3,
            "threshold": 0.31,
            "passed": False,
            "again": False,
            "verdict": "stopped",
        }
    ]


def test_a_trial_that_went_on_tells_the_rungs_that_it_passed(sweep: Sweep, duel: SweepPaths) -> None:
    said = sweep("explain", "duel", "3")
    assert said.startswith("duel trial 3: ran to its end, 2 epochs\n")
    assert "nothing" in said, "it was the first: nothing was needed"
    assert "went on" in said
    assert "stopped" not in said


def test_a_trial_that_was_better_before_its_rung_says_so(
    sweep: Sweep, results: ResultsPaths, make_sweep: Callable[..., SweepPaths], capfd: pytest.CaptureFixture[str]
) -> None:
    paths = make_sweep("fell", [{"lr": 0.1}], epochs=1, state="RUNNING", end=["RUNNING"])
    with Recorder.open(paths, Objective(), ["lr"], {}) as recorder:
        worse = {"val_accuracy": 0.001}
        recorder.record(EpochReported(time=1e4, trial=0, attempt=1, epoch=2, metrics=worse))
        recorder.record(TrialEnded(time=1e4, trial=0, attempt=1, state="PRUNED", reason=REASON, duration_s=1.0))
    (paths.root / "fell.yaml").write_text(SPEC.replace("name: duel", "name: fell").replace("epochs: 1", "epochs: 2"))
    paths.spec.write_text(dump_spec(load_spec(paths.root / "fell.yaml").spec))
    capfd.readouterr()
    assert main(["explain", "fell", "0", "--results", str(results.root)]) == 0
    assert "ranks it by its best epoch (0.01 at epoch 1)" in capfd.readouterr().err


def test_a_failed_trial_tells_its_reason(sweep: Sweep, duel: SweepPaths) -> None:
    assert "failed: the flux is off" in sweep("explain", "duel", "4")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("explain", "dule", "0"), "did you mean 'duel'"),
        (("explain", "duel", "77"), "no trial 77"),
        (("explain", "duel", "adam"), "no baseline 'adam'"),
        (("compare", "duel", "dule"), "did you mean 'duel'"),
        (("compare", "duel/0", "duel/77"), "no trial 77"),
        (("compare", "duel/0", "duel/adam"), "no baseline 'adam'"),
        (("compare", "duel", "duel/3"), "the same trial (3)"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(
    sweep: Sweep, duel: SweepPaths, arguments: Sequence[str], told: str
) -> None:
    assert told in sweep(*arguments, code=2)


def test_two_trials_differ_in_params_and_metrics(sweep: Sweep, duel: SweepPaths) -> None:
    rows = {(row["kind"], row["what"]): row for row in _rows(sweep("compare", "duel/2", "duel/3"))}
    assert set(next(iter(rows.values()))) == {"kind", "what", "trial 2", "trial 3", "difference"}
    param, metric = rows["param", "lr"], rows["metric", "val_accuracy"]
    assert (param["trial 2"], param["trial 3"]) == ("0.5", "0.9")
    assert (metric["trial 2"], metric["trial 3"], metric["difference"]) == ("0.22", "0.32", "0.1")
    told = json.loads(sweep("compare", "duel/2", "duel/3", "--json"))
    assert told["params"] == {"lr": [0.5, 0.9]}
    assert "no predictions" in told["significance"], "neither was evaluated"


def test_sweeps_stand_for_their_best_trials_and_are_held_against_each_other_on_the_same_examples(
    sweep: Sweep, results: ResultsPaths
) -> None:
    write_evaluated_sweep(results.root, ("basket", "golf", "tennis"), name="weak", num_others=1)
    write_evaluated_sweep(results.root, ("basket", "golf", "tennis"), name="same", num_others=1)
    told = json.loads(sweep("compare", "same", "weak", "--json"))
    assert (told["first"], told["second"]) == (
        {"sweep": "same", "trial": 2, "name": None},
        {"sweep": "weak", "trial": 2, "name": None},
    )
    tested = told["significance"]
    assert (tested["split"], tested["num_examples"], tested["difference"]) == ("test", 400, 0.0)
    assert tested["significant"] is False, "the models are alike"
    *_, verdict = sweep("compare", "weak/adam-max", "weak").splitlines()
    assert "val examples" in verdict, "a baseline is evaluated on val only"
    assert verdict.endswith(("is significantly better", "is not significant"))


def _blocks(printed: str, headings: Sequence[str]) -> list[str]:
    """Cuts what was printed before each heading."""
    places = [0, *(printed.index(heading) for heading in headings), len(printed)]
    return [printed[start:end] for start, end in pairwise(places)]


def _rows(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table), delimiter="\t"))


def test_what_one_sweep_fixes_and_the_other_searches_is_no_gap(
    make_sweep: Callable[..., SweepPaths], sweep: Sweep
) -> None:
    for name, params, fixed, folds in (("one", {"lr": 0.1}, {"momentum": 0.9}, 5), ("two", {"momentum": 0.8}, {}, 4)):
        paths = make_sweep(name, [params])
        paths.spec.write_text(
            f"name: {name}\ndata: {{split: {{folds: {folds}}}}}\nfixed: {json.dumps(fixed)}\n"
            "space: {lr: [0.1, 0.2]}\n"
        )
    told = json.loads(sweep("compare", "one", "two", "--json"))
    assert told["params"] == {"momentum": [0.9, 0.8], "lr": [0.1, None]}


def test_a_metric_over_folds_is_one_row_with_its_deviation(sweep: Sweep, results: ResultsPaths) -> None:
    paths = results.sweep("folds")
    paths.root.mkdir(parents=True)
    with Recorder.open(paths, Objective(), ["lr"], {}) as recorder:
        for trial in (0, 1):
            recorder.record(TrialStarted(time=1.0, trial=trial, attempt=1, seed=0, params={"lr": 0.1 + trial}))
            metrics = {"val_accuracy": 0.5 + trial / 10, "val_accuracy_std": 0.0412 + trial / 100, "val_loss": 1.0}
            recorder.record(EpochReported(time=2.0, trial=trial, attempt=1, epoch=1, metrics=metrics))
            recorder.record(TrialEnded(time=3.0, trial=trial, attempt=1, state="COMPLETED"))
    rows = {row["what"]: row for row in _rows(sweep("compare", "folds/0", "folds/1"))}
    assert "val_accuracy_std" not in rows
    assert (rows["val_accuracy"]["trial 0"], rows["val_accuracy"]["trial 1"]) == ("0.5 ± 0.041", "0.6 ± 0.051")
    assert rows["val_accuracy"]["difference"] == "0.1"
    assert rows["val_loss"]["trial 0"] == "1"
