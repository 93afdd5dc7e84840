"""`sweep plots` as a user meets it: which files, and what can be read in them. (SVG keeps its text as text.)"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from sweep_runner.cli.main import main
from sweep_runner.report.plot_data import read_confusion
from sweep_runner.results.events import EpochReported, TrialEnded, TrialStarted
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective
from tests.support.evaluated import write_evaluated_sweep

BALLS = ["baseball", "basketball", "golf", "tennis"]


def plots(results: Path, *arguments: str | Path, code: int = 0) -> None:
    assert main(["plots", *map(str, arguments), "--results", str(results)]) == code


def drawn(folder: Path) -> dict[str, str]:
    """The text of each SVG file, by its name."""
    return {path.stem: " ".join(re.findall(r"<text[^>]*>([^<]*)", path.read_text())) for path in folder.glob("*.svg")}


@pytest.fixture(scope="module")
def balls(tmp_path_factory: pytest.TempPathFactory) -> SweepPaths:
    """A sweep to read: five trials, two of them baselines. Figures of it go elsewhere."""
    return write_evaluated_sweep(tmp_path_factory.mktemp("results"), BALLS)


def test_the_best_trial_and_the_baselines_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write_evaluated_sweep(tmp_path, BALLS)
    plots(tmp_path, "balls", "--format", "svg")
    texts = drawn(paths.plots)
    printed = capsys.readouterr().out.split()
    assert sorted(printed) == sorted(str(paths.plots / f"{stem}.svg") for stem in texts)
    about = ("confusion", "pairs", "classes")
    assert set(texts) == {
        "curves",
        *(f"trial-{number}-curves" for number in (0, 1, 4)),
        *(f"trial-{number}-val-{what}" for number in (0, 1, 4) for what in about),
        *(f"trial-4-test-{what}" for what in about),
    }
    assert "Learning curves of 5 trials" in texts["curves"]
    for title in ("trial 4", "trial 0 · adam-max", "trial 1 · sgd-avg"):
        assert title in texts["curves"]
    assert "best epoch" in texts["trial-0-curves"]
    assert "train" in texts["trial-0-curves"]
    for name in BALLS:
        assert name in texts["trial-4-test-confusion"]
        assert name in texts["trial-4-test-classes"]
    assert re.search(r"test: \d+ of 400 right \(\d+ %\)", texts["trial-4-test-confusion"])
    assert "baseball → basketball" in texts["trial-0-val-pairs"]
    # Figures of named trials leave those of all as they are.
    plots(tmp_path, "balls", "2", "--trial", "adam-max", "--format", "svg")
    assert "Learning curves of 5 trials" in drawn(paths.plots)["curves"]
    assert "Learning curves of 2 trials" in drawn(paths.plots)["curves-of-2-0"]


def test_the_confusion_matrix_is_the_tables(balls: SweepPaths) -> None:
    results = ResultsPaths(balls.root.parent)
    row = leaderboard(results, "balls").trial(4)
    confusion = read_confusion(balls, row, "test", warn=pytest.fail)
    assert confusion is not None
    assert confusion.matrix is not None
    assert confusion.matrix.sum() == 400
    assert confusion.matrix.sum(axis=1).tolist() == list(confusion.support)
    assert confusion.matrix.trace() / 400 == pytest.approx(row.row["test_accuracy"])
    counts = [count for *_, count in confusion.pairs]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == 400 - confusion.matrix.trace()
    assert read_confusion(balls, leaderboard(results, "balls").trial(0), "test", warn=pytest.fail) is None


def test_labels_have_a_matrix_each(tmp_path: Path) -> None:
    paths = write_evaluated_sweep(tmp_path, ["sea", "sky", "river"], multilabel=True)
    confusion = read_confusion(paths, leaderboard(ResultsPaths(tmp_path), "balls").trial(4), "val", warn=pytest.fail)
    assert confusion is not None
    assert confusion.labels is not None
    assert confusion.labels.sum(axis=(1, 2)).tolist() == [400, 400, 400]
    assert confusion.labels[:, 1].sum(axis=1).tolist() == list(confusion.support)
    recalls = confusion.labels[:, 1, 1] / confusion.labels[:, 1].sum(axis=1)
    assert recalls.tolist() == pytest.approx(list(confusion.recall))
    plots(tmp_path, "balls", "--trial", "4", "--format", "svg", "-o", tmp_path / "out")
    texts = drawn(tmp_path / "out")
    assert "river" in texts["trial-4-val-confusion"]
    assert "missed, said" in texts["trial-4-val-pairs"]


def test_two_baselines_side_by_side(balls: SweepPaths, tmp_path: Path) -> None:
    plots(balls.root.parent, "balls", "--compare", "adam-max", "1", "--format", "svg", "--output", tmp_path / "out")
    texts = drawn(tmp_path / "out")
    assert set(texts) == {
        f"compare-adam-max-1-{what}" for what in ("curves", "val-confusion", "val-pairs", "val-classes")
    }
    for text in texts.values():
        assert "trial 0 · adam-max" in text
        assert "trial 1 · sgd-avg" in text


def test_trials_without_a_final_evaluation_have_curves_only(
    balls: SweepPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = balls.root.parent
    plots(results, "balls", "--compare", "2", "adam-max", "-o", tmp_path / "two")
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["compare-2-adam-max-curves.png"]
    assert "no final evaluation of trial 2" in capsys.readouterr().err
    plots(results, "balls", "--all", "--format", "svg", "-o", tmp_path / "all")
    assert {f"trial-{number}-curves" for number in range(5)} <= set(drawn(tmp_path / "all"))


def test_a_metric_with_a_name_of_its_own_is_drawn(tmp_path: Path) -> None:
    paths = SweepPaths(tmp_path / "own")
    paths.root.mkdir()
    with Recorder.open(paths, Objective(metric="recall@5"), ["x"], {}) as recorder:
        recorder.record(TrialStarted(time=1.0, trial=0, attempt=1, seed=0, params={"x": 0.5}))
        for epoch in (1, 2):
            metrics = {"recall@5": 0.4 + epoch / 10}
            recorder.record(EpochReported(time=2.0, trial=0, attempt=1, epoch=epoch, metrics=metrics))
        recorder.record(TrialEnded(time=3.0, trial=0, attempt=1, state="COMPLETED"))
    plots(tmp_path, "own", "--format", "svg")
    texts = drawn(paths.plots)
    assert "recall@5" in texts["curves"]
    assert "recall@5" in texts["trial-0-curves"]


@pytest.mark.parametrize(
    ("classes", "options"),
    [
        (["yes", "no"], {"epochs": 1, "num_others": 1}),
        ([f"a class with quite a long name, number {number}" for number in range(60)], {"examples": 600}),
        (["$a", "b_c$", "<d> & e"], {"metrics": ("val_accuracy",)}),
        (["only"], {"multilabel": True}),
    ],
    ids=["two-classes-one-epoch", "many-classes", "odd-names", "one-label"],
)
def test_every_figure_is_a_picture(tmp_path: Path, classes: list[str], options: dict[str, object]) -> None:
    paths = write_evaluated_sweep(tmp_path, classes, **options)  # type: ignore[arg-type]
    plots(tmp_path, "balls", "--trial", "sgd-avg")
    plots(tmp_path, "balls", "--compare", "adam-max", "sgd-avg")
    files = list(paths.plots.iterdir())
    assert len(files) == 9
    for file in files:
        width, height = Image.open(file).size
        assert 200 < width < 8000, file.name
        assert 150 < height < 8000, file.name


def test_a_copy_stands_for_the_trial_that_was_trained(tmp_path: Path) -> None:
    paths = write_evaluated_sweep(tmp_path, BALLS)
    with Recorder(paths, Objective(), ["lr"], {}) as recorder:
        recorder.record(TrialEnded(time=9.0, trial=5, attempt=0, state="COMPLETED", copy_of=1, name="again"))
    plots(tmp_path, "balls", "--compare", "adam-max", "again", "-o", tmp_path / "out")
    assert (tmp_path / "out" / "compare-adam-max-again-val-confusion.png").exists()
    plots(tmp_path, "balls", "--compare", "sgd-avg", "again", code=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bals"], "did you mean 'balls'"),
        (["balls", "--trial", "adam"], "no baseline 'adam'"),
        (["balls", "--trial", "77"], "its trials are 0-4"),
        (["balls", "--compare", "0", "adam-max"], "are the same trial"),
        (["balls", "--compare", "0", "1", "--trial", "2"], "--compare draws two trials"),
        (["balls", "--all", "--trial", "2"], "contradict"),
        (["balls", "--output", "{file}"], "is not a folder"),
        (["empty"], "no epoch was reported"),
    ],
)
def test_wrong_requests(
    balls: SweepPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    results = balls.root.parent
    if "empty" in arguments:
        results = tmp_path
        write_evaluated_sweep(results, BALLS, name="empty", baselines=(), num_others=0)
    (tmp_path / "file").write_text("")
    plots(results, *(argument.format(file=tmp_path / "file") for argument in arguments), code=2)
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
