"""`search.stop`: what ends a search before its trials are used up, and how it goes on. Without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.execution.driver.progress import progress_of
from sweep_runner.execution.driver.run import _go_on
from sweep_runner.execution.keeper.ending import Ending, EndWork
from sweep_runner.execution.keeper.live_trial import LiveTrial
from sweep_runner.execution.worker.messages import Message
from sweep_runner.results.events import (
    EpochReported,
    Event,
    SearchStopped,
    SearchWentOn,
    SweepChanged,
    TrialEnded,
    TrialPaused,
    TrialStarted,
)
from sweep_runner.results.state import SweepState, fold
from sweep_runner.search.trial import Proposal
from sweep_runner.spec.model import SweepSpec
from tests.support.sweeps import drive, log_of, open_keeper, report

MakeSpec = Callable[..., SweepSpec]


def searching(stop: dict[str, Any], trials: int = 6, **changes: Any) -> dict[str, Any]:
    return {"search": {"sampler": "random", "trials": trials, "seed": 3, "stop": stop}, **changes}


def trial(number: int, *values: float, began: float = 0.0, epoch_s: float = 10.0, ends: bool = True) -> list[Event]:
    """What the log has of a trial with these values."""
    events: list[Event] = [TrialStarted(time=began, trial=number, attempt=1, seed=1, params={"lr": 0.1})]
    for epoch, value in enumerate(values, start=1):
        at = began + epoch * epoch_s
        events.append(EpochReported(time=at, trial=number, attempt=1, epoch=epoch, metrics={"val_accuracy": value}))
    if ends:
        at = began + len(values) * epoch_s
        events.append(TrialEnded(time=at, trial=number, attempt=1, state="COMPLETED", duration_s=at - began))
    return events


def after(spec: SweepSpec, *events: Event, work: EndWork = EndWork()) -> Ending:  # noqa: B008 - frozen
    return Ending(spec, fold([SweepChanged(time=0.0, state="RUNNING"), *events], spec.objective), work)


def kinds(root: Path) -> list[str]:
    return [event["kind"] for event in log_of(root)]


def test_a_value_that_is_good_enough_ends_the_search_and_its_other_trials_pause(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(**searching({"at": 0.01}))
    with open_keeper(spec, tmp_path / "small") as keeper:
        first, second = keeper.next(), keeper.next()
        assert first is not None
        assert second is not None
        assert keeper.on_message(first.trial, report(first, 1)) is False
        assert keeper.end.cut_off == {(second.trial, 1)}, "its worker is to be ended, too"
        assert keeper.on_message(second.trial, report(second, 1)) is False
        assert keeper.next() is None
        assert keeper.finished
    events = log_of(tmp_path / "small")
    assert [event["kind"] for event in events][-3:] == ["stop", "pause", "pause"]
    assert "search.stop.at (0.01): trial 0 has reached val_accuracy" in events[-3]["reason"]
    assert [(event["trial"], event["epoch"], event["stopped"]) for event in events[-2:]] == [(0, 1, True), (1, 0, True)]


def test_a_search_that_has_ended_stays_so_when_it_is_resumed_and_goes_on_when_it_is_extended(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(**searching({"at": 0.01}))
    with open_keeper(spec, tmp_path / "small") as keeper:
        first = keeper.next()
        assert first is not None
        keeper.on_message(0, report(first, 1))
    with open_keeper(spec, tmp_path / "small") as keeper:
        assert keeper.next() is None
        assert keeper.end.ending.is_over(keeper._books.study)
        _go_on(spec.search, keeper._recorder, extended=True)
    with open_keeper(spec, tmp_path / "small") as keeper:
        again = keeper.next()
        assert again is not None
        assert (again.trial, again.recorded_epochs) == (0, 1), "it goes on where it was"
        drive_from(keeper, again)
    ends = {event["trial"] for event in log_of(tmp_path / "small") if event["kind"] == "end"}
    assert ends == set(range(6)), "what was reached before does not end it again"


def drive_from(keeper: Any, assignment: Any) -> None:
    keeper.requeue_live()
    drive(keeper)


def test_no_gain_lets_running_trials_end(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(**searching({"no_gain": 2}, trials=40))
    with open_keeper(spec, tmp_path / "small") as keeper:
        drive(keeper)
    events = log_of(tmp_path / "small")
    assert events[-1]["kind"] == "stop"
    assert "trials have brought no better val_accuracy" in events[-1]["reason"]
    started = {event["trial"] for event in events if event["kind"] == "start"}
    ended = {event["trial"]: event["state"] for event in events if event["kind"] == "end"}
    assert set(ended) == started
    assert len(started) < 40
    assert set(ended.values()) == {"COMPLETED"}
    state = fold_of(tmp_path / "small", spec)
    best = state.best()
    assert best is not None
    assert len([number for number in ended if number > best.trial]) >= 1


def fold_of(root: Path, spec: SweepSpec) -> SweepState:
    from sweep_runner.results.log import read_events

    return fold(read_events(root / "log.jsonl"), spec.objective)


def test_trials_that_failed_or_stand_for_others_do_not_count_as_tries(make_spec: MakeSpec) -> None:
    spec = make_spec(**searching({"no_gain": 2}, trials=40))
    failed = TrialEnded(time=30.0, trial=1, attempt=1, state="FAILED")
    copy = TrialEnded(time=31.0, trial=2, attempt=0, state="COMPLETED", copy_of=0)
    before = [*trial(0, 0.5), *trial(3, 0.4), failed, copy]
    assert after(spec, *before).holds_back(40.0) is None
    assert after(spec, *before, *trial(4, 0.45)).holds_back(40.0) is not None
    assert after(spec, *before, *trial(4, 0.45), *trial(5, 0.55, ends=False)).holds_back(40.0) is None
    paused = TrialPaused(time=50.0, trial=5, attempt=1, epoch=1, reason="rung")
    assert after(spec, *before, *trial(5, 0.3, ends=False), paused).holds_back(40.0) is not None


def test_the_budget_keeps_time_for_the_end(make_spec: MakeSpec) -> None:
    spec = make_spec(**searching({"after": "10m"}))
    epochs = [*trial(0, 0.5, 0.6, epoch_s=30.0)]
    ending = after(spec, *epochs, work=EndWork(passes=2, start_s=20.0))
    assert ending.left_s(60.0) == pytest.approx(600 - 60 - (20 + 2 * 30))
    assert ending.due(459.0) is None
    assert ending.due(520.0) is not None
    assert ending.holds_back(480.0) is None
    assert ending.holds_back(500.0) is not None, "a trial would bring nothing in 20 s"
    assert ending.leaves_time(460.0, 30.0, repetition=False)
    assert not ending.leaves_time(500.0, 30.0, repetition=False)
    assert "1m of 10m are used" in ending.outlook(60.0)


def test_time_is_kept_for_what_is_known_to_follow(make_spec: MakeSpec) -> None:
    """The refit, the repetitions, and a machine on which starting takes long."""
    plain = make_spec(**searching({"after": "10m"}))
    events = trial(0, 0.5, 0.6, epoch_s=10.0)
    assert after(plain, *events).left_s(20.0) == pytest.approx(580.0)
    refit = EndWork(passes=1, start_s=20.0, refits=True)
    assert after(plain, *events, work=refit).left_s(20.0) == pytest.approx(580 - 20 - 10 - 1.25 * 2 * 10)
    confirming = make_spec(search={**searching({"after": "10m"})["search"], "confirm": {"top": 2, "seeds": 3}})
    kept = 2 * (20 + 40)  # trial 0 twice, of 2 epochs, and one that is still to come, of 4
    assert after(confirming, *events, work=EndWork(epochs=4)).left_s(20.0) == pytest.approx(580 - kept)
    slow: list[Event] = [TrialStarted(time=0.0, trial=0, attempt=1, seed=1, params={"lr": 0.1})]
    for epoch in (1, 2):
        at = 30.0 + 10.0 * epoch
        slow.append(EpochReported(time=at, trial=0, attempt=1, epoch=epoch, metrics={"val_accuracy": 0.5}))
    assert after(plain, *slow, work=EndWork(passes=1, start_s=20.0)).left_s(50.0) == pytest.approx(550 - 3 * 30 - 10)


def test_a_pass_for_all_trials_is_no_measure_of_what_an_epoch_takes(make_spec: MakeSpec) -> None:
    """Else the first epoch of a head, with features for all, would end the search: the next takes a second."""
    spec = make_spec(**searching({"after": "6m"}))
    metrics = {"val_accuracy": 0.5, "epoch_s": 1.0, "shared_s": 100.0}
    start = TrialStarted(time=0.0, trial=0, attempt=1, seed=1, params={"lr": 0.1})
    report = EpochReported(time=111.0, trial=0, attempt=1, epoch=1, metrics=metrics)
    ending = after(spec, start, report, work=EndWork(passes=3, start_s=20.0))
    assert ending.left_s(111.0) == pytest.approx(360 - 111 - (3 * 10 + 3 * 25))
    assert ending.holds_back(200.0) is None, "another trial is quick"


def test_the_first_report_of_an_attempt_tells_how_long_an_epoch_takes() -> None:
    live = LiveTrial(Proposal(0, None, {}), 1, 0.0, began=10.0, last_sign=10.0)
    live.heard(130.0, {"epoch_s": 1.5})
    assert live.epoch_s == 1.5, "not the start of its worker, nor features for all trials"
    live.heard(133.0, {"epoch_s": 1.5})
    assert live.epoch_s == 3.0
    other = LiveTrial(Proposal(0, None, {}), 1, 0.0, began=10.0, last_sign=10.0)
    other.heard(30.0, {"val_accuracy": 0.5})
    assert other.epoch_s == 20.0, "nothing else is known"


def test_time_in_which_the_sweep_does_not_run_does_not_count(make_spec: MakeSpec) -> None:
    spec = make_spec(**searching({"after": 100}))
    events = [
        SweepChanged(time=0.0, state="RUNNING", preparing_s=5.0),
        *trial(0, 0.5, began=0.0),
        SweepChanged(time=20.0, state="INTERRUPTED"),
        SweepChanged(time=1000.0, state="RUNNING", preparing_s=5.0),
    ]
    state = fold(events, spec.objective)
    assert state.spent_s(1010.0) == pytest.approx(5 + 20 + 5 + 10)
    assert Ending(spec, state, EndWork()).due(1010.0) is None
    assert Ending(spec, state, EndWork()).due(1080.0) is not None
    state.apply(SearchStopped(time=1080.0, rule="after", limit=100.0, reason="time"))
    state.apply(SearchWentOn(time=1090.0, anew=True))
    assert state.spent_s(1095.0) == pytest.approx(5.0), "extended, it has the whole time again"


@pytest.mark.parametrize(("before", "now", "goes_on"), [(0.2, 0.2, False), (0.2, 0.9, True), (0.2, None, True)])
def test_a_rule_that_was_changed_ends_nothing_any_more(
    make_spec: MakeSpec, tmp_path: Path, before: float, now: float | None, goes_on: bool
) -> None:
    spec = make_spec(**searching({"at": now} if now is not None else {"no_gain": 50}))
    with open_keeper(spec, tmp_path / "small") as keeper:
        recorder = keeper._recorder
        recorder.record(SearchStopped(time=time.time(), rule="at", limit=before, reason="reached"))
        _go_on(spec.search, recorder, extended=False)
        assert (recorder.state.search.stopped is None) == goes_on


class Killed(BaseException):
    """Stands for the moment of a SIGKILL."""


@pytest.mark.parametrize("step", range(1, 5))
def test_a_driver_killed_while_it_ends_the_search_ends_it_the_same(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Killed before the n-th write of: stop, pause, pause."""
    from sweep_runner.results.recorder import Recorder

    spec = make_spec(**searching({"at": 0.01}))
    original, writes = Recorder.record, 0

    def dying(self: Recorder, event: Event) -> bool:
        nonlocal writes
        if isinstance(event, SearchStopped | TrialPaused):
            writes += 1
            if writes == step:
                raise Killed
        return original(self, event)

    monkeypatch.setattr(Recorder, "record", dying)
    try:
        with open_keeper(spec, tmp_path / "small") as keeper:
            first, second = keeper.next(), keeper.next()
            assert first is not None
            assert second is not None
            keeper.on_message(first.trial, report(first, 1))
    except Killed:
        pass
    with open_keeper(spec, tmp_path / "small") as keeper:
        assert keeper.next() is None
        assert keeper.finished
        assert keeper.end.ending.is_over(keeper._books.study)
    found = kinds(tmp_path / "small")
    assert (found.count("stop"), found.count("pause")) == (1, 2)


def test_the_live_view_tells_how_the_budget_stands_and_for_how_many_trials_it_will_do(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(**searching({"after": "10m"}, trials=1000))
    with open_keeper(spec, tmp_path / "small", max_live=1) as keeper:
        for _ in range(5):
            assignment = keeper.next()
            assert assignment is not None
            for epoch in range(1, 5):
                keeper.on_message(assignment.trial, report(assignment, epoch))
            keeper.on_message(assignment.trial, Message(trial=assignment.trial, attempt=1, outcome="completed"))
        state = keeper._recorder.state
        state._preparing_s = 300.0
        progress = progress_of(keeper, state, 1000, 4, elapsed_s=300.0, ended_before=0, several_hosts=False)
        first = keeper.next()
        assert first is not None
        keeper.on_message(first.trial, report(first, 1))
        again = progress_of(keeper, state, 1000, 4, elapsed_s=9.0, ended_before=5, several_hosts=False)
    assert "trial 5: epoch 1 of 4" in again.line, "no trial has ended since the resume: nothing else shows a change"
    assert not progress.epochs
    assert "5m of 10m are used, the search has 5m left" in progress.states
    assert "5:00 to go: time for about" in progress.times
    assert progress.times.endswith(" trials")
    assert 8 <= int(progress.times.split()[-2]) <= 10, "five took five minutes, and five are left"
