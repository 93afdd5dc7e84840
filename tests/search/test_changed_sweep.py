"""A study whose sweep file was changed between two runs: what goes on with its history, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweep_runner.errors import RequestError
from sweep_runner.search import study as study_module
from sweep_runner.search.compatibility import changes, identity
from sweep_runner.search.distributions import distribution_of
from sweep_runner.search.study import Study
from sweep_runner.spec.space import Choice, FloatRange, IntRange, is_active
from sweep_runner.spec.strategies import Sampler

OPTIONS: dict[str, dict[str, Any]] = {
    "tpe": {"startup_trials": 4},
    "gp": {"startup_trials": 4},
    "cma-es": {"popsize": 4},
    "nsga-ii": {"population_size": 4},
    "grid": {"points": 2},
}
WIDER = {
    "model": Choice(values=("a", "b", "d", "c")),
    "optimizer": Choice(values=("adam", "sgd", "lion")),
    "beta": FloatRange(low=0.9, high=0.99, when={"optimizer": ("lion",)}),
    "lr": FloatRange(low=1e-6, high=1.0, log=True),
    "width": IntRange(low=1, high=9, log=True),
    "resolution": IntRange(low=32, high=256, step=32),
}


@pytest.fixture
def spec_of(make_spec):
    def make(sampler, trials, *, space=None, **more):
        """`space`: what is different in it; None takes a parameter out."""
        full = {**make_spec().space, **(space or {})}
        full = {name: parameter for name, parameter in full.items() if parameter is not None}
        baselines = more.pop("baselines", dict(make_spec().baselines))
        return make_spec(sampler, trials, space=full, baselines=baselines, options=OPTIONS.get(sampler, {}), **more)

    return make


def plain_trials(path: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path)))).trials


def some_of_everything(study: Study) -> None:
    """Ten trials: completed, failed and tried again, failed, infeasible, pruned, and two that still run."""
    asked = [study.ask() for _ in range(10)]
    for proposal in asked:
        study.report(proposal.number, 1, proposal.number / 10)
    for number in (0, 1, 2, 3):
        study.report(number, 2, 0.5 + number / 10)
        study.tell(number, "COMPLETED", 0.5 + number / 10)
    study.tell(4, "FAILED")
    study.tell(5, "INFEASIBLE")
    study.tell(6, "PRUNED")
    study.tell(7, "FAILED")
    study.reopen(7)


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_a_wider_space_goes_on_with_the_whole_history(sampler, spec_of, open_study, drive, tmp_path) -> None:
    path = tmp_path / "study.journal"
    study = open_study(spec_of(sampler, 12))
    some_of_everything(study)
    before, running = study.trials(), study.open_trials()
    study.close()
    in_optuna = plain_trials(path)

    wider = spec_of(sampler, 24, space=WIDER)
    study = open_study(wider)
    assert study.trials() == before
    assert study.open_trials() == running
    study.close()
    for old, new in zip(in_optuna, plain_trials(path), strict=True):
        same = ("number", "state", "params", "values", "intermediate_values", "user_attrs", "constraints")
        assert [getattr(old, name) for name in same] == [getattr(new, name) for name in same]
        assert (old.datetime_start, old.datetime_complete) == (new.datetime_start, new.datetime_complete)
        assert new.distributions == {name: distribution_of(wider.space[name]) for name in new.params}

    content = path.read_bytes()
    study = open_study(wider)
    study.close()
    assert path.read_bytes() == content, "migrated once"
    study = open_study(wider)
    drive(study)
    after = study.trials()
    assert [trial.number for trial in after] == list(range(24))
    assert after[:4] == before[:4]
    assert [trial.params for trial in after[:10]] == [trial.params for trial in before]
    for trial in after:
        for name, parameter in wider.space.items():
            assert (name in trial.params) == is_active(parameter, {**wider.fixed, **trial.params})
            assert name not in trial.params or parameter.contains(trial.params[name])
    study.close()
    assert open_study(wider).trials() == after


def test_new_choices_and_the_new_range_are_searched(spec_of, open_study, drive) -> None:
    study = open_study(spec_of("random", 6))
    drive(study)
    study.close()
    study = open_study(spec_of("random", 60, space=WIDER))
    drive(study)
    new = [trial.params for trial in study.trials()[6:]]
    assert {params["model"] for params in new} == {"a", "b", "c", "d"}
    assert {"beta" in params for params in new} == {True, False}
    assert min(params["lr"] for params in new) < 1e-5
    assert max(params["lr"] for params in new) > 1e-1


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_later_proposals_are_those_of_the_new_space(sampler, spec_of, open_study, drive, tmp_path) -> None:
    fresh = open_study(spec_of(sampler, 14, space=WIDER), tmp_path / "fresh")
    drive(fresh)
    narrow = open_study(spec_of(sampler, 8))
    drive(narrow)
    narrow.close()
    study = open_study(spec_of(sampler, 14, space=WIDER))
    drive(study)
    assert [trial.params for trial in study.trials()[:8]] == [trial.params for trial in narrow.trials()]
    assert study.trials()[8:] == fresh.trials()[8:]


def test_a_grid_goes_on_with_the_combinations_that_were_not_tried(make_spec, open_study, drive, tmp_path) -> None:
    def grid(trials: int, x: tuple[int, ...]) -> Any:
        space = {"x": Choice(values=x), "y": Choice(values=("a", "b", "c"))}
        return make_spec("grid", trials, space=space, options={})

    def drive_all(spec) -> list[tuple[Any, Any]]:
        study = open_study(spec)
        while (proposal := study.ask()) is not None:
            study.tell(proposal.number, "COMPLETED", 1.0)
        study.close()
        return [(trial.params["x"], trial.params["y"]) for trial in study.trials()]

    first = drive_all(grid(4, (1, 2)))
    assert len(set(first)) == 4
    more = drive_all(grid(7, (1, 2, 3)))
    assert more[:4] == first
    whole = drive_all(grid(99, (1, 2, 3)))
    assert whole[:7] == more
    assert sorted(whole) == [(x, y) for x in (1, 2, 3) for y in "abc"]
    # A choice that every trial is without may go; what was proposed still counts.
    assert drive_all(grid(99, (1, 2, 3))) == whole
    with_new = drive_all(grid(99, (0, 1, 2, 3)))
    assert with_new[:9] == whole
    assert sorted(with_new[9:]) == [(0, "a"), (0, "b"), (0, "c")]


def test_grid_points_that_the_new_grid_does_not_have(make_spec, open_study) -> None:
    def grid(high: float) -> Any:
        return make_spec("grid", 99, space={"x": FloatRange(low=0, high=high)}, options={"points": 3})

    study = open_study(grid(1))
    for _ in range(3):
        study.tell(study.ask().number, "COMPLETED", 1.0)
    study.close()
    study = open_study(grid(4))
    assert study.planned == 5
    new = [study.ask().params["x"], study.ask().params["x"]]
    assert (sorted(new), study.ask()) == ([2.0, 4.0], None)


def test_choices_that_python_takes_for_equal(make_spec, open_study) -> None:
    """1 and True need another encoding in Optuna, for the history, too."""

    def spec(*values: Any) -> Any:
        return make_spec("tpe", 9, space={"x": Choice(values=values)}, baselines={"first": {"x": 1}, "next": {"x": 2}})

    study = open_study(spec(1, 2))
    study.tell(study.ask().number, "COMPLETED", 1.0)
    before = study.trials()
    study.close()
    study = open_study(spec(1, True, 2))
    assert study.trials() == before
    assert type(study.trials()[0].params["x"]) is int
    assert study.ask().params == {"x": 2}, "the waiting baseline came along"
    study.close()
    assert open_study(spec(2, 1, True)).trials()[1].params == {"x": 2}


def test_further_baselines_come_after_what_is_there(spec_of, make_spec, open_study, drive) -> None:
    old = dict(make_spec().baselines)
    new = {"third": {**old["small"], "lr": 0.02}, **old, "fourth": {**old["small"], "lr": 0.03}}
    study = open_study(spec_of("random", 5))
    drive(study)
    before = study.trials()
    study.close()
    with pytest.raises(RequestError, match=r"baselines\.third: \(not there\) → (.|\n)*trial 5, but search.trials is 5"):
        open_study(spec_of("random", 5, baselines=new))
    study = open_study(spec_of("random", 9, baselines=new))
    drive(study)
    after = study.trials()
    assert after[:5] == before
    assert [trial.name for trial in after] == ["small", "large", None, None, None, "third", "fourth", None, None]
    assert after[5].params == new["third"]
    undisturbed = open_study(spec_of("random", 7), study._journal._path.with_name("undisturbed"))
    drive(undisturbed)
    proposed = [trial.params for trial in after if trial.name is None]
    assert proposed == [trial.params for trial in undisturbed.trials()[2:]]
    study.close()
    assert open_study(spec_of("random", 9, baselines=new)).trials() == after


@pytest.mark.parametrize("sampler", ["random", "grid", "qmc"])
def test_killed_after_every_record_before_or_after_the_change(sampler, spec_of, open_study, drive, tmp_path) -> None:
    """However much of a run is on disk, with the changed file it ends with every trial once, and as a repetition."""
    names = ("model", "optimizer", "momentum", "lr", "width")
    gone: dict[str, Any] = dict.fromkeys(("nesterov", "dropout", "resolution", "layers", "width"))
    baselines = {
        name: {key: value for key, value in params.items() if key in names and key != "width"}
        for name, params in spec_of("random", 1).baselines.items()
    }
    narrow = spec_of(sampler, 5, space=gone, baselines=baselines)
    wider = spec_of(sampler, 8, space={**WIDER, **gone}, baselines=baselines)
    lines = (_journal_of(narrow, open_study, tmp_path / "whole")).splitlines(keepends=True)
    for cut in range(1, len(lines) + 1):
        ends = []
        for copy in ("one", "two"):
            path = tmp_path / f"{copy}-{cut}"
            path.write_bytes(b"".join(lines[:cut]))
            study = open_study(wider, path)
            if copy == "two":  # it dies once more, in the middle of an ask
                study.ask()
                study.close()
                path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
                study = open_study(wider, path)
            _finish(study)
            ends.append(study.trials())
            study.close()
        assert [trial.number for trial in ends[0]] == list(range(8))
        assert ends[0] == ends[1]


def _journal_of(spec, open_study, path: Path) -> bytes:
    study = open_study(spec, path)
    _finish(study)
    study.close()
    return path.read_bytes()


def _finish(study: Study) -> None:
    for proposal in study.open_trials():
        study.tell(proposal.number, "COMPLETED", 1.0)
    while (proposal := study.ask()) is not None:
        study.tell(proposal.number, "COMPLETED", 1.0)


def test_a_migration_that_dies_leaves_the_study_as_it_was(spec_of, open_study, monkeypatch, tmp_path) -> None:
    class Killed(BaseException):
        pass

    def die(path: Path, content: bytes) -> None:
        path.with_name(f".{path.name}.0123.partial").write_bytes(content[: len(content) // 2])
        raise Killed

    path = tmp_path / "study.journal"
    study = open_study(spec_of("tpe", 12))
    some_of_everything(study)
    before = study.trials()
    study.close()
    content = path.read_bytes()
    wider = spec_of("tpe", 12, space=WIDER)
    with monkeypatch.context() as patched:
        patched.setattr(study_module, "write_atomically", die)
        with pytest.raises(Killed):
            open_study(wider)
    assert path.read_bytes() == content
    study = open_study(wider)
    assert study.trials() == before


def test_check_refuses_or_accepts_without_a_change(spec_of, open_study, tmp_path) -> None:
    path = tmp_path / "study.journal"
    Study.check(path, spec_of("tpe", 12))
    assert not path.exists()
    study = open_study(spec_of("tpe", 12))
    some_of_everything(study)
    study.close()
    content = path.read_bytes()
    Study.check(path, spec_of("tpe", 12))
    Study.check(path, spec_of("tpe", 50, space=WIDER))
    with pytest.raises(RequestError):
        Study.check(path, spec_of("tpe", 50, seed=5))
    assert path.read_bytes() == content


def test_what_may_change_without_a_migration(spec_of, make_spec, open_study, tmp_path) -> None:
    spec = spec_of("tpe", 12)
    open_study(spec).close()
    content = (tmp_path / "study.journal").read_bytes()
    more = spec_of(
        "tpe",
        50,
        pruner={"kind": "median"},
        resources={"cpus": 2},
        keep={"best": 1},
        space=dict(reversed(spec.space.items())),
        baselines=dict(reversed(spec.baselines.items())),
    )
    open_study(more).close()
    assert (tmp_path / "study.journal").read_bytes() == content


def test_narrower_where_no_trial_was(make_spec, open_study) -> None:
    def spec(**space: Any) -> Any:
        return make_spec("random", 9, space=space, baselines={"only": {"x": "a", "n": 4}})

    study = open_study(
        spec(x=Choice(values=("a", "b")), n=IntRange(low=1, high=9), z=Choice(values=(1, 2), when={"x": ("b",)}))
    )
    study.tell(study.ask().number, "COMPLETED", 1.0)
    study.close()
    study = open_study(spec(x=Choice(values=("a", "c")), n=IntRange(low=2, high=8, step=2)))
    assert study.trials()[0].params == {"x": "a", "n": 4}
    assert study.ask().params["n"] in (2, 4, 6, 8)


REFUSED = {
    "model": (
        {"model": Choice(values=("a", "b"))},
        ['space.model.values: ["a", "b", "c"] → ["a", "b"] (trials 1', 'with "c"'],
    ),
    "lr": (
        {"lr": FloatRange(low=5e-3, high=1e-1, log=True)},
        ["space.lr.low: 1e-05 → 0.005 (trial 0 with 0.001"],
    ),
    "step": (
        {"dropout": FloatRange(low=0.0, high=0.6, step=0.2)},
        ["space.dropout.step: 0.1 → 0.2", "trial 1 with 0.3"],
    ),
    "gone": ({"dropout": None}, ['space.dropout: {"low": 0.0, "high": 0.55, "step": 0.1} → (not there) (trial 0']),
    "new": ({"extra": Choice(values=(1, 2))}, ['space.extra: (not there) → {"values": [1, 2]}', "without it"]),
    "kind": ({"lr": Choice(values=(0.001, 0.01))}, ['space.lr: {"low": 1e-05, "high": 0.1, "log": true} → {"values"']),
    "when": (
        {"momentum": Choice(values=(0.8, 0.9), when={"optimizer": ("adam",)})},
        ['space.momentum.when.optimizer: ["sgd"] → ["adam"]', "with 0.9", "trial 0"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_space_that_some_trial_is_not_in_is_refused(case, spec_of, open_study, drive, tmp_path) -> None:
    study = open_study(spec_of("random", 6))
    drive(study)
    study.close()
    content = (tmp_path / "study.journal").read_bytes()
    space, texts = REFUSED[case]
    with pytest.raises(RequestError) as caught:
        open_study(spec_of("random", 6, space=space))
    text = str(caught.value)
    for part in (*texts, "under another name"):
        assert part in text, text
    assert (tmp_path / "study.journal").read_bytes() == content


def test_every_refused_key_is_told_at_once(spec_of, make_spec, open_study, drive) -> None:
    study = open_study(spec_of("tpe", 6))
    drive(study)
    study.close()
    old = dict(make_spec().baselines)
    changed = make_spec(
        "random",
        seed=3,
        space={**make_spec().space, "model": Choice(values=("a",))},
        baselines={"small": {**old["small"], "lr": 0.002}},
        objective={"metric": "loss", "mode": "min"},
        trainable="other",
        fixed={"augment": True},
    )
    with pytest.raises(RequestError) as caught:
        open_study(changed)
    lines = str(caught.value).splitlines()
    for part in (
        'trainable: "image_classifier" → "other"',
        'space.model.values: ["a", "b", "c"] → ["a"] (',
        'fixed.augment: "light" → true',
        "baselines.small.lr: 0.001 → 0.002 (it has its trial already)",
        "baselines.large: {",
        'objective.metric: "val_accuracy" → "loss"',
        'objective.mode: "max" → "min"',
        'search.sampler: "tpe" → "random"',
        "search.seed: 0 → 3",
        "search.options.startup_trials: 4 → (not there)",
    ):
        assert sum(line.startswith(part) for line in lines) == 1, lines
    assert len(caught.value.problems) == 10


def test_a_study_of_an_earlier_version_lacks_keys_that_came_since_and_goes_on(spec_of: Any) -> None:
    spec = spec_of("random", 4)
    stored = identity(spec)
    stored["objective"] = {key: stored["objective"][key] for key in ("metric", "mode")}
    stored["space"] = {
        name: {key: value for key, value in parameter.items() if key not in ("when", "step") or value}
        for name, parameter in stored["space"].items()
    }
    assert changes(stored, spec) == []
    stored["objective"]["mode"] = "min" if spec.objective.mode == "max" else "max"
    assert [change.key for change in changes(stored, spec)] == [("objective", "mode")]
