"""A trial's last report goes with its outcome, unless the trainable takes its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep_runner.execution.worker.last_report import LastReport
from sweep_runner.execution.worker.messages import Message
from sweep_runner.spec.model import SweepSpec
from tests.support.sweeps import log_of, open_keeper, report
from trainables.contract import EpochReport

MakeSpec = Callable[..., SweepSpec]

LAST = Message(trial=0, attempt=1, report=EpochReport(3, {"score": 1.0}))


def _wait(condition: threading.Event) -> None:
    assert condition.wait(20), "nothing happened"


def test_taken_in_time_it_is_not_sent_by_itself() -> None:
    sent: list[Message] = []
    last = LastReport(sent.append, hold_s=0.2)
    last.hold(LAST)
    assert last.take() is LAST
    assert last.take() is None
    time.sleep(0.4)
    assert sent == []


def test_a_trainable_that_goes_on_for_long_has_it_recorded_meanwhile() -> None:
    sent, done = [], threading.Event()

    def send(message: Message) -> None:
        sent.append(message)
        done.set()

    last = LastReport(send, hold_s=0.01)
    last.hold(LAST)
    _wait(done)
    assert sent == [LAST]
    assert last.take() is None


def test_whoever_takes_it_waits_while_it_is_being_sent() -> None:
    begun, answer = threading.Event(), threading.Event()
    taken: list[Message | None] = []

    def send(message: Message) -> None:
        begun.set()
        _wait(answer)

    last = LastReport(send, hold_s=0.01)
    last.hold(LAST)
    _wait(begun)
    taking = threading.Thread(target=lambda: taken.append(last.take()))
    taking.start()
    taking.join(0.2)
    assert taking.is_alive(), "the outcome would overtake the report"
    answer.set()
    taking.join(20)
    assert taken == [None]


def test_an_answer_to_stop_reaches_the_trainable() -> None:
    done = threading.Event()

    def send(message: Message) -> None:
        done.set()
        raise SystemExit

    last = LastReport(send, hold_s=0.01)
    last.hold(LAST)
    _wait(done)
    with pytest.raises(SystemExit):
        last.take()


def test_report_and_outcome_in_one_are_recorded_as_both(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(search={"sampler": "random", "trials": 2}, fixed={"epochs": 1})
    with open_keeper(spec, tmp_path / "small") as keeper:
        for kind in ("completed", "failed"):
            assignment = keeper.next()
            assert assignment is not None
            assert assignment.last_epoch == 1
            last = report(assignment, 1).report
            message = Message(
                trial=assignment.trial,
                attempt=1,
                report=last,
                outcome=kind,
                reason="" if kind == "completed" else "no luck",
            )
            assert keeper.on_message(assignment.trial, message) is False
        assert keeper.finished
    events = log_of(tmp_path / "small")
    assert [event["kind"] for event in events] == ["sweep", "start", "epoch", "end", "start", "epoch", "end"]
    assert [event["state"] for event in events if event["kind"] == "end"] == ["COMPLETED", "FAILED"]
