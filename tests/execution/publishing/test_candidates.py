"""One model of several trials: made, judged on val against the single one, published or not; and the end of a killed
or full-disk sweep."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from sweep_runner.cli.end_view import candidate_lines
from sweep_runner.cli.main import main
from sweep_runner.errors import RequestError
from sweep_runner.execution.driver.forecast import forecast
from sweep_runner.execution.evaluation.combining import made_checkpoint
from sweep_runner.execution.publishing import candidates
from sweep_runner.execution.publishing.candidates import refuse_soup
from sweep_runner.report.page import render
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.log import read_events
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.state import SweepState, fold
from sweep_runner.results.uses_of_test import uses_of_test
from tests.support import averaged
from tests.support.averaged import Averaged
from tests.support.trained import DIGITS, finish, plan_of, run_here, train_sweep
from trainables.contract import DiskUse
from trainables.image.deployment.predict import load_package

SOUP, ENSEMBLE = "export.soup=auto", "export.ensemble=3"
NUMBERS: dict[str, Any] = {
    "name": "numbers",
    "trainable": "tests.support.averaged:Averaged",
    "fixed": {"noise": 1.0},
    "space": {
        "network": ["small", "large"],
        "color": ["rgb", "grey"],
        "begin": ["the same weights", "other weights"],
    },
    "search": {"sampler": "random", "trials": 5},
    "keep": {"best": 5},
}
SAME = {"network": "small", "color": "rgb", "begin": "the same weights"}


def numbers(folder: Path, *changes: Mapping[str, Any]) -> SweepPaths:
    """A sweep of five trials, each with these changes."""
    return train_sweep(folder, NUMBERS, [{**SAME, **change} for change in (changes or ({},) * 5)])


def state_of(paths: SweepPaths) -> SweepState:
    return fold(read_events(paths.log), plan_of(paths).spec.objective)


def best(state: SweepState) -> int:
    found = state.best()
    assert found is not None
    return found.trial


def rows_of(paths: SweepPaths) -> dict[str, Mapping[str, Any]]:
    table = pq.read_table(paths.table("candidates") / "part-00000.parquet")
    return {row["candidate"]: row for row in table.to_pylist()}


def origin(package: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((package / "model.json").read_text())["origin"]
    return found


def test_a_real_soup_of_networks_is_published_with_what_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SWEEP_RESULTS", str(tmp_path / "results"))
    paths = train_sweep(tmp_path / "results", DIGITS, [{"lr": 0.001}, {"lr": 0.002}, {"lr": 0.003}])
    plan = plan_of(paths, SOUP, "export.temperature=true")
    done = finish(paths, plan)
    assert not done.failed, done.notes
    rows, state = rows_of(paths), state_of(paths)
    assert rows["soup"]["difference_low"] > 0, "after two epochs the mean is far better than any of them"
    assert rows["soup"]["published"]
    assert not rows["single"]["published"]
    assert rows["soup"]["trials"][0] == best(state), "it starts from the single model"
    assert (state.test_uses, rows["single"]["test_accuracy"]) == (1, None), "only what is published"
    card = json.loads((paths.best / "model.json").read_text())
    assert [int(each.partition(":")[0]) for each in card["origin"]["candidate"]["made_of"]] == rows["soup"]["trials"]
    assert card["metrics"]["test_accuracy"] == pytest.approx(rows["soup"]["test_accuracy"])
    before, after = card["origin"]["temperature"]["test_log_loss"]
    assert after < before, "two epochs leave a network far from sure"
    text = (paths.best / "README.md").read_text()
    assert "greedy soup" in text
    assert "divided by a temperature" in text
    package = load_package(paths.best)
    assert package.probabilities(np.zeros((1, 9, 9, 1), np.uint8)).shape == (1, 10)
    assert main(["query", "--format", "csv", "select candidate, published from candidates order by 1"]) == 0
    assert capsys.readouterr().out.split() == ["candidate,published", "single,False", "soup,True"]


def test_single_soup_and_ensemble_are_judged_in_one_table_and_a_resume_does_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = numbers(tmp_path)
    plan = plan_of(paths, SOUP, ENSEMBLE)
    assert not finish(paths, plan).failed
    rows, state = rows_of(paths), state_of(paths)
    assert [row["published"] for row in rows.values()].count(True) == 1
    assert rows["soup"]["compared_with"] == "single"
    assert rows["soup"]["difference_low"] > 0
    assert rows["ensemble"]["compared_with"] == "soup", "what would be published without it"
    assert len(rows["ensemble"]["trials"]) == 3
    assert [rows[name]["onnx_bytes"] for name in ("soup", "ensemble")] == [1000, 3000], "of its own package"
    assert state.test_uses == 1
    assert origin(paths.best)["candidate"]["kind"] == next(name for name, row in rows.items() if row["published"])
    assert origin(paths.export("ensemble"))["candidate"]["kind"] == "ensemble"
    assert any("soup *" in line for line in candidate_lines(state, "numbers")) == rows["soup"]["published"]
    before = paths.log.read_bytes()
    assert finish(paths, plan).package == paths.best
    assert paths.log.read_bytes() == before
    monkeypatch.setenv("SWEEP_RESULTS", str(tmp_path))
    page = render(ResultsPaths(tmp_path), "numbers", lambda text: None)
    assert "Models to publish" in page
    assert rows["soup"]["reason"] in page
    for kind in ("soup", "ensemble"):
        assert main(["export", "numbers", kind]) == 0
        assert origin(Path(capsys.readouterr().out.strip()))["candidate"]["kind"] == kind
    assert main(["export", "numbers", "soup", "--output", str(tmp_path / "copy")]) == 0
    assert origin(tmp_path / "copy")["candidate"]["kind"] == "soup"


def test_without_it_the_single_model_comes_back(tmp_path: Path) -> None:
    paths = numbers(tmp_path)
    finish(paths, plan_of(paths, SOUP))
    assert "candidate" in origin(paths.best)
    finish(paths, plan_of(paths))
    assert "candidate" not in origin(paths.best)
    assert state_of(paths).test_uses == 2, "another model was judged on test"
    finish(paths, plan_of(paths, SOUP))
    assert "candidate" in origin(paths.best)
    assert state_of(paths).test_uses == 2, "it was judged already"
    results = ResultsPaths(tmp_path)
    single = best(state_of(paths))
    assert str(uses_of_test(results, leaderboard(results, "numbers"))) == f"used 2 times (trial {single}; the soup)"


@pytest.mark.parametrize("extra", [(), (SOUP,)])
def test_a_temperature_that_is_asked_for_later_comes_with_the_figures_on_test_that_are_known(
    tmp_path: Path, extra: tuple[str, ...]
) -> None:
    paths = numbers(tmp_path)
    finish(paths, plan_of(paths, *extra))
    assert "temperature" not in origin(paths.best)
    tested = origin(paths.best)["final_metrics"]["test_accuracy"]
    finish(paths, plan_of(paths, *extra, "export.temperature=true"))
    told = origin(paths.best)
    assert told["temperature"]["value"] > 0
    assert len(told["temperature"]["test_log_loss"]) == 2
    assert told["final_metrics"]["test_accuracy"] == tested
    assert state_of(paths).test_uses == 1


def test_what_is_no_better_is_told_and_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = candidates.paired
    monkeypatch.setattr(candidates, "paired", lambda split, one, other: told(split, one, one))
    paths = numbers(tmp_path)
    finish(paths, plan_of(paths, SOUP))
    row = rows_of(paths)["soup"]
    assert not row["published"]
    assert "which may be chance" in row["reason"]
    assert "candidate" not in origin(paths.best)
    assert origin(paths.export("soup"))["candidate"]["kind"] == "soup", "it can be had all the same"


def test_an_ensemble_over_a_limit_is_not_published(tmp_path: Path) -> None:
    paths = numbers(tmp_path)
    finish(paths, plan_of(paths, ENSEMBLE, "limits.onnx_bytes=2000"))
    row = rows_of(paths)["ensemble"]
    assert row["difference_low"] > 0
    assert not row["published"]
    assert "over a limit" in row["reason"]
    finish(paths, plan_of(paths, ENSEMBLE, "limits.onnx_bytes=4000"))
    assert rows_of(paths)["ensemble"]["published"], "the limit was raised"


def test_each_checkpoint_that_cannot_take_part_is_named_with_the_reason(tmp_path: Path) -> None:
    paths = numbers(tmp_path, {}, {"network": "large"}, {"begin": "other weights"}, {"color": "grey"}, {})
    finish(paths, plan_of(paths, SOUP, "export.ensemble=5"))
    state = state_of(paths)
    ours = {name: state.trials[best(state)].params[name] for name in SAME}
    left_out = state.candidates["soup"]["left_out"]
    for number, trial in state.trials.items():
        same = all(trial.params[name] == ours[name] for name in ("network", "begin"))
        assert (str(number) in left_out) == (not same)
    grey = {str(number) for number, trial in state.trials.items() if trial.params["color"] != ours["color"]}
    assert set(state.candidates["ensemble"]["left_out"]) == grey


def test_a_full_disk_loses_nothing_and_the_soup_is_made_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "direction.json")

    paths = numbers(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Averaged, "average", full)
        done = finish(paths, plan_of(paths, SOUP))
    assert done.failed
    assert done.package == paths.best, "the single model is published meanwhile"
    assert any("No space left" in note for note in done.notes)
    assert "soup" not in state_of(paths).candidates
    assert not finish(paths, plan_of(paths, SOUP)).failed
    assert rows_of(paths)["soup"]["published"]


def test_a_killed_driver_finds_the_soup_where_it_left_it(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def killed_after_the_soup(tasks: Any, stopped: Any) -> Any:
        found = run_here(tasks, stopped)
        if tasks[0].recipe is not None:
            raise Killed
        return found

    paths = numbers(tmp_path)
    plan = plan_of(paths, SOUP)
    with pytest.raises(Killed):
        finish(paths, plan, killed_after_the_soup)
    checkpoint = made_checkpoint(paths.candidate("soup"))
    assert checkpoint is not None
    written = checkpoint.stat().st_mtime_ns
    (checkpoint.parent / ".partial-epoch-00001").mkdir()
    assert not finish(paths, plan).failed
    assert checkpoint.stat().st_mtime_ns == written, "it is not made again"
    assert rows_of(paths)["soup"]["published"]
    assert state_of(paths).test_uses == 1


def test_a_damaged_soup_is_made_again(tmp_path: Path) -> None:
    paths = numbers(tmp_path)
    plan = plan_of(paths, SOUP)
    finish(paths, plan)
    checkpoint = made_checkpoint(paths.candidate("soup"))
    assert checkpoint is not None
    (checkpoint / averaged.FILE).write_text("[[1.0]]")
    shutil.rmtree(paths.best)
    assert finish(paths, plan).package == paths.best
    assert made_checkpoint(paths.candidate("soup")) is not None


def test_the_command_refuses_what_no_soup_can_be_made_of(tmp_path: Path) -> None:
    paths = numbers(tmp_path, {}, {"network": "large"}, {"begin": "other weights"})
    plan, state = plan_of(paths, SOUP), state_of(paths)
    with pytest.raises(
        RequestError, match=f"no kept checkpoint can be averaged with that of trial {best(state)}: trial"
    ):
        refuse_soup(plan, paths, state)
    for number in {*state.trials} - {best(state)}:
        shutil.rmtree(paths.trial(number))
    with pytest.raises(RequestError, match="one trial has its checkpoint on disk"):
        refuse_soup(plan, paths, state)


def test_the_forecast_of_the_disk_counts_what_is_kept_and_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Averaged, "disk_use", lambda self, candidates: DiskUse(10_000_000, 1_000_000))
    paths = numbers(tmp_path)
    many = ("search.trials=20", "keep.best=1")
    plain, more = (forecast(plan_of(paths, *many, *extra), tmp_path) for extra in ((), (SOUP, "export.ensemble=4")))
    assert "1 kept" in plain.lines[0]
    assert "8 kept" in more.lines[0]
    assert "for soup and ensemble" in more.lines[0]
    assert plain.needed_bytes is not None
    assert more.needed_bytes is not None
    assert more.needed_bytes - plain.needed_bytes == 7 * 10_000_000 + 25 * 1_000_000


def test_other_resolutions_are_judged_and_a_model_is_exported_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEP_RESULTS", str(tmp_path))
    paths = numbers(tmp_path)
    finish(paths, plan_of(paths))
    assert main(["resolutions", "numbers", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["resolution"] for row in told["resolutions"]] == [48, 64, 80]
    assert [row["difference"] for row in told["resolutions"]] == [0.0, None, 0.0], "its pixels mean nothing to it"
    assert told["verdict"].startswith("48 px is cheaper, and on val does not differ significantly from 64 px")
    assert main(["export", "numbers", "--resolution", "32"]) == 0
    package = Path(capsys.readouterr().out.strip())
    assert package.name == f"trial-{told['trial']}-32px"
    assert origin(package)["resolution"] == 32
    assert state_of(paths).test_uses == 1
    assert main(["resolutions", "numbers", "--at", "128"]) == 2
    assert "no 128 px" in capsys.readouterr().err
