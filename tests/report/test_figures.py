"""The report's figures say what the words above them say."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from sweep_runner.report import facts, figures
from sweep_runner.report.importance import Importance
from sweep_runner.report.plot_data import read_curves
from sweep_runner.results.events import EpochReported, SweepChanged, TrialEnded, TrialPaused, TrialStarted
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_trial_has_the_strongest_color(direction: str) -> None:
    study = optuna.create_study(direction=direction)
    spaces = {name: FloatDistribution(0, 1) for name in ("lr", "momentum")}
    for value in (0.1, 0.2, 0.5, 0.7, 0.9):
        study.add_trial(
            optuna.create_trial(params={"lr": value, "momentum": value**2}, distributions=spaces, value=value)
        )
    parallel = figures.parallel_coordinates(study, "score", "not known")
    contour = figures.contour(study, "score", "not known")
    assert parallel is not None
    assert contour is not None
    lines = {float(line.customdata[0][1]): line.line.color for line in parallel.figure.data if line.customdata}
    best, worst = (0.9, 0.1) if direction == "maximize" else (0.1, 0.9)
    assert lines[best].replace(".0", "").replace(" ", "") == figures.ORANGE_RGB
    assert lines[worst].replace(".0", "").replace(" ", "") == "rgb(150,150,150)"
    assert bool(contour.figure.data[0].reversescale) == (direction == "minimize"), "dark is the end of the scale"


def test_a_paused_trial_is_drawn_as_what_it_is(tmp_path: Path) -> None:
    paths = SweepPaths(tmp_path / "small")
    paths.root.mkdir()
    with Recorder.open(paths, Objective(), ["lr"], {}) as recorder:
        for trial, epochs in ((0, 3), (1, 3), (2, 1)):
            recorder.record(TrialStarted(time=1.0, trial=trial, attempt=1, seed=0, params={"lr": 0.1}))
            for epoch in range(1, epochs + 1):
                metrics = {"val_accuracy": 0.9 - trial / 10}
                recorder.record(EpochReported(time=2.0, trial=trial, attempt=1, epoch=epoch, metrics=metrics))
        for trial in (0, 1):
            recorder.record(TrialEnded(time=3.0, trial=trial, attempt=1, state="COMPLETED"))
        recorder.record(TrialPaused(time=3.0, trial=2, attempt=1, epoch=1, reason="rung at epoch 1"))
    board = leaderboard(ResultsPaths(tmp_path), "small")
    best = figures.best_so_far(board)
    curves = figures.learning_curves(board, read_curves(paths, board.ranked, lambda text: None), board.ranked[:1])
    assert best is not None
    assert curves is not None
    points = {trace.name: list(trace.y) for trace in best.figure.data}
    assert (points["completed"], points["paused"]) == ([0.9, 0.8], [0.7])
    paused = next(trace for trace in curves.figure.data if trace.name == "pruned or paused")
    assert "markers" in paused.mode
    assert paused.marker.size[0] > 0, "one epoch makes no line: it is seen as a dot"
    assert curves.figure.layout.xaxis.dtick == 1
    lines = {trace.name: [value for value in trace.y if value is not None] for trace in curves.figure.data}
    assert (lines["pruned or paused"], lines["completed"]) == ([0.7], [0.8] * 3)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_pause_takes_no_room_in_best_so_far(tmp_path: Path, is_killed: bool) -> None:
    paths = SweepPaths(tmp_path / "small")
    paths.root.mkdir()
    with Recorder.open(paths, Objective(), ["lr"], {}) as recorder:
        for trial, start in ((0, 1_000.0), (1, 10_000.0)):
            recorder.record(SweepChanged(time=start, state="RUNNING"))
            recorder.record(TrialStarted(time=start, trial=trial, attempt=1, seed=0, params={"lr": 0.1}))
            metrics = {"val_accuracy": 0.5}
            recorder.record(EpochReported(time=start + 60, trial=trial, attempt=1, epoch=1, metrics=metrics))
            recorder.record(TrialEnded(time=start + 60, trial=trial, attempt=1, state="COMPLETED"))
            if not is_killed:
                recorder.record(SweepChanged(time=start + 60, state="INTERRUPTED"))
    board = leaderboard(ResultsPaths(tmp_path), "small")

    def drawn(said: list[str]) -> tuple[list[float], str]:
        shown = figures.best_so_far(board, facts.when_it_ran(paths, said.append))
        assert shown is not None
        return list(shown.figure.data[-1].x), shown.figure.layout.xaxis.title.text

    said: list[str] = []
    assert drawn(said) == ([1.0, 2.0], "minutes of running, without pauses")
    assert said == []
    paths.log.write_text("damaged\n" + paths.log.read_text())
    assert drawn(said) == ([1.0, 151.0], "minutes since the first start")
    assert "as if it had run" in said[0]


def _study_of_four_kinds() -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    spaces: dict[str, BaseDistribution] = {
        "width": FloatDistribution(0, 1), "batch": CategoricalDistribution([32, 64]), "alpha": FloatDistribution(0, 1),
        "lr": FloatDistribution(0.1, 1, log=True),
    }  # fmt: skip
    for number in range(1, 7):
        params = {"width": number / 10, "batch": (32, 64)[number % 2], "alpha": 1 / number, "lr": number / 6}
        study.add_trial(optuna.create_trial(params=params, distributions=spaces, value=number / 10))
    return study


LR_MATTERS = [
    Importance("lr", 0.8, 0.6, 0.9, known=True),
    Importance("alpha", 0.2, 0.0, 0.4, known=False),
]


def test_the_most_important_hyperparameter_comes_first_where_it_is_known() -> None:
    study = _study_of_four_kinds()
    order = ["lr", "width", "batch", "alpha"]
    parallel = figures.parallel_coordinates(study, "score", LR_MATTERS)
    slices = figures.slices(study, "score", LR_MATTERS)
    assert parallel is not None
    assert slices is not None
    assert list(parallel.figure.layout.xaxis.ticktext) == ["score", *order]
    line = next(trace for trace in parallel.figure.data if trace.customdata is not None)
    assert [cell[0] for cell in line.customdata] == ["score", *order]
    titles = [slices.figure.layout[f"xaxis{number or ''}"].title.text for number in ("", 2, 3, 4)]
    assert titles == order
    for shown in (parallel, slices):
        assert "The most important come first (lr)" in shown.about
    unknown = figures.slices(study, "score", "Not known: too few trials.")
    assert unknown is not None
    assert unknown.figure.layout.xaxis.title.text == "width"
    assert "which matter most is not known" in unknown.about


def test_values_lie_on_the_axis_of_their_hyperparameter() -> None:
    shown = figures.parallel_coordinates(_study_of_four_kinds(), "score", LR_MATTERS)
    assert shown is not None
    ends = {round(note.x): note.text for note in shown.figure.layout.annotations if note.text in ("32", "64")}
    assert list(ends) == [3], "batch is the third hyperparameter"


def test_a_contour_is_drawn_over_ranges_of_numbers_alone() -> None:
    study = _study_of_four_kinds()
    shown = figures.contour(study, "score", LR_MATTERS)
    assert shown is not None
    assert "over lr and width" in shown.about
    choices = optuna.create_study(direction="maximize")
    spaces: dict[str, BaseDistribution] = {
        "lr": FloatDistribution(0, 1), "model": CategoricalDistribution(["a", "b"]),
    }  # fmt: skip
    for number in range(1, 7):
        params = {"lr": number / 10, "model": "ab"[number % 2]}
        choices.add_trial(optuna.create_trial(params=params, distributions=spaces, value=number / 10))
    assert figures.contour(choices, "score", "not known") is None
