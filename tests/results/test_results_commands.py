from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sweep_runner.cli.main import main
from sweep_runner.cli.trial_view import sparkline
from sweep_runner.durable import SweepLock
from sweep_runner.results.environment import capture_environment, masked
from sweep_runner.results.events import AttemptFailed, FinalEvaluated, TrialEnded, TrialStarted
from sweep_runner.results.history import attempts_of
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths, SweepPaths

MakeSweep = Callable[..., SweepPaths]


class Run:
    """Runs the command in this process on the test's results folder."""

    def __init__(self, results: ResultsPaths, capfd: pytest.CaptureFixture[str]) -> None:
        self._results = results
        self._capfd = capfd
        self.err = ""

    def __call__(self, *args: str, code: int = 0) -> str:
        self._capfd.readouterr()
        assert main([*args, "--results", str(self._results.root)]) == code
        out, self.err = self._capfd.readouterr()
        assert "Traceback" not in self.err
        return out

    def rows(self, *args: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self(*args)), delimiter="\t"))


@pytest.fixture
def run(results: ResultsPaths, capfd: pytest.CaptureFixture[str]) -> Run:
    return Run(results, capfd)


@pytest.fixture
def voc(make_sweep: MakeSweep) -> SweepPaths:
    """Five trials: completed, pruned, failed, infeasible, and a running one; a baseline and a copy besides."""
    return make_sweep(
        "voc",
        [
            {"lr": 0.1, "model": "a"},
            {"lr": 0.2, "model": "b"},
            {"lr": 0.3, "model": "c"},
            {"lr": 9.0, "model": "d"},
            {"lr": 0.4},
        ],
        end=["COMPLETED", "PRUNED", "FAILED", "INFEASIBLE", "RUNNING"],
        state="RUNNING",
        events=[
            TrialStarted(time=1.0, trial=5, attempt=1, seed=1, params={"lr": 0.5}, name="known"),
            AttemptFailed(time=2.0, trial=5, attempt=1, reason="worker died", duration_s=1.0),
            TrialEnded(time=3.0, trial=6, attempt=0, state="COMPLETED", copy_of=0, params={"lr": 0.1, "model": "a"}),
            FinalEvaluated(time=4.0, trial=0, split="test", num_examples=20, metrics={"test_accuracy": 0.75}),
        ],
    )


def test_ls_shows_each_sweep_with_its_state_and_best(run: Run, voc: SweepPaths, make_sweep: MakeSweep) -> None:
    make_sweep("done", [{"lr": 0.1}, {"lr": 0.2}])
    done, interrupted = run.rows("ls")
    assert (done["sweep"], done["state"], done["trials"]) == ("done", "COMPLETED", "2 completed")
    assert (done["best"], done["trial"], done["objective"]) == ("0.12", "1", "val_accuracy")
    assert (interrupted["sweep"], interrupted["state"]) == ("voc", "INTERRUPTED")
    assert interrupted["trials"] == "2 completed, 1 pruned, 2 waiting, 1 failed, 1 infeasible", "nobody runs them"
    with SweepLock(voc.lock):
        assert [row["state"] for row in run.rows("ls")] == ["COMPLETED", "RUNNING"]
    listed = json.loads(run("ls", "--json"))
    assert [(row["sweep"], row["num_failed"], row["best_trial"]) for row in listed] == [("done", 0, 1), ("voc", 1, 4)]


def test_ls_of_an_empty_or_missing_folder_is_friendly(run: Run, results: ResultsPaths) -> None:
    assert run("ls") == ""
    assert "sweep run FILE" in run.err
    assert json.loads(run("ls", "--json")) == []
    results.root.mkdir()
    (results.root / "README.md").write_text("not a sweep")
    assert run("ls") == ""


def test_ls_survives_a_sweep_without_tables_and_a_damaged_one(run: Run, voc: SweepPaths, results: ResultsPaths) -> None:
    new = results.sweep("new")
    new.root.mkdir()
    new.spec.write_text("name: new\n")
    part = voc.table("sweeps") / "part-00000.parquet"
    part.write_bytes(b"damaged")
    assert [(row["sweep"], row["state"]) for row in run.rows("ls")] == [("new", "INTERRUPTED"), ("voc", "UNKNOWN")]
    assert str(part) in run.err
    run("top", "new")
    assert "No trial has a value yet" in run.err
    run("top", "voc", code=1)
    assert str(part) in run.err


def test_top_ranks_what_stands_and_leaves_out_failures_and_copies(run: Run, voc: SweepPaths) -> None:
    rows = run.rows("top", "voc")
    assert [(row["rank"], row["trial"], row["state"]) for row in rows] == [
        ("1", "4", "WAITING"),
        ("2", "1", "PRUNED"),
        ("3", "0", "COMPLETED"),
    ]
    assert "sweep resume voc" in run.err
    assert (rows[1]["val_accuracy"], rows[1]["lr"], rows[1]["model"], rows[1]["epoch"]) == ("0.12", "0.2", "b", "2")
    assert (rows[2]["test_accuracy"], rows[1]["test_accuracy"]) == ("0.75", "")
    assert "train_loss" not in rows[0]
    assert len(run.rows("top", "voc", "--limit", "1")) == 1
    board = json.loads(run("top", "voc", "--json"))
    assert [row["trial"] for row in board["trials"]] == [4, 1, 0]
    assert {row["trial"]: row["state"] for row in board["unranked"]} == {
        2: "FAILED",
        3: "INFEASIBLE",
        5: "WAITING",
        6: "COMPLETED",
    }
    assert board["trials"][1]["params"] == {"lr": 0.2, "model": "b"}
    assert board["trials"][1]["metrics"]["val_loss"] == 1.0


def test_a_baseline_is_marked(run: Run, make_sweep: MakeSweep) -> None:
    from sweep_runner.results.events import EpochReported

    make_sweep(
        "base",
        [{"lr": 0.1}],
        events=[
            TrialStarted(time=1.0, trial=1, attempt=1, seed=1, params={"lr": 0.5}, name="known"),
            EpochReported(time=2.0, trial=1, attempt=1, epoch=1, metrics={"val_accuracy": 0.9}),
        ],
    )
    best, other = run.rows("top", "base")
    assert (best["name"], other["name"]) == ("◆ known", "")


def test_a_smaller_objective_can_be_better(results: ResultsPaths, new_sweep: Callable[[str], SweepPaths]) -> None:
    from sweep_runner.results.events import EpochReported
    from sweep_runner.results.recorder import Recorder
    from sweep_runner.spec.model import Objective

    with Recorder(new_sweep("min"), Objective(metric="val_loss", mode="min"), [], {}) as recorder:
        for trial, loss in enumerate([0.5, float("nan"), 0.2, 0.2, float("inf")]):
            recorder.record(TrialStarted(time=1.0, trial=trial, attempt=1, seed=1, params={}))
            recorder.record(EpochReported(time=2.0, trial=trial, attempt=1, epoch=1, metrics={"val_loss": loss}))
    board = leaderboard(results, "min")
    assert [(row.rank, row.trial) for row in board.ranked] == [(1, 2), (2, 3), (3, 0)]
    assert [row.trial for row in board.unranked] == [1, 4]


def test_many_trials_are_ranked_as_few_are(
    voc: SweepPaths, results: ResultsPaths, make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = leaderboard(results, "voc")
    monkeypatch.setattr("sweep_runner.results.leaderboard._FEW", 0)  # so that four are many
    many = leaderboard(results, "voc")
    assert list(many.ranked) == list(few.ranked)
    assert list(many.unranked) == list(few.unranked)
    assert [row.rank for row in many.ranked] == list(range(1, len(few.ranked) + 1))
    assert many.ranked[0] == few.ranked[0]
    assert many.ranked[-1] == few.ranked[-1] == many.ranked[len(few.ranked) - 1]
    assert many.trial(few.unranked[0].trial) == few.unranked[0]
    assert (many.names, many.best_epochs) == (few.names, few.best_epochs)


def test_show_tells_everything_of_a_trial(run: Run, voc: SweepPaths) -> None:
    (voc.attempt(0, 1) / "checkpoints").mkdir(parents=True)
    shown = run("show", "voc", "0")
    assert "voc trial 0: COMPLETED, rank 3 of 3" in shown
    assert "val_accuracy 0.02 at epoch 2" in shown
    assert "lr     0.1" in shown
    assert "▁█" in shown
    assert str(voc.attempt(0, 1)) in shown
    told = json.loads(run("show", "voc", "0", "--json"))
    assert told["params"] == {"lr": 0.1, "model": "a"}
    assert [epoch["val_accuracy"] for epoch in told["epochs_reported"]] == [0.01, 0.02]
    assert told["attempts"][0]["outcome"] == "COMPLETED"
    assert told["metrics"]["test_accuracy"] == 0.75
    assert "worker died" in run("show", "voc", "5")
    assert "trial 6: COMPLETED" in run("show", "voc", "6")


def test_attempts_are_told_apart(voc: SweepPaths) -> None:
    (attempt,) = attempts_of(voc, 5)
    assert (attempt.number, attempt.outcome, attempt.reason, attempt.duration_s) == (1, "FAILED", "worker died", 1.0)
    (running,) = attempts_of(voc, 4)
    assert (running.outcome, running.duration_s) == ("RUNNING", None)
    assert attempts_of(voc, 99) == []
    assert attempts_of(voc, 4, runs=False)[-1].outcome == "INTERRUPTED", "nothing runs any more"


@pytest.mark.parametrize("command", [("top", "vok"), ("show", "vok", "0")])
def test_an_unknown_sweep_is_answered_with_the_nearest(run: Run, voc: SweepPaths, command: Sequence[str]) -> None:
    run(*command, code=2)
    assert "'vok'" in run.err
    assert "did you mean 'voc'" in run.err


@pytest.mark.parametrize("name", ["../voc", "/etc", ".", "", "zzz"])
def test_a_name_that_is_none_is_answered_with_what_there_is(run: Run, voc: SweepPaths, name: str) -> None:
    run("top", name, code=2)
    assert "voc" in run.err


def test_an_unknown_trial_is_answered_with_those_that_exist(run: Run, voc: SweepPaths) -> None:
    run("show", "voc", "77", code=2)
    assert "no trial 77" in run.err
    assert "0-6" in run.err


def test_no_sweep_at_all_says_what_to_do(run: Run) -> None:
    for command in (("top", "x"), ("show", "x", "0"), ("query", "select 1")):
        run(*command, code=2)
        assert "sweep run FILE" in run.err


def test_query_gives_every_format(run: Run, voc: SweepPaths, tmp_path: Path) -> None:
    sql = "select trial, lr, model, started, best_val_accuracy from trials where trial < 2 order by trial"
    assert [row["model"] for row in run.rows("query", sql)] == ["a", "b"]
    assert list(csv.DictReader(io.StringIO(run("query", sql, "--format", "csv"))))[1]["lr"] == "0.2"
    assert json.loads(run("query", sql, "--format", "json"))[0]["best_val_accuracy"] == 0.02
    assert json.loads(run("query", "select * from trials where trial < 0", "--format", "json")) == []
    target = tmp_path / "out.parquet"
    assert run("query", sql, "--format", "parquet", "--output", str(target)) == ""
    assert pq.ParquetFile(target).read()["trial"].to_pylist() == [0, 1]
    assert "2 rows" in run.err


def test_query_writes_nan_lists_and_columns_of_one_name(run: Run, voc: SweepPaths) -> None:
    sql = "select 'nan'::double x, [1.5, 'nan'::double] y, {'a': 1} z, 1 as d, 2 as d, 'a\tb' t"
    assert json.loads(run("query", sql, "--format", "json"))[0]["x"] is None
    assert json.loads(run.rows("query", sql)[0]["y"]) == [1.5, None]
    (row,) = csv.reader(io.StringIO(run("query", sql, "--format", "csv").split("\n", 1)[1]))
    assert row[2:5] == ['{"a": 1}', "1", "2"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "--list"),
        (("select 1", "--list"), "--list"),
        (("select 1", "--format", "csv", "-o", "x.parquet"), "looks like parquet"),
        (("select 1", "-o", "/nowhere/at/all.txt"), "does not exist"),
        (("drop table trials",), "DROP is refused"),
        (("select nope from trials",), "nope"),
    ],
)
def test_a_wrong_query_request_is_refused(run: Run, voc: SweepPaths, args: Sequence[str], message: str) -> None:
    run("query", *args, code=2)
    assert message in run.err


def test_query_list_shows_tables_and_columns(run: Run, voc: SweepPaths) -> None:
    listed = {(row["table"], row["column"]) for row in run.rows("query", "--list")}
    assert {("trials", "lr"), ("trials", "best_val_accuracy"), ("epochs", "val_loss"), ("classes", "f1")} <= listed


@pytest.mark.parametrize("args", [["ls"], ["top", "voc"], ["top", "voc", "--json"]])
def test_the_quick_commands_import_nothing_heavy(voc: SweepPaths, results: ResultsPaths, args: list[str]) -> None:
    code = f"""
import sys
from sweep_runner.cli.main import main
main({[*args, "--results", str(results.root)]!r})
heavy = ["torch", "ray", "optuna", "pydantic", "duckdb", "pandas", "sklearn", "pyarrow.dataset", "pyarrow.compute"]
print("imported", [name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported []"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["sweep", "run", "a.yaml"], "sweep run a.yaml"),
        (["sweep", "run", "--set", "hub.token=abc"], "sweep run --set hub.token=***"),
        (["sweep", "--set", "data.api_key=x y"], "sweep --set data.api_key=***"),
        (["sweep", "--password", "hunter2", "--quiet"], "sweep --password *** --quiet"),
        (["sweep", "--token=abc"], "sweep --token=***"),
        (["sweep", "--set", "data.root=https://me:pw@host/x"], "sweep --set data.root=https://***@host/x"),
        (["sweep", "--set", "data.x={id: 1, api_key: zz}"], "sweep --set 'data.x={id: 1, api_key: ***}'"),
        (["sweep", "--set", "data.u=https://h/x?a=1&sig=zz"], "sweep --set data.u=https://h/x?a=1&sig=***"),
        (["sweep", "--set", "data.h=Bearer zz"], "sweep --set 'data.h=Bearer ***'"),
        (["sweep", "--set", "data.hub=hf_abcdefghijkl"], "sweep --set data.hub=***"),
        (["sweep", "--set", "data.root=/my folder"], "sweep --set 'data.root=/my folder'"),
        (["sweep", "--set", "space.lr={low: 1e-5}"], "sweep --set 'space.lr={low: 1e-5}'"),
    ],
)
def test_secrets_in_the_command_are_masked(command: list[str], shown: str) -> None:
    assert masked(command) == shown


def test_the_environment_tells_versions_commit_and_hardware_but_no_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_VARIABLE", "its-value")
    monkeypatch.chdir(tmp_path)
    outside: dict[str, Any] = capture_environment(["sweep", "run"])
    assert outside["git_commit"] is None
    assert outside["versions"]["torch"]
    assert outside["num_cpus"] >= 1
    assert "its-value" not in json.dumps(outside)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    (tmp_path / "file").write_text("x")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True, env={**os.environ, "HOME": str(tmp_path)})
    clean = capture_environment([])
    assert len(clean["git_commit"]) == 40
    assert clean["git_dirty"] is False
    (tmp_path / "file").write_text("y")
    assert capture_environment([])["git_dirty"] is True


def test_a_sparkline_spans_the_values() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([None, float("nan"), 1.0, 2.0]) == "··▁█"
    assert sparkline([]) == ""
    assert len(sparkline([float(number) for number in range(1000)])) == 60
