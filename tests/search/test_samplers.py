"""One suite for every sampler."""

from __future__ import annotations

from typing import Any

import pytest

from sweep_runner.errors import RequestError
from sweep_runner.search.repeatable import grid_points
from sweep_runner.spec.space import Choice, FloatRange, IntRange, is_active
from sweep_runner.spec.strategies import SAMPLERS

ALL = tuple(SAMPLERS)
REPEATABLE = ("random", "grid", "qmc")
FEW_STARTUP: dict[str, dict[str, Any]] = {
    "tpe": {"startup_trials": 4},
    "gp": {"startup_trials": 4},
    "nsga-ii": {"population_size": 4},
    "grid": {"points": 2},
}


@pytest.fixture(params=ALL)
def sampler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def spec_of(make_spec):
    def make(sampler, trials=14, **more):
        return make_spec(sampler, trials, options=FEW_STARTUP.get(sampler, {}), **more)

    return make


def test_proposals_lie_in_the_space(sampler, spec_of, open_study, drive) -> None:
    trials = 8 if sampler == "gp" else 14
    spec = spec_of(sampler, trials)
    study = open_study(spec)
    drive(study)
    assert [trial.number for trial in study.trials()] == list(range(trials))
    assert {trial.state for trial in study.trials()} == {"COMPLETED"}
    for trial in study.trials():
        for name, parameter in spec.space.items():
            exists = is_active(parameter, {**spec.fixed, **trial.params})
            assert (name in trial.params) == exists
            if exists:
                assert parameter.contains(trial.params[name]), (name, trial.params[name])
        assert list(trial.params) == [name for name in spec.space if name in trial.params]
    # Conditions hold both ways, so both sides must have come up.
    assert {"momentum" in trial.params for trial in study.trials()} == {True, False}
    assert {str(trial.params["dropout"]) for trial in study.trials()} <= {"0.0", "0.1", "0.2", "0.3", "0.4", "0.5"}


def test_baselines_come_first_in_file_order(sampler, spec_of, open_study) -> None:
    spec = spec_of(sampler)
    study = open_study(spec)
    first = [study.ask() for _ in range(3)]
    assert [(proposal.number, proposal.name) for proposal in first] == [(0, "small"), (1, "large"), (2, None)]
    for proposal in first[:2]:
        assert proposal.params == spec.baselines[proposal.name]


def test_same_seed_same_proposals(sampler, spec_of, open_study, drive, tmp_path) -> None:
    runs = []
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        study = open_study(spec_of(sampler, 7, seed=seed), tmp_path / name)
        drive(study)
        runs.append([trial.params for trial in study.trials()])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_resumed_sweep_does_not_draw_the_same_again(sampler, spec_of, open_study, drive, tmp_path) -> None:
    path = tmp_path / "study.journal"
    for trials in (4, 6, 8, 10):
        study = open_study(spec_of(sampler, trials), path)
        drive(study)
        study.close()
    proposed = [trial.params for trial in study.trials()[2:]]
    assert all(params not in proposed[:index] for index, params in enumerate(proposed))


@pytest.mark.parametrize("sampler", REPEATABLE)
def test_resumed_sweep_equals_an_undisturbed_one(sampler, spec_of, open_study, drive, tmp_path) -> None:
    undisturbed = open_study(spec_of(sampler), tmp_path / "whole")
    drive(undisturbed)
    for trials in (1, 2, 5, 14):
        study = open_study(spec_of(sampler, trials), tmp_path / "parts")
        drive(study)
        study.close()
    assert study.trials() == undisturbed.trials()


@pytest.mark.parametrize("sampler", REPEATABLE)
def test_proposals_do_not_depend_on_baselines_or_retries(sampler, spec_of, open_study, tmp_path) -> None:
    plain = open_study(spec_of(sampler, 8, baselines={}), tmp_path / "plain")
    expected = [plain.ask().params for _ in range(8)]
    study = open_study(spec_of(sampler, 10), tmp_path / "more")
    found = []
    for number in range(10):
        found.append(study.ask().params)
        study.tell(number, "FAILED")
        if number % 3 == 0:
            study.reopen(number)
    assert found[2:] == expected


@pytest.mark.parametrize(
    "space",
    [
        {},
        {"only": Choice(values=(3,))},
        {"lr": FloatRange(low=0.1, high=0.2, step=0.05)},
        {"kind": Choice(values=("a", "b", None))},
        {"flag": Choice(values=(True, 1, 1.0, "true", 0, False))},
    ],
    ids=["empty", "constant", "one", "choices", "equal-in-python"],
)
def test_odd_spaces(sampler, space, spec_of, open_study, drive, monkeypatch) -> None:
    spec = spec_of(sampler, 12, space=space)
    study = open_study(spec)
    while (proposal := study.ask()) is not None:
        assert all(parameter.contains(proposal.params[name]) for name, parameter in space.items())
        study.tell(proposal.number, "COMPLETED", 0.5)
    if "flag" in space and sampler in ("random", "grid", "qmc"):
        found = {repr(trial.params["flag"]) for trial in study.trials()}
        assert len(found) > 3
        assert found <= {"True", "1", "1.0", "'true'", "0", "False"}
        again = open_study(spec)
        assert [repr(t.params) for t in again.trials()] == [repr(t.params) for t in study.trials()]


def test_grid_is_every_combination_once_and_then_ends(make_spec, open_study, drive) -> None:
    # adam: 3 × 1; sgd: 3 × 2 momenta, of which 0.9 has nesterov twice: 3 × 3. Together 12, times 2 dropouts.
    space = {
        "model": Choice(values=("a", "b", "c")),
        "optimizer": Choice(values=("adam", "sgd")),
        "momentum": Choice(values=(0.8, 0.9), when={"optimizer": ("sgd",)}),
        "nesterov": Choice(values=(True, False), when={"momentum": (0.9,)}),
        "dropout": FloatRange(low=0.1, high=0.4, step=0.2),
    }
    study = open_study(make_spec("grid", 1000, space=space, options={}))
    assert study.planned == 24
    asked = []
    while (proposal := study.ask()) is not None:
        asked.append(proposal)
    assert len(asked) == 24
    assert len({repr(sorted(proposal.params.items())) for proposal in asked}) == 24
    assert all(proposal.duplicate_of is None for proposal in asked)
    # Cut off early it still varies the first parameter.
    assert len({proposal.params["model"] for proposal in asked[:8]}) > 1


def test_grid_does_not_depend_on_the_order_in_the_file(make_spec, open_study, tmp_path) -> None:
    space = {"b": Choice(values=(1, 2, 3)), "a": IntRange(low=1, high=3)}
    turned = {"a": space["a"], "b": space["b"]}
    orders = []
    for name, variant in (("one", space), ("other", turned)):
        study = open_study(make_spec("grid", 9, space=variant, options={}), tmp_path / name)
        orders.append([study.ask().params for _ in range(9)])
    assert orders[0] == orders[1]


def test_grid_points_of_ranges(make_spec) -> None:
    space = {"lr": FloatRange(low=1e-4, high=1e-1, log=True), "drop": FloatRange(low=0, high=1)}
    points = grid_points(make_spec("grid", space=space, options={"points": 4}))
    assert sorted({point["lr"] for point in points}) == [0.0001, 0.001, 0.01, 0.1]
    with pytest.raises(RequestError, match=r"space\.lr(.|\n)*space\.drop") as caught:
        grid_points(make_spec("grid", space=space, options={}))
    assert "search.options.points" in str(caught.value)
    huge = {name: IntRange(low=1, high=1000) for name in "abcdef"}
    with pytest.raises(RequestError, match=r"more than 100,000"):
        grid_points(make_spec("grid", space=huge, options={}))


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_qmc_covers_the_space_evenly(sequence, make_spec, open_study) -> None:
    space = {"x": FloatRange(low=0, high=1), "y": FloatRange(low=0, high=1)}
    study = open_study(make_spec("qmc", 64, space=space, options={"sequence": sequence}))
    points = [study.ask().params for _ in range(64)]
    cells = {(int(point["x"] * 4), int(point["y"] * 4)) for point in points}
    assert len(cells) == 16  # random points leave a cell empty in every fourth run
    for axis in "xy":
        assert 28 <= sum(point[axis] < 0.5 for point in points) <= 36


def test_random_draws_evenly_in_the_logarithm(make_spec, open_study) -> None:
    study = open_study(make_spec("random", 400, baselines={}))
    trials = [study.ask().params for _ in range(400)]
    assert 150 < sum(params["lr"] < 1e-3 for params in trials) < 250
    assert 130 < sum(params["width"] == 1 for params in trials) < 230  # ln 3 / ln 9 of the logarithm, half steps in
    assert {params["resolution"] for params in trials} == {96, 128, 160, 192, 224}


def test_tpe_learns(make_spec, open_study, tmp_path) -> None:
    """On a bowl, tpe ends nearer to the optimum than random for nearly every seed."""
    space = {"x": FloatRange(low=-10, high=10), "y": FloatRange(low=-10, high=10)}
    best: dict[str, list[float]] = {"tpe": [], "random": []}
    for sampler, found in best.items():
        for seed in range(6):
            study = open_study(
                make_spec(sampler, 60, seed=seed, space=space, objective={"metric": "loss", "mode": "min"}),
                tmp_path / f"{sampler}-{seed}",
            )
            while (proposal := study.ask()) is not None:
                value = (proposal.params["x"] - 3) ** 2 + (proposal.params["y"] + 4) ** 2
                study.tell(proposal.number, "COMPLETED", value)
            found.append(min(trial.value for trial in study.trials()))
    wins = sum(tpe < random for tpe, random in zip(best["tpe"], best["random"], strict=True))
    assert wins >= 5
    assert sum(best["tpe"]) < 0.5 * sum(best["random"])


@pytest.mark.parametrize("state", ["INFEASIBLE", "FAILED"])
def test_tpe_stays_away_from_what_never_works(state, make_spec, open_study) -> None:
    """The largest model never fits, or always crashes: untold, tpe would propose it nearly always."""
    space = {"model": Choice(values=("s", "m", "xl")), "lr": FloatRange(low=1e-4, high=1e-1, log=True)}
    study = open_study(make_spec("tpe", 60, space=space))
    while (proposal := study.ask()) is not None:
        if proposal.params["model"] == "xl":
            study.tell(proposal.number, state)
        else:
            study.tell(proposal.number, "COMPLETED", 0.5 + proposal.number * 7 % 10 / 100)
    assert sum(trial.params["model"] == "xl" for trial in study.trials()[20:]) <= 10  # chance: 13
    assert {t.state for t in study.trials() if t.params["model"] == "xl"} == {state}
