from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep_runner.errors import SweepError
from sweep_runner.results.events import (
    AttemptFailed,
    EpochReported,
    Event,
    FinalEvaluated,
    SweepChanged,
    TrialEnded,
    TrialReopened,
    TrialStarted,
    from_json,
    to_json,
)
from sweep_runner.results.log import EventLog, encode, read_events
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import EpochSet, SweepState, fold
from sweep_runner.spec.model import Objective

MAX = Objective(metric="val_accuracy", mode="max")
MIN = Objective(metric="val_loss", mode="min")


def start(trial: int, attempt: int = 1, time: float = 0.0, **params: Any) -> TrialStarted:
    return TrialStarted(time=time, trial=trial, attempt=attempt, seed=5, params=params)


def epoch(trial: int, number: int, time: float = 0.0, attempt: int = 1, **metrics: float) -> EpochReported:
    return EpochReported(time=time, trial=trial, attempt=attempt, epoch=number, metrics=metrics)


def end(trial: int, state: Any = "COMPLETED", **more: Any) -> TrialEnded:
    return TrialEnded(**{"time": 0.0, "trial": trial, "attempt": 1, "state": state, **more})


trials = st.integers(0, 3)
times = st.floats(0, 1e6)
metrics = st.dictionaries(
    st.sampled_from(["val_accuracy", "val_loss", "num_parameters", "peak_memory_bytes"]), st.floats(), max_size=4
)
events = st.one_of(
    st.builds(SweepChanged, time=times, state=st.sampled_from(["RUNNING", "INTERRUPTED", "COMPLETED", "FAILED"])),
    st.builds(
        TrialStarted,
        time=times,
        trial=trials,
        attempt=st.integers(1, 3),
        seed=st.integers(0, 9),
        params=st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.text(max_size=5)),
        name=st.none() | st.text(max_size=5),
    ),
    st.builds(EpochReported, time=times, trial=trials, attempt=st.just(1), epoch=st.integers(1, 9), metrics=metrics),
    st.builds(AttemptFailed, time=times, trial=trials, attempt=st.just(1), reason=st.text(), duration_s=times),
    st.builds(
        TrialEnded,
        time=times,
        trial=trials,
        attempt=st.just(1),
        state=st.sampled_from(["COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"]),
        duration_s=times,
        copy_of=st.none() | trials,
    ),
    st.builds(TrialReopened, time=times, trial=trials),
    st.builds(
        FinalEvaluated, time=times, trial=trials, split=st.just("test"), num_examples=st.just(3), metrics=metrics
    ),
)


@given(st.lists(events, max_size=12), st.data())
def test_a_log_cut_at_any_byte_loses_at_most_the_last_event_and_folds(
    tmp_path_factory: pytest.TempPathFactory, recorded: list[Event], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    with EventLog.open(path) as log:
        log.append_many(recorded)
    size = path.stat().st_size
    length = data.draw(st.integers(0, size))
    os.truncate(path, length)
    whole, position = 0, 0
    for event in recorded:
        position += len(encode(event))
        whole += position <= length
    seen = list(read_events(path))
    assert [to_json(event) for event in seen] == json_equal(recorded[:whole])
    fold(seen, MAX)
    EventLog.open(path).close()
    # A line that lacks its newline alone is whole by its checksum, and gets it back.
    lengths = [len(encode(event)) for event in recorded]
    kept = whole + (whole < len(recorded) and length == sum(lengths[: whole + 1]) - 1)
    assert path.stat().st_size == sum(lengths[:kept])


def json_equal(recorded: list[Event]) -> list[Any]:
    """The events after a way through JSON; as text, for NaN is not equal to itself."""

    class Equal(dict[str, Any]):
        def __eq__(self, other: object) -> bool:
            return json.dumps(self) == json.dumps(other)

        __hash__ = None  # type: ignore[assignment]

    return [Equal(json.loads(json.dumps(to_json(event)))) for event in recorded]


@given(st.lists(events, max_size=20))
def test_every_prefix_folds_and_summaries_stay_consistent(recorded: list[Event]) -> None:
    state = SweepState(MAX)
    for event in recorded:
        state.apply(event)
        for summary in state.trials.values():
            assert summary.duration_s >= 0
            assert summary.best_value is None or math.isfinite(summary.best_value)
            assert (summary.best_value is None) == (summary.best_epoch is None)
    assert sum(state.counts().values()) == len(state.trials)


@given(st.lists(st.integers(1, 30)))
def test_an_epoch_set_knows_exactly_what_was_added(numbers: list[int]) -> None:
    known = EpochSet()
    for number in numbers:
        known.add(number)
    assert len(known) == len(set(numbers))
    assert [number for number in range(40) if number in known] == sorted(set(numbers))


def test_an_epoch_set_of_epochs_in_order_needs_no_room() -> None:
    known = EpochSet()
    for number in range(1, 100_000):
        known.add(number)
    assert not known.others


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = encode(start(0))
    path.write_bytes(good + b'{"kind":"epoch","tri\n' + good)
    with pytest.raises(SweepError, match=r"log\.jsonl:2: .*damaged"):
        list(read_events(path))
    for bad in (b"[]\n", b"17\n", b'{"kind":"nonsense"}\n', b'{"kind":"start"}\n', b"\xff\xfe\n", b"\n"):
        path.write_bytes(bad + good)
        with pytest.raises(SweepError, match=r"log\.jsonl:1: "):
            list(read_events(path))


def test_an_unknown_field_of_a_later_version_is_ignored() -> None:
    record = {**to_json(start(3)), "colour": "blue"}
    assert from_json(record) == start(3)


def test_the_best_epoch_follows_the_mode_and_is_never_nan() -> None:
    reports = [
        epoch(0, 1, val_accuracy=0.5, val_loss=1.0),
        epoch(0, 2, val_accuracy=0.7, val_loss=0.9),
        epoch(0, 3, val_accuracy=0.7, val_loss=math.nan),
        epoch(0, 4, val_accuracy=math.nan, val_loss=0.8),
        epoch(0, 5, val_accuracy=math.inf, val_loss=-math.inf),
    ]
    best_max = fold([start(0), *reports], MAX).trials[0]
    assert (best_max.best_epoch, best_max.best_value) == (2, 0.7)
    best_min = fold([start(0), *reports], MIN).trials[0]
    assert (best_min.best_epoch, best_min.best_value) == (4, 0.8)
    assert best_min.last_epoch == 5


def test_the_first_report_of_an_epoch_wins() -> None:
    state = fold([start(0), epoch(0, 1, val_accuracy=0.5)], MAX)
    assert state.trials[0].has_epoch(1)
    assert not state.apply(epoch(0, 1, attempt=2, val_accuracy=0.9))
    assert state.trials[0].best_value == 0.5
    assert state.trials[0].epochs == 1


def test_durations_add_up_over_attempts_also_those_that_were_cut_off() -> None:
    state = fold(
        [
            start(0, attempt=1, time=100),
            epoch(0, 1, time=110, val_accuracy=0.1),  # then the driver was killed
            start(0, attempt=2, time=500),
            AttemptFailed(time=530, trial=0, attempt=2, reason="worker died", duration_s=30),
            start(0, attempt=3, time=600),
            epoch(0, 2, time=607, val_accuracy=0.2),
        ],
        MAX,
    )
    summary = state.trials[0]
    assert summary.duration_s == 10 + 30 + 7
    assert (summary.state, summary.failures, summary.attempt, summary.started) == ("RUNNING", 1, 3, 100)
    state.apply(end(0, attempt=3, duration_s=9, time=609))
    assert summary.duration_s == 10 + 30 + 9
    assert (summary.state, summary.ended) == ("COMPLETED", 609)


def test_what_a_trial_does_for_others_is_not_its_own_time() -> None:
    events = [start(0, time=100), epoch(0, 1, time=140, val_accuracy=0.1, shared_s=25.0)]
    state = fold([*events, epoch(0, 2, time=145, val_accuracy=0.2), end(0, duration_s=46, time=146)], MAX)
    assert (state.trials[0].duration_s, state.trials[0].shared_s) == (21, 25)
    assert state.trials[0].epoch_s == 5


def test_a_copy_has_the_result_of_its_original() -> None:
    state = fold(
        [
            start(0, lr=0.1),
            epoch(0, 1, val_accuracy=0.6, num_parameters=10.0, peak_memory_bytes=2.0**31),
            end(0),
            end(4, copy_of=0, params={"lr": 0.1}, seed=9, name="base", attempt=0, reason="same as trial 0"),
        ],
        MAX,
    )
    copy = state.trials[4]
    assert (copy.state, copy.best_value, copy.best_epoch, copy.params) == ("COMPLETED", 0.6, 1, {"lr": 0.1})
    assert (copy.num_parameters, copy.peak_memory_bytes, copy.name, copy.seed) == (10, 2**31, "base", 9)
    assert (copy.epochs, copy.duration_s, copy.attempt) == (0, 0, 0)
    best = state.best()
    assert best is not None
    assert best.trial == 0


def test_the_best_trial_is_none_that_failed() -> None:
    state = fold(
        [
            *(start(0), epoch(0, 1, val_accuracy=0.5), end(0)),
            *(start(1), epoch(1, 1, val_accuracy=0.9), end(1, "FAILED")),
            *(start(2), epoch(2, 1, val_accuracy=0.7), end(2, "PRUNED")),
            *(start(3), epoch(3, 1, val_accuracy=0.8)),
        ],
        MAX,
    )
    best, so_far = state.best(), state.best(("COMPLETED", "PRUNED", "RUNNING"))
    assert best is not None
    assert so_far is not None
    assert (best.trial, so_far.trial) == (2, 3)
    assert state.counts() == {"COMPLETED": 1, "FAILED": 1, "PRUNED": 1, "RUNNING": 1}


def test_a_retried_trial_waits_and_may_fail_as_often_again() -> None:
    state = fold([start(0), AttemptFailed(time=1, trial=0, attempt=1, reason="x"), end(0, "FAILED")], MAX)
    state.apply(TrialReopened(time=2, trial=0))
    assert (state.trials[0].state, state.trials[0].failures, state.trials[0].ended) == ("WAITING", 0, None)


def test_the_sweep_runs_from_its_first_start_and_lasts_as_long_as_its_driver_ran() -> None:
    state = fold(
        [
            SweepChanged(time=100, state="RUNNING", data_fingerprint="f"),
            start(0, time=150),  # killed after this
            SweepChanged(time=1000, state="RUNNING"),
            SweepChanged(time=1020, state="INTERRUPTED", reason="signal"),
            SweepChanged(time=2000, state="RUNNING"),
        ],
        MAX,
    )
    assert (state.started, state.finished, state.state, state.data_fingerprint) == (100, None, "RUNNING", "f")
    assert state.duration_s == 50 + 20
    state.apply(SweepChanged(time=2007, state="COMPLETED"))
    assert (state.finished, state.state, state.duration_s) == (2007, "COMPLETED", 77)


def test_a_line_with_what_no_table_can_hold_opens_again(tmp_path: Path) -> None:
    """Earlier versions took such reports, and could not go on with the sweep ever after."""
    metrics = {"val_accuracy": 0.5, "big": 10**309, "num_parameters": 10**30, "caf\udce9": 1.0}
    lines = [
        json.dumps({"kind": "start", "time": 1.0, "trial": 0, "attempt": 1, "seed": 5, "params": {"lr": 0.1}}),
        json.dumps({"kind": "epoch", "time": 2.0, "trial": 0, "attempt": 1, "epoch": 1, "metrics": metrics}),
        '{"kind":"epoch","time":3.0,"trial":0,"attempt":1,"epoch":2,"metrics":{"big":-' + "9" * 5000 + "}}",
        json.dumps(
            {"kind": "end", "time": 4.0, "trial": 0, "attempt": 1, "state": "FAILED", "reason": "no caf\udce9.jpg"}
        ),
    ]
    paths = SweepPaths(tmp_path / "old")
    paths.root.mkdir()
    paths.log.write_text("".join(line + "\n" for line in lines))
    with Recorder(paths, MAX, ["lr"], {}) as recorder:
        assert recorder.record(SweepChanged(time=5.0, state="COMPLETED"))
        assert recorder.state.trials[0].num_parameters is None
    epochs = pq.read_table(paths.table("epochs") / "part-00000.parquet").to_pylist()
    assert [row["big"] for row in epochs] == [math.inf, -math.inf]
    assert epochs[0]["caf\\udce9"] == 1.0
    (trial,) = pq.read_table(paths.table("trials") / "part-00000.parquet").to_pylist()
    assert trial["reason"] == "no caf\\udce9.jpg"


def test_a_changed_line_is_named_and_never_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    old = json.dumps(to_json(start(0))).encode() + b"\n"  # of an earlier version: without a checksum
    with EventLog.open(path) as log:
        log.append_many([epoch(0, 1, val_accuracy=0.75), epoch(0, 2, val_accuracy=0.5), end(0)])
    path.write_bytes(old + path.read_bytes())
    assert len(list(read_events(path))) == 4
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"0.75", b"0.25"))
    with pytest.raises(SweepError, match=r"log.jsonl:2: .*damaged \(its checksum is another\)"):
        list(read_events(path))
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], old, *lines[3:]]))
    with pytest.raises(SweepError, match=r"log.jsonl:4: .*its checksum is missing"):
        list(read_events(path))
