"""The report: everything is in it, what users named is escaped, it fits and fetches nothing, a browser shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.generate_results import generate
from sweep_runner.cli.main import sweep
from sweep_runner.report.comparison import significance
from sweep_runner.report.page import collect, render
from sweep_runner.results.findings import write_findings
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.pairing import Significance
from sweep_runner.results.paths import ResultsPaths
from tests.support.evaluated import write_evaluated_sweep
from trainables.contract import Preparation
from trainables.image.index import SCHEMA, ImageIndex
from trainables.image.pixels.thumbnails import thumbnails
from trainables.image.settings.pixel_rule import DEFAULT_RULE

CLASSES = ("basket", "<script>alert(1)</script>", "golf & co")
SECTIONS = (
    "question", "leaderboard", "progress", "params", "cost", "errors", "classes", "samples", "failures", "reproduce",
)  # fmt: skip


def _silent(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ResultsPaths:
    root = tmp_path_factory.mktemp("results")
    paths = write_evaluated_sweep(root, CLASSES, baselines=("adam-max", "<b>bold</b>"), num_others=6)
    paths.spec.write_text("# Which ball is it? <i>Really</i>\n\nname: balls\nspace: {lr: {low: 0.01, high: 0.1}}\n")
    return ResultsPaths(root)


@pytest.fixture(scope="module")
def page(results: ResultsPaths) -> str:
    return render(results, "balls", _silent)


def test_the_report_has_every_section_and_no_address_to_fetch_from(page: str) -> None:
    for section in SECTIONS:
        assert f'id="{section}"' in page
    assert not re.search(r"""(src|href)=["'](https?:)?//|@import|url\(""", page)
    assert "best of 8" in page
    assert "test" in page


def test_names_of_users_are_text_and_no_html(page: str) -> None:
    assert "<b>bold</b>" not in page
    assert "<script>alert(1)" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "Which ball is it? &lt;i&gt;Really&lt;/i&gt;" in page


def test_the_answer_names_the_best_trial_and_the_best_baseline(results: ResultsPaths) -> None:
    values = collect(results, "balls", _silent)
    assert values["answer"].startswith("Trial 7 is the best of 8")
    assert "better than the best baseline, <b>bold</b>" in values["answer"]
    assert values["num_samples"] == 400
    assert all(not sample.right for sample in values["wrong"])
    assert values["commands"][0][1].startswith("sweep reproduce balls 7")


def test_the_report_tells_the_temperature_of_the_published_model(tmp_path: Path) -> None:
    paths = write_evaluated_sweep(tmp_path, ("a", "b"))
    assert "it would be" in render(ResultsPaths(tmp_path), "balls", _silent)
    told = {"value": 2.5, "num_examples": 400}
    for split, error in (("val", 0.25), ("test", 0.3)):
        told |= {f"{split}_calibration_error": [error, 0.125], f"{split}_log_loss": [1.5, 0.75]}
    paths.best.mkdir()
    (paths.best / "model.json").write_text(json.dumps({"origin": {"trial": 4, "temperature": told}}))
    page = render(ResultsPaths(tmp_path), "balls", _silent)
    assert "Temperature 2.5 in the published model, fitted on 400 val examples" in page
    assert "on val calibration error 0.1250 (0.2500 without it)" in page
    assert "on test calibration error 0.1250 (0.3000 without it), log loss 0.7500 (1.5000)" in page
    assert "it would be" not in page


def test_of_a_preferred_trial_the_report_tells_what_its_model_has_on_test(tmp_path: Path) -> None:
    write_evaluated_sweep(tmp_path, ("a", "b"), published=3)
    values = collect(ResultsPaths(tmp_path), "balls", _silent)
    first, second = values["answer"].split(". ", 1)
    assert first.startswith("Trial 4 is the best of 5")
    assert "on test" not in first, "the best trial was not evaluated on test"
    assert second.startswith("The published model is that of trial 3: val_accuracy 0.")
    assert re.search(r"and on test 0\.\d+ \(\d+ of 400", second)
    assert "with lr 0.025" in second
    assert values["evaluated"] == ("trial 3", "test")


def test_what_was_found_in_the_data_is_in_the_report(tmp_path: Path) -> None:
    paths = write_evaluated_sweep(tmp_path, CLASSES)
    assert "Nothing was recorded about the data" in render(ResultsPaths(tmp_path), "balls", _silent)
    summary = {"train": "90 examples (<b>basket</b> 30)", "near-duplicates": "4 of 120 images, in 2 groups"}
    write_findings(paths, Preparation(summary=summary, warnings=("the splits leak: 2 groups",)))
    shown = render(ResultsPaths(tmp_path), "balls", _silent)
    assert "1 warning about the data" in shown
    assert "The splits leak: 2 groups." in shown
    assert "4 of 120 images, in 2 groups" in shown
    assert "&lt;b&gt;basket" in shown


def test_a_report_without_pictures_says_so(page: str) -> None:
    assert "No images:" in page


def test_a_thousand_trials_fit_into_eight_megabytes(tmp_path: Path) -> None:
    results = ResultsPaths(tmp_path)
    generate(results, 1, 1000, 20)
    assert len(render(results, "sweep-000", _silent).encode()) < 8e6


def test_a_sweep_without_a_trial_has_a_report(tmp_path: Path) -> None:
    generate(ResultsPaths(tmp_path), 1, 0, 0)
    assert "No trial has a value yet" in render(ResultsPaths(tmp_path), "sweep-000", _silent)


def test_the_command_writes_the_file_and_the_pictures(results: ResultsPaths, tmp_path: Path) -> None:
    arguments = ["report", "balls", "--results", str(results.root), "--output", str(tmp_path / "r.html")]
    ran = CliRunner().invoke(sweep, [*arguments, "--png", str(tmp_path / "png")], catch_exceptions=False)
    assert ran.exit_code == 0
    assert (tmp_path / "r.html").stat().st_size > 1e4
    written = {path.stem for path in (tmp_path / "png").glob("*.png")}
    assert {"learning-curves", "best-so-far", "slices", "confusion-test"} <= written


def test_thumbnails_are_of_the_examples_asked_for_and_those_that_are_gone_are_left_out(tmp_path: Path) -> None:
    import pyarrow as pa
    from PIL import Image

    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(tmp_path / "a.png")
    rows = [
        {"example": name, "path": str(tmp_path / name), "labels": [0], "group": name, "split": "test"}
        for name in ("a.png", "gone.png")
    ]
    index = ImageIndex(pa.Table.from_pylist(rows, SCHEMA), ("x",), False, "f")
    found = thumbnails(index, ["a.png", "gone.png", "never-there"], 96, DEFAULT_RULE)
    assert list(found) == ["a.png"]
    assert found["a.png"][:2] == b"\xff\xd8"


def test_significance_is_told_on_the_same_examples_only(results: ResultsPaths) -> None:
    board, paths = leaderboard(results, "balls"), results.sweep("balls")
    best, first, other = board.trial(7), board.trial(0), board.trial(3)
    tested = significance((paths, first), (paths, best), _silent)
    # Each trial of this sweep has examples of its own: only those with the same label pair up.
    assert isinstance(tested, Significance)
    assert tested.num_left_out > 0
    assert tested.low <= tested.difference <= tested.high
    assert "balls/3" in str(significance((paths, first), (paths, other), _silent))


@pytest.mark.parametrize("name", ["balls/0", "balls"])
def test_compare_in_words(results: ResultsPaths, name: str) -> None:
    ran = CliRunner().invoke(sweep, ["compare", name, "balls/adam-max" if name == "balls" else "balls/7", "--results", str(results.root)])  # fmt: skip # noqa: E501
    assert ran.exit_code == 0
    assert "examples" in ran.stdout
    assert "param\tlr\t" in ran.stdout
