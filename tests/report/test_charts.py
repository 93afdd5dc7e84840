"""The report's figures say what the words above them say."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from sweep_runner.report import facts
from sweep_runner.report.charts import evaluation, params, progress
from sweep_runner.report.charts.scales import choices, linear, logarithmic
from sweep_runner.report.importance import Importance
from sweep_runner.report.palette import colors, contrast
from sweep_runner.report.plot_data import Confusion, read_curves
from sweep_runner.results.events import EpochReported, SweepChanged, TrialEnded, TrialPaused, TrialStarted
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.tables import load_table
from sweep_runner.spec.model import Objective
from tests.support.drawn import labels, marks, points


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_trial_has_the_strongest_shade(direction: str) -> None:
    study = optuna.create_study(direction=direction)
    spaces = {name: FloatDistribution(0, 1) for name in ("lr", "momentum")}
    for value in (0.1, 0.2, 0.5, 0.7, 0.9):
        study.add_trial(
            optuna.create_trial(params={"lr": value, "momentum": value**2}, distributions=spaces, value=value)
        )
    best, worst = (4, 0) if direction == "maximize" else (0, 4)
    for shown in (params.parallel_coordinates(study, "score", "not known"), params.pair(study, "score", "not known")):
        assert shown is not None
        shades = {trial: int(kind.split(" q")[1]) for kind, own in marks(shown).items() for trial in own}
        assert shades[best] == max(shades.values())
        assert shades[worst] == min(shades.values()) == 0
    for theme, background in (("light", "#ffffff"), ("dark", "#14171a")):
        strengths = [contrast(colors(theme)[f"q{k}"], background) for k in range(params.NUM_SHADES)]
        assert strengths == sorted(strengths), "the better, the further from the background"


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
    best = progress.best_so_far(board)
    curves = progress.learning_curves(board, read_curves(paths, board.ranked, lambda text: None), board.ranked[:1])
    assert best is not None
    assert curves is not None
    assert {kind: list(own) for kind, own in marks(best).items()} == {"dot full": [0, 1], "dot soft": [2]}
    assert {"completed", "paused"} <= set(labels(best))
    drawn = marks(curves)
    assert {kind: list(own) for kind, own in drawn.items()} == {"line full": [1], "dot soft": [2], "line c0": [0]}, (
        "one epoch makes no line: it is seen as a dot"
    )
    assert {len(spots) for spots in (drawn["line full"][1], drawn["line c0"][0])} == {3}
    heights = [points(curves)[trial][0][1] for trial in (0, 1, 2)]
    assert heights == sorted(heights), "the better, the higher"
    assert not re.search(r"\d\.5", " ".join(labels(curves)[-8:])), "there is no epoch 1.5"


def test_the_time_for_shared_features_is_a_bar_of_its_own(tmp_path: Path) -> None:
    paths = SweepPaths(tmp_path / "small")
    paths.root.mkdir()
    with Recorder.open(paths, Objective(), ["lr"], {}) as recorder:
        for trial, shared_s in ((0, 40.0), (1, None)):
            recorder.record(TrialStarted(time=0.0, trial=trial, attempt=1, seed=0, params={"lr": 0.1}))
            metrics = {"val_accuracy": 0.5, "epoch_s": 4.0, **({"shared_s": shared_s} if shared_s else {})}
            recorder.record(EpochReported(time=5.0, trial=trial, attempt=1, epoch=1, metrics=metrics))
            took = 5.0 + (shared_s or 0.0)
            recorder.record(TrialEnded(time=took, trial=trial, attempt=1, state="COMPLETED", duration_s=took))
    results = ResultsPaths(tmp_path)
    board = leaderboard(results, "small")
    assert [row.row["duration_s"] for row in board.ranked] == [5.0, 5.0], "no trial looks slower than another"
    went = facts.where_time_went(board, load_table(results, "epochs", ("small",), lambda text: None))
    assert (went["features shared by trials"], went["training"], sum(went.values())) == (40.0, 8.0, 50.0)


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

    def share_and_unit(said: list[str]) -> tuple[float, str]:
        """Where the first trial stands between the start and the second."""
        shown = progress.best_so_far(board, facts.when_it_ran(paths, said.append))
        assert shown is not None
        left = float(re.findall(r'class="axis" d="M([\d.]+)', shown.svg)[0])
        found = points(shown)
        unit = next(label for label in labels(shown) if label.startswith("minutes"))
        return (found[0][0][0] - left) / (found[1][0][0] - left), unit

    said: list[str] = []
    share, unit = share_and_unit(said)
    assert (round(share, 2), unit, said) == (0.5, "minutes of running, without pauses", [])
    paths.log.write_text("damaged\n" + paths.log.read_text())
    share, unit = share_and_unit(said)
    assert (round(share, 2), unit) == (0.01, "minutes since the first start")
    assert "as if it had run" in said[0]


def _study_of_four_kinds() -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    spaces: dict[str, BaseDistribution] = {
        "width": FloatDistribution(0, 1), "batch": CategoricalDistribution([32, 64]), "alpha": FloatDistribution(0, 1),
        "lr": FloatDistribution(0.1, 1, log=True),
    }  # fmt: skip
    for number in range(1, 7):
        values = {"width": number / 10, "batch": (32, 64)[number % 2], "alpha": 1 / number, "lr": number / 6}
        study.add_trial(optuna.create_trial(params=values, distributions=spaces, value=number / 10))
    return study


LR_MATTERS = [
    Importance("lr", 0.8, 0.6, 0.9, known=True),
    Importance("alpha", 0.2, 0.0, 0.4, known=False),
]


def test_the_most_important_hyperparameter_comes_first_where_it_is_known() -> None:
    study = _study_of_four_kinds()
    order = ["lr", "width", "batch", "alpha"]
    parallel = params.parallel_coordinates(study, "score", LR_MATTERS)
    slices = params.slices(study, "score", LR_MATTERS)
    assert parallel is not None
    assert re.findall('data-name="([^"]+)"', parallel.svg) == ["score", *order]
    assert [shown.title for shown in slices] == order
    for shown in (parallel, slices[0]):
        assert "The most important come first (lr)" in shown.about
    unknown = params.slices(study, "score", "Not known: too few trials.")
    assert unknown[0].title == "width"
    assert "which matter most is not known" in unknown[0].about


def test_a_line_meets_each_axis_at_its_value() -> None:
    shown = params.parallel_coordinates(_study_of_four_kinds(), "score", LR_MATTERS)
    assert shown is not None
    axes = [float(x) for x in re.findall(r'd="M([\d.]+) [\d.]+V[\d.]+" data-name', shown.svg)]
    lines = points(shown)
    assert [x for x, _ in lines[0]] == axes
    by_value = sorted(lines, key=lambda trial: lines[trial][0][1])
    assert by_value == [5, 4, 3, 2, 1, 0], "the best is on top of its axis"
    assert sorted(lines, key=lambda trial: lines[trial][1][1]) == [5, 4, 3, 2, 1, 0], "lr grows with it"
    of_batch = {trial: lines[trial][3][1] for trial in lines}
    assert max(of_batch[trial] for trial in (0, 2, 4)) < min(of_batch[trial] for trial in (1, 3, 5)), "64 above 32"


def test_two_hyperparameters_are_numbers_with_a_range() -> None:
    shown = params.pair(_study_of_four_kinds(), "score", LR_MATTERS)
    assert shown is not None
    assert "lr against width" in shown.about
    of_choices = optuna.create_study(direction="maximize")
    spaces: dict[str, BaseDistribution] = {
        "lr": FloatDistribution(0, 1), "model": CategoricalDistribution(["a", "b"]),
    }  # fmt: skip
    for number in range(1, 7):
        values = {"lr": number / 10, "model": "ab"[number % 2]}
        of_choices.add_trial(optuna.create_trial(params=values, distributions=spaces, value=number / 10))
    assert params.pair(of_choices, "score", "not known") is None


@pytest.mark.parametrize("values", [[1.0], [0.0], [-3.0, 5.0], [1e-9, 2e-9], [1.0, 1e12], [0.98, 0.981]])
def test_every_axis_has_ticks_in_order_and_within_it(values: list[float]) -> None:
    scales = [linear(values), linear(values, zero=True), *([logarithmic(values)] if min(values) > 0 else [])]
    for scale in scales:
        places = [place for place, _ in scale.ticks]
        assert places == sorted(places)
        assert all(0 <= place <= 1 for place in [*places, *(scale.at(value) for value in values)])
        assert len({label for _, label in scale.ticks}) == len(scale.ticks), scale.ticks
    assert choices(["b", "a"]).at("b") < choices(["b", "a"]).at("a"), "as the sweep file has them"


def _confusion(names: tuple[str, ...]) -> Confusion:
    number = len(names)
    matrix = np.eye(number, dtype=np.int64) * 3
    matrix[0, 1] = 1
    ones = (1.0,) * number
    return Confusion("trial 1", "val", names, ones, ones, ones, (3,) * number, matrix, None, ())


def test_a_confusion_matrix_tells_each_cell_and_many_classes_stay_small() -> None:
    shown = evaluation.confusion(_confusion(("cat", "<dog>", "golf & co")))
    assert shown is not None
    assert "actual cat, predicted &lt;dog&gt;: 1 of 4 (25%)" in shown.svg
    assert "<dog>" not in shown.svg
    assert "9 of 10 on the diagonal" in shown.svg
    many = evaluation.confusion(_confusion(tuple(f"class {k}" for k in range(1000))))
    assert many is not None
    assert len(many.svg) < 100_000


def test_what_users_have_named_is_no_markup() -> None:
    study = optuna.create_study(direction="maximize")
    spaces: dict[str, BaseDistribution] = {
        "<b>": FloatDistribution(0, 1), "model": CategoricalDistribution(["</svg><script>", '"']),
    }  # fmt: skip
    for number in range(4):
        values = {"<b>": number / 4, "model": ("</svg><script>", '"')[number % 2]}
        study.add_trial(optuna.create_trial(params=values, distributions=spaces, value=number / 4))
    figures = [params.parallel_coordinates(study, "x<y", "no"), *params.slices(study, "x<y", "no")]
    for shown in figures:
        assert shown is not None
        tags: list[str] = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attributes, tags=tags: tags.append(tag)  # type: ignore[method-assign]
        parser.feed(shown.svg)
        assert set(tags) <= {"svg", "g", "path", "text", "title", "rect"}
