"""`search.confirm`: the best trials are run again with other seeds, and ranked by the mean. Without Ray."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.execution.driver.run import _go_on
from sweep_runner.execution.keeper.books import trial_seed
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.worker.messages import Message
from sweep_runner.results.leaderboard import Leaderboard, leaderboard
from sweep_runner.results.log import read_events
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import SweepState, fold
from sweep_runner.search.failures import Shown, _AllCompleted
from sweep_runner.search.study import Study
from sweep_runner.spec.model import SweepSpec
from tests.support.sweeps import drive, log_of, open_keeper, report

MakeSpec = Callable[..., SweepSpec]
SEARCH = {"sampler": "random", "trials": 6, "seed": 3}


def confirming(top: int = 2, seeds: int = 3, **search: Any) -> dict[str, Any]:
    return {**SEARCH, "confirm": {"top": top, "seeds": seeds}, **search}


def state_of(root: Path, spec: SweepSpec) -> SweepState:
    return fold(read_events(root / "log.jsonl"), spec.objective)


def board_of(root: Path) -> Leaderboard:
    return leaderboard(ResultsPaths(root.parent), root.name)


def run(spec: SweepSpec, root: Path, max_live: int = 2) -> SweepState:
    with open_keeper(spec, root, max_live) as keeper:
        drive(keeper)
    return state_of(root, spec)


def test_the_best_are_run_again_with_other_seeds_and_ranked_by_the_mean(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(search=confirming())
    state = run(spec, tmp_path / "small")
    searched = sorted((each for each in state.trials.values() if each.confirms is None), key=own_value)
    best = [each.trial for each in searched[:2]]
    assert {number: len(again) for number, again in state.repetitions.items()} == dict.fromkeys(best, 2)
    again = [state.trials[number] for numbers in state.repetitions.values() for number in numbers]
    assert {each.state for each in again} == {"COMPLETED"}
    assert len({each.seed for each in (*again, *searched[:2])}) == 6, "each run has a seed of its own"
    assert all(each.params == state.trials[each.confirms].params for each in again if each.confirms is not None)
    board = board_of(tmp_path / "small")
    assert [row.trial for row in board.ranked[:2]] == sorted(best, key=lambda number: -mean_of(state, number))
    assert len(board.ranked) == 6, "repetitions hold no place of their own"
    first = board.ranked[0].row
    assert first["confirmed_mean"] == pytest.approx(mean_of(state, board.ranked[0].trial))
    assert (first["confirmed_runs"], first["confirms"]) == (3, None)
    assert {row.confirms for row in board.unranked} == set(best)
    assert state.best() is state.trials[board.ranked[0].trial]
    assert board.sweep.values["best_trial"] == board.ranked[0].trial


def own_value(trial: Any) -> tuple[float, int]:
    return (-trial.best_value, trial.trial)


def mean_of(state: SweepState, trial: int) -> float:
    runs = [trial, *state.repetitions[trial]]
    return statistics.fmean(state.trials[number].best_value or 0.0 for number in runs)


@pytest.mark.parametrize("sampler", ["guided", "tpe", "nsga-ii"])
def test_the_sampler_sees_no_repetition(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    """It is shown every configuration once, with what the search had of it."""
    run(make_spec(search=confirming(sampler=sampler)), tmp_path / "small")
    then = make_spec(search=confirming(sampler=sampler, trials=8))
    shown: list[list[float]] = []

    def looking(kind: type, method: str) -> None:
        original = getattr(kind, method)

        def look(self: Any, *args: Any, **kwargs: Any) -> Any:
            found = original(self, *args, **kwargs)
            shown.append([trial.params["lr"] for trial in found if trial.params])
            return found

        monkeypatch.setattr(kind, method, look)

    looking(Shown, "of")
    looking(_AllCompleted, "_get_trials")
    with open_keeper(then, tmp_path / "small") as keeper:
        _go_on(then.search, keeper._recorder, extended=True)
        drive(keeper)
    assert len(shown) >= 2
    for settings in shown:
        assert len(settings) == len(set(settings)) >= 6


def test_no_pruner_stops_a_repetition_nor_holds_others_against_it(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(
        search=confirming(trials=9, top=9), fixed={"epochs": 9}, pruner={"kind": "promotion", "min_epochs": 3}
    )
    state = run(spec, tmp_path / "small")
    for original, numbers in state.repetitions.items():
        for number in numbers:
            assert state.trials[number].state == "COMPLETED"
            assert state.trials[number].epochs == state.trials[original].epochs, "as many epochs as its original had"
    assert {each.epochs for each in state.trials.values()} == {3, 9}


def test_more_than_there_are_takes_what_there_is(make_spec: MakeSpec, tmp_path: Path) -> None:
    state = run(make_spec(search=confirming(top=50, seeds=2)), tmp_path / "small")
    assert len(state.repetitions) == 6
    assert state.search.confirmed == set(range(6))


def test_a_trial_of_which_no_repetition_ends_counts_behind_those_that_were_confirmed(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(search=confirming(seeds=2), resources={"max_failures": 0})
    with open_keeper(spec, tmp_path / "small", max_live=1) as keeper:
        while (assignment := keeper.next()) is not None:
            for epoch in range(1, 5):
                if is_first_repetition(keeper, assignment.trial):
                    failed = Message(trial=assignment.trial, attempt=1, outcome="failed", reason="no luck")
                    keeper.on_message(assignment.trial, failed)
                    break
                if not keeper.on_message(assignment.trial, report(assignment, epoch)):
                    break
            else:
                keeper.on_message(assignment.trial, Message(trial=assignment.trial, attempt=1, outcome="completed"))
    state = state_of(tmp_path / "small", spec)
    first, second = state.repetitions
    assert state.search.confirmed == {second}
    assert state.search.confirmation is not None
    assert f"no repetition of trial {first} was completed" in state.search.confirmation.reason
    assert [row.trial for row in board_of(tmp_path / "small").ranked[:2]] == [second, first]


def is_first_repetition(keeper: Keeper, trial: int) -> bool:
    repetitions = keeper._recorder.state.repetitions
    return any(trial in numbers for numbers in list(repetitions.values())[:1])


def test_time_that_runs_out_leaves_the_order_of_the_search(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Of the two best one was run again: the one's mean cannot be held against the other's luckiest run."""
    spec = make_spec(search=confirming(stop={"after": "1h"}))
    with open_keeper(spec, tmp_path / "small", max_live=1) as keeper:
        while (assignment := keeper.next()) is not None:
            state = keeper._recorder.state
            if sum(map(len, state.repetitions.values())) > 1:
                keeper._recorder.state._preparing_s += 4000.0  # as if so much time had passed
                keeper.end.end_if_due()
                continue
            for epoch in range(1, 5):
                keeper.on_message(assignment.trial, report(assignment, epoch))
            keeper.on_message(assignment.trial, Message(trial=assignment.trial, attempt=1, outcome="completed"))
        state = keeper._recorder.state
        assert state.search.confirmed == set()
        assert state.search.confirmation is not None
        assert "not enough time to repeat each of the best 2 trials: 1 were" in state.search.confirmation.reason
        best = min((each for each in state.trials.values() if each.confirms is None), key=own_value)
        assert state.best() is best


def test_a_search_whose_trials_are_used_up_is_not_ended_by_the_time_that_confirming_takes(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(search=confirming(stop={"after": 100.0, "no_gain": 6}))
    with open_keeper(spec, tmp_path / "small", max_live=1) as keeper:
        state = keeper._recorder.state
        while (assignment := keeper.next()) is not None:
            for epoch in range(1, 5):
                if not keeper.on_message(assignment.trial, report(assignment, epoch)):
                    break
            else:
                keeper.on_message(assignment.trial, Message(trial=assignment.trial, attempt=1, outcome="completed"))
            if len(state.repetitions) == 2:  # as if an epoch took 5 s, and 85 s had passed
                for trial in state.trials.values():
                    trial._first_seen, trial._attempt_seen, trial._num_seen = 0.0, 15.0, 4
                state._preparing_s = 85.0
    assert state.search.stopped is None
    assert sum(map(len, state.repetitions.values())) == 2, "another one, of 20 s, does not fit into 100 s"
    assert len(state.search.confirmed) == 2, "each was run again once"


class Killed(BaseException):
    """Stands for the moment of a SIGKILL."""


@pytest.mark.parametrize(
    ("owner", "method", "when"),
    [
        (Study, "repeat", "after"),
        (Recorder, "record", "before"),
        (Recorder, "record", "after"),
        (Study, "tell", "before"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_killed_while_confirming_it_goes_on_with_the_same_repetitions(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, when: str
) -> None:
    spec = make_spec(search=confirming())
    undisturbed = run(spec, tmp_path / "undisturbed")
    original, calls = getattr(owner, method), 0
    deaths = [2, 3] if method == "repeat" else [30, 41, 55] if method == "record" else [7, 8]

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in deaths and when == "before":
            raise Killed
        result = original(self, *args, **kwargs)
        if calls in deaths:
            raise Killed
        return result

    monkeypatch.setattr(owner, method, dying)
    died = 0
    while True:
        try:
            state = run(spec, tmp_path / "killed")
            break
        except Killed:
            died += 1
    assert died == len(deaths)
    assert {number: len(again) for number, again in state.repetitions.items()} == {
        number: len(again) for number, again in undisturbed.repetitions.items()
    }
    assert state.search.confirmed == undisturbed.search.confirmed
    assert len([event for event in log_of(tmp_path / "killed") if event["kind"] == "end"]) == len(state.trials)
    assert all(each.seed == trial_seed(3, each.trial) for each in state.trials.values())
