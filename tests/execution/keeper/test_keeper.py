"""The keeper without Ray: order of writes, crashes between them, failures, duplicates, late workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.errors import SweepError
from sweep_runner.execution.keeper.books import trial_seed
from sweep_runner.execution.keeper.reports import MAX_NODE_LOSSES
from sweep_runner.execution.worker.messages import Message
from sweep_runner.results.recorder import Recorder
from sweep_runner.search.study import Study
from sweep_runner.spec.model import SweepSpec
from tests.support.sweeps import drive, log_of, open_keeper, outcome, pauses, report
from trainables.contract import EpochReport

MakeSpec = Callable[..., SweepSpec]


class Killed(BaseException):
    """Stands for the moment of a SIGKILL: nothing after it runs, only what is on disk remains."""


def test_all_trials_run_and_end_once(make_spec: MakeSpec, tmp_path: Path) -> None:
    with open_keeper(make_spec(), tmp_path / "small") as keeper:
        drive(keeper)
    rows, ends = outcome(tmp_path / "small")
    assert set(ends) == set(range(6))
    assert set(rows) == {(trial, epoch) for trial in range(6) for epoch in range(1, 5)}
    assert {state for state, _ in ends.values()} == {"COMPLETED"}


STEPS = [
    (Recorder, "record", "before"),
    (Recorder, "record", "after"),
    (Study, "report", "before"),
    (Study, "report", "after"),
    (Study, "should_prune", "before"),
    (Study, "tell", "before"),
    (Study, "tell", "after"),
    (Study, "ask", "after"),
]
PAUSING = [
    (Study, "should_pause", "before"),
    (Study, "pause", "before"),
    (Study, "pause", "after"),
    (Study, "go_on", "after"),
]
NO_PRUNER = {"kind": "none"}
HALVING = {"kind": "successive_halving", "reduction_factor": 2}
PROMOTION = {"kind": "promotion", "min_epochs": 1, "reduction_factor": 2}
KILLS = [
    *((pruner, *step) for pruner in (NO_PRUNER, HALVING, PROMOTION) for step in STEPS),
    *((PROMOTION, *step) for step in PAUSING),
]


@pytest.mark.parametrize(
    ("pruner", "owner", "method", "when"), KILLS, ids=lambda value: getattr(value, "__name__", None) or str(value)
)
def test_killed_between_any_two_writes(
    make_spec: MakeSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pruner: dict[str, Any],
    owner: type,
    method: str,
    when: str,
) -> None:
    """The driver dies at the 2nd, 3rd, 5th, 8th, … call of a step, and goes on: the same sweep as undisturbed."""
    pausing = {"fixed": {"epochs": 9}, "search": {"sampler": "random", "trials": 12, "seed": 3}, "keep": {"paused": 6}}
    spec = make_spec(pruner=pruner, **(pausing if pruner is PROMOTION else {}))
    with open_keeper(spec, tmp_path / "undisturbed", max_live=1) as keeper:
        drive(keeper)

    original = getattr(owner, method)
    deaths = [2, 3, 5, 8, 13]
    calls = 0

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if deaths and calls == deaths[0] and when == "before":
            deaths.pop(0)
            calls = 0
            raise Killed
        result = original(self, *args, **kwargs)
        if deaths and calls == deaths[0]:
            deaths.pop(0)
            calls = 0
            raise Killed
        return result

    monkeypatch.setattr(owner, method, dying)
    while True:
        try:
            with open_keeper(spec, tmp_path / "killed", max_live=1) as keeper:
                drive(keeper)
            break
        except Killed:
            continue
    assert len(deaths) < 5, "it did not die once"
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "undisturbed")
    assert pauses(tmp_path / "killed") == pauses(tmp_path / "undisturbed")


def test_a_failing_trial_is_tried_again_and_then_failed(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(search={"sampler": "random", "trials": 1}, resources={"max_failures": 2})
    with open_keeper(spec, tmp_path / "small") as keeper:
        for attempt in (1, 2, 3):
            assignment = keeper.next()
            assert assignment is not None
            assert assignment.attempt == attempt
            message = Message(trial=0, attempt=attempt, outcome="failed", reason="RuntimeError: broken", retry=True)
            assert keeper.on_message(0, message) is False
        assert keeper.next() is None
    events = log_of(tmp_path / "small")
    assert [event["kind"] for event in events] == ["sweep", "start", "failure", "start", "failure", "start", "end"]
    assert events[-1]["state"] == "FAILED"
    assert events[-1]["reason"] == "RuntimeError: broken"


def test_what_cannot_get_better_is_not_tried_again(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(search={"sampler": "random", "trials": 2})
    with open_keeper(spec, tmp_path / "small") as keeper:
        for outcome_kind in ("diverged", "infeasible"):
            assignment = keeper.next()
            assert assignment is not None
            keeper.on_message(
                assignment.trial, Message(trial=assignment.trial, attempt=1, outcome=outcome_kind, reason=outcome_kind)
            )
        assert keeper.next() is None
    ends = [event["state"] for event in log_of(tmp_path / "small") if event["kind"] == "end"]
    assert ends == ["FAILED", "INFEASIBLE"]


def test_a_lost_worker_goes_on_after_the_recorded_epochs(make_spec: MakeSpec, tmp_path: Path) -> None:
    with open_keeper(make_spec(), tmp_path / "small", max_live=1) as keeper:
        first = keeper.next()
        assert first is not None
        assert keeper.on_message(0, report(first, 1))
        keeper.on_lost(0, 1, "the worker process died")
        keeper.on_lost(0, 1, "told twice")
        second = keeper.next()
        assert second is not None
        assert (second.trial, second.attempt, second.recorded_epochs) == (0, 2, 1)
        # The first worker was only slow: what it still says must not count.
        assert keeper.on_message(0, report(first, 2)) is False
        assert [event["epoch"] for event in log_of(tmp_path / "small") if event["kind"] == "epoch"] == [1]


def test_what_trials_warn_of_is_shown_once(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec, warning = make_spec(search={"sampler": "random", "trials": 3}), "graph: steps run one kernel at a time: why"
    for numbers, shown in (((0, 1), [f"trial 0: {warning}"]), ((2,), [])):  # again, after a stop
        with open_keeper(spec, tmp_path / "small") as keeper:
            for number in numbers:
                keeper.next()
                for epoch in (1, 2):
                    told = EpochReport(epoch, {"val_accuracy": 0.5}, warnings=(warning,))
                    message = Message(trial=number, attempt=1, report=told)
                    keeper.on_message(number, Message.from_json(message.to_json()))
                keeper.on_message(number, Message(trial=number, attempt=1, outcome="completed"))
            assert list(keeper.news) == shown


def test_a_repeated_epoch_is_recorded_once(make_spec: MakeSpec, tmp_path: Path) -> None:
    with open_keeper(make_spec(), tmp_path / "small", max_live=1) as keeper:
        assignment = keeper.next()
        assert assignment is not None
        assert keeper.on_message(0, report(assignment, 1))
        assert keeper.on_message(0, report(assignment, 1)), "a replay goes on"
    assert sum(event["kind"] == "epoch" for event in log_of(tmp_path / "small")) == 1


def test_a_configuration_is_trained_once(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(space={"lr": [0.1, 0.01]}, search={"sampler": "random", "trials": 8})
    with open_keeper(spec, tmp_path / "small") as keeper:
        drive(keeper)
    events = log_of(tmp_path / "small")
    assert sum(event["kind"] == "start" for event in events) == 2
    ends = {event["trial"]: event for event in events if event["kind"] == "end"}
    assert set(ends) == set(range(8))
    copies = [event for event in ends.values() if event["copy_of"] is not None]
    assert len(copies) == 6
    for copy in copies:
        assert copy["params"] == ends[copy["copy_of"]]["params"]
        assert "not trained again" in copy["reason"]


def test_the_copy_of_a_failed_trial_gets_its_own_turn(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(space={"lr": [0.1]}, search={"sampler": "random", "trials": 2}, resources={"max_failures": 0})
    with open_keeper(spec, tmp_path / "small") as keeper:
        first = keeper.next()
        assert first is not None
        assert keeper.next() is None, "the second waits for what becomes of the first"
        keeper.on_message(0, Message(trial=0, attempt=1, outcome="failed", reason="no luck"))
        second = keeper.next()
        assert second is not None
        assert second.trial == 1


def test_a_trial_that_reports_nothing_fails(make_spec: MakeSpec, tmp_path: Path) -> None:
    with open_keeper(make_spec(), tmp_path / "small") as keeper:
        keeper.next()
        keeper.on_message(0, Message(trial=0, attempt=1, outcome="completed"))
    end = log_of(tmp_path / "small")[-1]
    assert (end["state"], end["reason"]) == ("FAILED", "trainable 'synthetic' ended without reporting an epoch")


def test_a_lost_node_is_no_failure_of_the_trial_unless_it_happens_again_and_again(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(search={"sampler": "random", "trials": 1}, resources={"max_concurrent": 1, "max_failures": 0})
    root = tmp_path / "small"
    with open_keeper(spec, root) as keeper:
        for attempt in range(1, MAX_NODE_LOSSES + 1):
            assignment = keeper.next()
            assert assignment is not None
            keeper.on_lost(0, attempt, "its node 10.0.0.7 was lost", of_node=True)
        assert not [event for event in log_of(root) if event["kind"] == "end"]
    # Also after the driver was started anew, which reads it from the log.
    with open_keeper(spec, root) as keeper:
        assignment = keeper.next()
        assert assignment is not None
        keeper.on_lost(0, assignment.attempt, "its node 10.0.0.7 was lost", of_node=True)
        assert keeper.finished
    end = log_of(root)[-1]
    assert end["state"] == "FAILED"
    assert end["reason"].startswith("its node 10.0.0.7 was lost, as 10 nodes before")


def test_waiting_for_a_place_is_no_time_of_the_trial(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(resources={"max_concurrent": 2, "trial_timeout_s": 0.05})
    with open_keeper(spec, tmp_path / "small") as keeper:
        first, second = keeper.next(), keeper.next()
        assert first is not None
        assert second is not None
        keeper.live[0].began -= 1
        keeper.live[1].began -= 1
        keeper.wait_for_place([(1, second.attempt)])
        assert [number for number, _ in keeper.overdue()] == [0]


def test_stopping_leaves_running_trials_open(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    with open_keeper(spec, tmp_path / "small") as keeper:
        keeper.next()
        keeper.stopping = True
        assert keeper.next() is None
        keeper.on_lost(0, 1, "killed")
        assert keeper.finished
    with open_keeper(spec, tmp_path / "small") as keeper:
        drive(keeper)
    assert {state for state, _ in outcome(tmp_path / "small")[1].values()} == {"COMPLETED"}


def test_only_the_best_checkpoints_stay(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(keep={"best": 2})
    root = tmp_path / "small"
    with open_keeper(spec, root) as keeper:
        while (assignment := keeper.next()) is not None:
            for epoch in range(1, 5):
                folder = root / "trials" / str(assignment.trial) / "attempt-1" / "checkpoints" / f"epoch-{epoch:05d}"
                folder.mkdir(parents=True)
                keeper.on_message(assignment.trial, report(assignment, epoch))
            keeper.on_message(assignment.trial, Message(trial=assignment.trial, attempt=1, outcome="completed"))
    rows, _ = outcome(root)
    best = sorted(range(6), key=lambda trial: -max(rows[trial, epoch] for epoch in range(1, 5)))[:2]
    kept = {path.parts[-4]: path.name for path in root.glob("trials/*/*/checkpoints/*")}
    assert kept == {str(trial): f"epoch-{max(range(1, 5), key=lambda epoch: rows[trial, epoch]):05d}" for trial in best}


def test_seeds_are_stable_and_apart() -> None:
    seeds = {trial_seed(sweep, number) for sweep in (0, 1) for number in range(1000)}
    assert len(seeds) == 2000
    assert trial_seed(0, 0) == trial_seed(0, 0)
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("lost", ["study.journal", "log.jsonl"])
def test_a_study_and_a_log_that_do_not_belong_together_are_refused(
    make_spec: MakeSpec, tmp_path: Path, lost: str
) -> None:
    """One of them was removed: a new one would give the same numbers to other trials."""
    spec = make_spec()
    root = tmp_path / "small"
    with open_keeper(spec, root) as keeper:
        drive(keeper)
    (root / lost).unlink()
    kept = {path.name: path.read_bytes() for path in root.iterdir() if path.suffix in (".journal", ".jsonl")}
    with pytest.raises(SweepError, match="removed or replaced"), open_keeper(spec, root):
        pass
    for name, content in kept.items():
        assert (root / name).read_bytes().startswith(content)


def test_a_message_of_the_trial_before_changes_nothing(make_spec: MakeSpec, tmp_path: Path) -> None:
    """A thread that trial 0 left behind speaks when its worker is at trial 1."""
    with open_keeper(make_spec(search={"sampler": "random", "trials": 2}), tmp_path / "small") as keeper:
        first, second = keeper.next(), keeper.next()
        assert first is not None
        assert second is not None
        assert keeper.on_message(1, report(first, 1)) is True, "trial 1 goes on"
        assert keeper.on_message(1, report(second, 1)) is True
    reported = [(event["trial"], event["epoch"]) for event in log_of(tmp_path / "small") if event["kind"] == "epoch"]
    assert reported == [(1, 1)]
