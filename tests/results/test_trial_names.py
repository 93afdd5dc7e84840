"""A trial can be named in each way, in each command; and shells complete the names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from click.shell_completion import ShellComplete

from sweep_runner.cli.main import main, sweep
from sweep_runner.results.paths import ResultsPaths, SweepPaths

Run = Callable[..., str]


@pytest.fixture
def run(
    results: ResultsPaths, make_sweep: Callable[..., SweepPaths], capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a command on the sweep `voc`: trial 0 is the baseline adam-max, trial 2 is best."""
    make_sweep("voc", [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}], names=["adam-max"])

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main([*arguments, "--results", str(results.root)]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    return run


@pytest.mark.parametrize("command", ["show", "explain"])
@pytest.mark.parametrize(
    ("named", "number"),
    [
        (("voc", "1"), 1),
        (("voc/1",), 1),
        (("voc", "--trial", "1"), 1),
        (("voc", "adam-max"), 0),
        (("voc/adam-max",), 0),
        (("voc", "--trial", "adam-max"), 0),
        (("voc", "best"), 2),
        (("voc/best",), 2),
    ],
)
def test_each_way(run: Run, command: str, named: tuple[str, ...], number: int) -> None:
    assert json.loads(run(command, *named, "--json"))["trial"] == number


@pytest.mark.parametrize("command", ["show", "explain", "export", "plots"])
def test_what_names_no_trial_is_refused(run: Run, command: str) -> None:
    assert "has no trial 7" in run(command, "voc", "7", code=2)
    assert "did you mean 'adam-max'" in run(command, "voc/adam-mx", code=2)


@pytest.mark.parametrize("command", ["show", "explain", "export"])
def test_two_different_trials_are_refused(run: Run, command: str) -> None:
    assert "two trials are named: 1 and 2" in run(command, "voc/1", "2", code=2)
    assert "two trials are named: 0 and 1" in run(command, "voc", "0", "--trial", "1", code=2)


def test_without_a_trial_the_best_is_meant(run: Run) -> None:
    assert json.loads(run("show", "voc", "--json"))["trial"] == 2


def test_compare_takes_best(run: Run) -> None:
    told = json.loads(run("compare", "voc/best", "voc/adam-max", "--json"))
    assert (told["first"]["trial"], told["second"]["trial"]) == (2, 0)


@pytest.mark.parametrize("command", [("predict", "x.png"), ("evaluate", "x"), ("serve",), ("bench",)])
def test_a_model_is_named_by_its_trial(run: Run, command: tuple[str, ...]) -> None:
    for named in (("voc/2",), ("voc", "--trial", "2")):
        told = run(command[0], *named, *command[1:], code=2)
        assert "trial 2 of sweep 'voc' has no exported model yet" in told
        assert "sweep export voc 2" in told


def completed(arguments: list[str], incomplete: str) -> list[str]:
    found = ShellComplete(sweep, {}, "sweep", "_SWEEP_COMPLETE").get_completions(arguments, incomplete)
    return [item.value for item in found if item.type == "plain"]


def test_a_shell_completes_trials_and_sweep_files(
    run: Run, results: ResultsPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_RESULTS", str(results.root))
    paths = results.sweep("voc")
    for number in range(3):
        (paths.trials / str(number)).mkdir(parents=True, exist_ok=True)
    paths.spec.write_text(yaml.safe_dump({"name": "voc", "baselines": {"adam-max": {"lr": 0.1}}}))
    assert completed(["show", "voc"], "") == ["best", "adam-max", "0", "1", "2"]
    assert completed(["export", "voc", "--trial"], "a") == ["adam-max"]
    assert completed(["compare"], "voc/a") == ["voc/adam-max"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    for name, text in {
        "a.yaml": "name: a\n",
        "mkdocs.yml": "site_name: x\n",
        "sweeps/b.yaml": "# b\nname: b\n",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "name.txt").write_text("name: no\n")
    assert completed(["run"], "") == ["a.yaml", "sweeps/b.yaml"]
    assert completed(["run"], "sweeps/") == ["sweeps/b.yaml"]
    assert completed(["check"], "x") == []


def test_help_shows_how_a_trial_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--help"]) == 0
    assert "NAME[/TRIAL] [TRIAL]" in click.unstyle(capsys.readouterr().out)
