"""Many trials in a small version of `benchmarks/load.py`: what a driver keeps and does must not grow with them."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.generate_results import generate
from benchmarks.load import Course, drive, open_keeper, spec_of
from sweep_runner.cli.main import main
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.results.leaderboard import leaderboard, sweep_rows
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.query import run_query
from sweep_runner.search.failures import Shown
from tests.support.sweeps import log_of


@pytest.mark.parametrize(("sampler", "pruner"), [("random", "none"), ("random", "successive_halving"), ("tpe", "none")])
def test_every_trial_and_report_of_a_large_sweep_is_there(sampler: str, pruner: str, tmp_path: Path) -> None:
    course = Course()
    with open_keeper(spec_of(sampler, 60, 10, pruner), tmp_path / "load") as keeper:
        drive(keeper, course)
    events = log_of(tmp_path / "load")
    reports = [(event["trial"], event["epoch"]) for event in events if event["kind"] == "epoch"]
    assert len(reports) == len(set(reports)) == course.num_reports
    assert sorted(event["trial"] for event in events if event["kind"] == "end") == list(range(60))
    assert (course.num_reports == 600) == (pruner == "none")


@pytest.fixture
def calls_per_trial(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], list[int]]:
    """How many lines of the study's file each trial of a sweep reads back, by decoded records."""

    def run(sampler: str, root: Path) -> list[int]:
        counts: list[int] = []
        count = 0
        loads = json.loads

        def counted(text: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            return loads(text, **options)

        monkeypatch.setattr("sweep_runner.search.journal.json.loads", counted)
        with open_keeper(spec_of(sampler, 80, 3), root) as keeper:
            on_message = keeper.on_message

            def noted(number: int, message: Any) -> bool:
                nonlocal count
                go_on = on_message(number, message)
                if not go_on:
                    counts.append(count)
                    count = 0
                return go_on

            monkeypatch.setattr(keeper, "on_message", noted)
            drive(keeper, Course())
        return counts

    return run


def test_a_trial_reads_back_its_own_records_only(
    calls_per_trial: Callable[[str, Path], list[int]], tmp_path: Path
) -> None:
    counts = calls_per_trial("random", tmp_path / "load")
    assert max(counts[60:]) <= max(counts[:20])


def test_what_tpe_models_is_bounded_and_depends_on_the_trials_alone(tmp_path: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    step_by_step = Shown(20)
    for number in range(100):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, (number * 37 % 100) / 100)
        study.ask()  # one that runs
        seen = step_by_step.of(study.get_trials(deepcopy=False), maximize=True)
    trials = study.get_trials(deepcopy=False)
    assert [trial.number for trial in Shown(20).of(trials, maximize=True)] == [trial.number for trial in seen]
    finished = [trial for trial in seen if trial.state.is_finished()]
    assert len(seen) - len(finished) == 100
    assert len(finished) < 100
    best = sorted(trials, key=lambda trial: -(trial.value or 0))[:10]
    assert {trial.number for trial in best} <= {trial.number for trial in finished}


def test_a_report_that_the_disk_lost_from_the_study_comes_back_from_the_log(tmp_path: Path) -> None:
    """The study does not wait for the disk after a report. The log does."""
    spec = spec_of("random", 3, 4, "median")
    root = tmp_path / "load"

    def stop_after(keeper: Keeper, count: int) -> None:
        class Stop(Exception):
            pass

        on_message = keeper.on_message
        left = iter(range(count))

        def counted(number: int, message: Any) -> bool:
            if next(left, None) is None:
                raise Stop
            return on_message(number, message)

        keeper.on_message = counted  # type: ignore[method-assign]
        with pytest.raises(Stop):
            drive(keeper, Course())

    with open_keeper(spec, root) as keeper:
        stop_after(keeper, 6)
    journal = root / "study.journal"
    kept = [line for line in journal.read_bytes().splitlines(keepends=True) if b'"op_code":7' not in line]
    journal.write_bytes(b"".join(kept))
    with open_keeper(spec, root) as keeper:
        drive(keeper, Course())
        found = {trial.number: dict(trial.intermediate) for trial in keeper._books.study.trials()}
    reports: dict[int, dict[int, float]] = {}
    for event in log_of(root):
        if event["kind"] == "epoch":
            reports.setdefault(event["trial"], {})[event["epoch"]] = event["metrics"]["val_accuracy"]
    assert found == reports


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResultsPaths]:
    results = ResultsPaths(tmp_path_factory.mktemp("many"))
    generate(results, num_sweeps=12, num_trials=20, num_epochs=5)
    yield results
    gc.collect()


def test_generated_results_are_what_the_commands_read(many: ResultsPaths, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row.state for row in sweep_rows(many)] == ["COMPLETED"] * 12
    board = leaderboard(many, "sweep-003")
    assert len(board.ranked) == 20
    counts = run_query(many, "select count(*) n, count(distinct sweep) s from epochs").to_pylist()
    assert counts == [{"n": 12 * 20 * 5, "s": 12}]
    by_pooling = run_query(many, "select pooling, max(best_val_accuracy) from trials group by pooling").to_pylist()
    assert {row["pooling"] for row in by_pooling} == {"avg", "max", None}
    assert main(["query", "select count(*) n from trials", "--format", "csv", "--results", str(many.root)]) == 0
    assert capsys.readouterr().out.split() == ["n", "240"]


def test_a_query_imports_no_pandas(many: ResultsPaths) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from sweep_runner.cli.main import main; "
        f"code = main(['query', 'select count(*) from epochs', '--results', {str(many.root)!r}]); "
        "sys.exit(code or ('pandas' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
