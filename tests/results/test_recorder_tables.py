from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep_runner.errors import SweepError
from sweep_runner.results.events import EpochReported, Event, FinalEvaluated, SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.log import read_events
from sweep_runner.results.parts import EpochParts
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.tables import read_part
from sweep_runner.spec.model import Objective

NewSweep = Callable[[str], SweepPaths]
MakeSweep = Callable[..., SweepPaths]
TrialEvents = Callable[[int, dict[str, Any], int, str], list[Event]]


def table(paths: SweepPaths, name: str) -> pa.Table:
    parts = sorted(paths.table(name).glob("part-*.parquet"))
    return pa.concat_tables([read_part(part) for part in parts], promote_options="default")


def rows(paths: SweepPaths, name: str) -> list[dict[str, Any]]:
    return list(table(paths, name).to_pylist())


def report(trial: int, epoch: int, **metrics: float) -> EpochReported:
    return EpochReported(time=1.0, trial=trial, attempt=1, epoch=epoch, metrics={"val_accuracy": 0.5, **metrics})


def test_the_tables_have_the_promised_columns(make_sweep: MakeSweep) -> None:
    paths = make_sweep("voc", [{"lr": 0.1, "model": "resnet50"}, {"lr": 1, "momentum": 0.9}], epochs=3)
    trial = rows(paths, "trials")[1]
    assert trial["sweep"] == "voc"
    assert (trial["lr"], trial["momentum"], trial["model"]) == (1.0, 0.9, None)
    assert (trial["best_epoch"], trial["best_val_accuracy"], trial["best_val_loss"]) == (3, 0.13, 2 / 3)
    assert (trial["last_val_accuracy"], trial["epochs"], trial["duration_s"]) == (0.13, 3, 3.0)
    assert (trial["host"], trial["device"], trial["seed"], trial["attempt"]) == ("node1", "cpu", 8, 1)
    assert trial["started"].timestamp() == 1100.0
    assert "best_epoch_s" not in trial
    epochs = rows(paths, "epochs")
    assert len(epochs) == 6
    assert epochs[0]["epoch_s"] == 1.0
    assert epochs[0]["time"].timestamp() == 1001.0
    assert {"train_loss", "val_loss", "images_per_s", "data_wait_fraction", "lr"} <= epochs[0].keys()
    (sweep,) = rows(paths, "sweeps")
    assert (sweep["state"], sweep["objective"], sweep["mode"]) == ("COMPLETED", "val_accuracy", "max")
    assert (sweep["best_trial"], sweep["num_completed"], sweep["num_failed"]) == (1, 2, 0)
    assert (sweep["git_commit"], sweep["torch_version"], sweep["data_fingerprint"]) == ("abc", "2.15.0", "f00d")
    assert sweep["finished"].timestamp() == 2000.0


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([True, False], pa.bool_(), [True, False]),
        ([1, 2], pa.int64(), [1, 2]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        (["a", None], pa.string(), ["a", None]),
        ([1, "auto"], pa.string(), ["1", "auto"]),
        ([True, 1], pa.string(), ["true", "1"]),
        ([None, None], pa.null(), [None, None]),
        ([2**70, 1], pa.string(), [str(2**70), "1"]),
    ],
)
def test_a_params_column_has_the_type_of_its_values(
    make_sweep: MakeSweep, values: list[Any], kind: pa.DataType, stored: list[Any]
) -> None:
    column = table(make_sweep("types", [{"p": value} for value in values]), "trials")["p"]
    assert column.type == kind
    assert column.to_pylist() == stored


def test_params_with_the_name_of_another_column_are_prefixed(make_sweep: MakeSweep) -> None:
    paths = make_sweep("names", [{"seed": 3, "epochs": 9, "Name": "x", "best_val_loss": 4, "param_seed": 5}], epochs=1)
    (trial,) = rows(paths, "trials")
    assert (trial["param_seed"], trial["param_epochs"], trial["param_Name"]) == (3, 9, "x")
    assert (trial["param_param_seed"], trial["seed"], trial["epochs"]) == (5, 7, 1)
    assert (trial["best_val_loss"], trial["metric_best_val_loss"]) == (4, 2.0)


def test_metrics_that_come_and_go_are_null_elsewhere_and_nan_stays(new_sweep: NewSweep) -> None:
    paths = new_sweep("gaps")
    with Recorder(paths, Objective(), [], {}) as recorder:
        recorder.record(report(0, 1, train_loss=math.nan))
        recorder.flush()
        recorder.record(report(0, 2, val_map=0.25))
        recorder.record(report(0, 3, time=1.0, Attempt=2.0))
    found = table(paths, "epochs").sort_by("epoch")
    assert found["val_map"].to_pylist() == [None, 0.25, None]
    assert math.isnan(found["train_loss"][0].as_py())
    assert found["metric_time"].to_pylist() == [None, None, 1.0]
    assert found["metric_Attempt"].to_pylist() == [None, None, 2.0]
    assert found["attempt"].to_pylist() == [1, 1, 1]


def test_what_a_trial_warned_of_is_a_column(new_sweep: NewSweep) -> None:
    paths = new_sweep("s")
    with Recorder(paths, Objective(), [], {}) as recorder:
        recorder.record(TrialStarted(time=1.0, trial=0, attempt=1, seed=0, params={}))
        for epoch, warnings in ((1, ("a: why",)), (2, ("a: why", "b: why"))):
            recorder.record(replace(report(0, epoch), warnings=warnings))
    assert rows(paths, "trials")[0]["warnings"] == "a: why; b: why"


def test_metrics_that_differ_by_case_keep_their_columns(new_sweep: NewSweep) -> None:
    paths = new_sweep("cases")
    options = {"flush_interval_s": 3600.0, "part_rows": 2}
    with Recorder(paths, Objective(), [], {}, **options) as recorder:
        recorder.record(report(1, 1, val_accuracy=0.5, Loss=1.0))
        recorder.flush()
        # From here on the other spelling comes first: in an epoch, in a part, and in the order of trials.
        recorder.record_many([report(0, 1, val_accuracy=0.5, loss=2.0, Loss=1.0), report(0, 2, loss=2.0, Loss=1.0)])
        recorder.record_many([report(1, 2, loss=2.0), report(1, 3, loss=2.0, Loss=1.0)])
    for again in (False, True):
        if again:
            for part in paths.tables.rglob("*.parquet"):
                part.unlink()
            Recorder(paths, Objective(), [], {}, **options).close()
        found = table(paths, "epochs").to_pylist()
        assert {row["Loss"] for row in found} == {1.0, None}
        assert {row["metric_loss"] for row in found} == {2.0, None}
        for row in rows(paths, "trials"):
            assert (row["last_Loss"], row["metric_last_loss"]) == (1.0, 2.0)


def test_the_same_epoch_again_is_not_recorded(new_sweep: NewSweep) -> None:
    paths = new_sweep("twice")
    with Recorder(paths, Objective(), [], {}) as recorder:
        assert recorder.record(report(0, 1))
        assert not recorder.record(report(0, 1, val_accuracy=0.9))
        assert recorder.record_many([report(0, 2), report(0, 2), report(0, 1)]) == 1
    assert len(list(read_events(paths.log))) == 2
    assert [row["val_accuracy"] for row in rows(paths, "epochs")] == [0.5, 0.5]


def test_parts_are_sealed_and_kept_when_the_sweep_is_opened_again(new_sweep: NewSweep) -> None:
    paths = new_sweep("long")
    with Recorder(paths, Objective(), [], {}, part_rows=10) as recorder:
        for epoch in range(1, 36):
            recorder.record(report(0, epoch))
            if epoch % 7 == 0:
                recorder.flush()
    parts = sorted(paths.table("epochs").glob("*.parquet"))
    assert [pq.read_metadata(part).num_rows for part in parts] == [10, 10, 10, 5]
    written = [part.stat().st_ino for part in parts]
    parts[1].write_bytes(b"damaged")
    (paths.table("epochs") / "part-00009.parquet").write_bytes(b"of another time")
    with Recorder(paths, Objective(), [], {}, part_rows=10) as recorder:
        recorder.record(report(0, 36))
    again = [part.stat().st_ino for part in sorted(paths.table("epochs").glob("*.parquet"))]
    assert again[0] == written[0], "a sealed part was written again"
    assert again[2] == written[2]
    assert len(again) == 4
    assert [row["epoch"] for row in rows(paths, "epochs")] == list(range(1, 37))


def test_opening_a_sweep_again_rebuilds_lost_tables_from_the_log(make_sweep: MakeSweep) -> None:
    paths = make_sweep("lost", [{"lr": 0.1}, {"lr": 0.2}], end=["COMPLETED", "RUNNING"])
    before = {name: rows(paths, name) for name in ("trials", "epochs")}
    for path in paths.tables.rglob("*.parquet"):
        path.unlink()
    with Recorder(paths, Objective(), ["lr"], {}) as recorder:
        assert recorder.state.trials[1].has_epoch(2)
    assert {name: rows(paths, name) for name in ("trials", "epochs")} == before


def test_evaluations_replace_themselves_and_keep_their_columns(new_sweep: NewSweep, trial_events: TrialEvents) -> None:
    paths = new_sweep("final")
    predictions = pa.table(
        {"split": ["test"], "example": ["a.png"], "labels": [["cat"]], "predicted": [["dog"]], "p_cat": [0.4]}
    )
    classes = pa.table({"split": ["test"], "class": ["cat"], "precision": [0.0], "support": [1]})
    with Recorder(paths, Objective(), [], {}) as recorder:
        recorder.record_many(trial_events(4, {}, 1, "COMPLETED"))
        for _ in range(2):
            recorder.record_evaluation(4, "test", predictions, classes)
        recorder.record(FinalEvaluated(time=1.0, trial=4, split="test", num_examples=1, metrics={"test_accuracy": 0.0}))
    assert rows(paths, "predictions") == [
        {
            "sweep": "final",
            "trial": 4,
            "split": "test",
            "example": "a.png",
            "labels": ["cat"],
            "predicted": ["dog"],
            "p_cat": 0.4,
        }
    ]
    assert rows(paths, "classes")[0]["class"] == "cat"
    (trial,) = rows(paths, "trials")
    assert (trial["test_accuracy"], trial["test_num_examples"]) == (0.0, 1.0)


def test_tables_are_written_while_the_sweep_runs(new_sweep: NewSweep) -> None:
    paths = new_sweep("live")
    with Recorder(paths, Objective(), [], {}, flush_interval_s=0.01) as recorder:
        recorder.record(report(0, 1))
        deadline = time.monotonic() + 30
        while not rows(paths, "epochs"):
            assert time.monotonic() < deadline, "the row never came"
            time.sleep(0.01)


def test_many_threads_may_record_and_flush(new_sweep: NewSweep) -> None:
    paths = new_sweep("threads")
    with Recorder(paths, Objective(), [], {}, flush_interval_s=0.001, part_rows=50) as recorder:

        def work(trial: int) -> None:
            for epoch in range(1, 51):
                recorder.record(report(trial, epoch))
                if epoch % 20 == 0:
                    recorder.flush()

        threads = [threading.Thread(target=work, args=(trial,)) for trial in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = [(row["trial"], row["epoch"]) for row in rows(paths, "epochs")]
    assert sorted(found) == [(trial, epoch) for trial in range(4) for epoch in range(1, 51)]


WRITER = """
    import itertools, sys
    from pathlib import Path
    from sweep_runner.results.events import EpochReported
    from sweep_runner.results.paths import SweepPaths
    from sweep_runner.results.recorder import Recorder
    from sweep_runner.spec.model import Objective
    recorder = Recorder(SweepPaths(Path(sys.argv[1])), Objective(), [], {}, flush_interval_s=0.001, part_rows=40)
    print("open", flush=True)
    begin = recorder.state.trials[0].epochs if recorder.state.trials else 0
    for epoch in itertools.count(begin + 1):
        recorder.record(EpochReported(time=epoch, trial=0, attempt=1, epoch=epoch, metrics={"val_accuracy": 1 / epoch}))
        print(epoch, flush=True)
"""


def test_kill_9_at_any_moment_leaves_readable_tables_and_loses_nothing_recorded(new_sweep: NewSweep) -> None:
    paths = new_sweep("killed")
    recorded = 0
    for wait_s in (0.0, 0.02, 0.05, 0.11, 0.23):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(paths.root)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            time.sleep(wait_s)
            process.kill()
            told = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        recorded = max([recorded, *told])
        for part in paths.tables.rglob("part-*.parquet"):
            read_part(part)
    Recorder(paths, Objective(), [], {}, part_rows=40).close()
    epochs = [row["epoch"] for row in rows(paths, "epochs")]
    assert epochs == list(range(1, len(epochs) + 1))
    # The last one may have been on disk before its number was printed.
    assert recorded <= len(epochs) <= recorded + 1
    assert not list(paths.root.rglob("*.partial"))


def test_a_full_disk_is_told_and_nothing_recorded_is_lost(tiny_disk: Path) -> None:
    paths = SweepPaths(tiny_disk / "full")
    paths.root.mkdir()
    recorder = Recorder(paths, Objective(), [], {})
    recorder.record_many([report(0, epoch) for epoch in range(1, 200)])
    filler = tiny_disk / "filler"
    fill(filler)
    with pytest.raises(SweepError, match=r"cannot be written \(No space left on device\)"):
        recorder.flush()
    with pytest.raises(SweepError, match=r"log\.jsonl: cannot be written"):
        recorder.record_many([report(1, epoch) for epoch in range(1, 200)])
    assert 1 not in recorder.state.trials
    filler.unlink()
    recorder.record(report(1, 1))
    recorder.close()
    assert len(rows(paths, "epochs")) == 200
    assert len(list(read_events(paths.log))) == 200


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass


def test_what_the_background_flush_could_not_write_is_told_to_the_next_caller(tiny_disk: Path) -> None:
    paths = SweepPaths(tiny_disk / "behind")
    paths.root.mkdir()
    recorder = Recorder(paths, Objective(), [], {}, flush_interval_s=0.01)
    recorder.record(report(0, 1))
    fill(tiny_disk / "filler")
    # A page of the log may still have room, so that recording alone would not notice.

    def record_until_told() -> None:
        for epoch in range(2, 2_000):
            recorder.record(report(0, epoch))
            time.sleep(0.01)

    with pytest.raises(SweepError, match="cannot be written"):
        record_until_told()
    (tiny_disk / "filler").unlink()
    recorder.close()
    assert len(rows(paths, "epochs")) == len(list(read_events(paths.log)))


def test_a_damaged_log_is_refused(make_sweep: MakeSweep) -> None:
    paths = make_sweep("bad", [{"lr": 0.1}])
    paths.log.write_bytes(b"not json\n" + paths.log.read_bytes())
    with pytest.raises(SweepError, match=r"log\.jsonl:1"):
        Recorder(paths, Objective(), [], {})


def test_closing_twice_is_harmless_and_a_closed_log_takes_nothing(new_sweep: NewSweep) -> None:
    recorder = Recorder(new_sweep("closed"), Objective(), [], {})
    recorder.close()
    recorder.close()
    with pytest.raises(ValueError, match="closed"):
        recorder.record(SweepChanged(time=1.0, state="RUNNING"))


def test_an_open_part_of_the_right_length_is_not_taken_for_a_sealed_one(tmp_path: Path) -> None:
    folder = tmp_path / "epochs"
    parts = EpochParts(folder, "x", part_rows=3)
    parts.add([report(0, 1), report(0, 2)])
    parts.write()
    other = EpochParts(folder, "x", part_rows=2)
    other.add([report(5, 1), report(5, 2)])
    other.write()
    assert read_part(folder / "part-00000.parquet")["trial"].to_pylist() == [5, 5]


def test_a_sweep_without_trials_has_tables_with_columns(make_sweep: MakeSweep) -> None:
    paths = make_sweep("empty", [], state="RUNNING")
    assert {"trial", "state", "best_epoch"} <= set(table(paths, "trials").column_names)
    assert len(table(paths, "epochs")) == 0
    assert rows(paths, "sweeps")[0]["num_trials"] == 0


def test_the_log_is_lines_of_json(make_sweep: MakeSweep) -> None:
    paths = make_sweep("lines", [{"lr": 0.1}], epochs=1)
    kinds = [json.loads(line)["kind"] for line in paths.log.read_text().splitlines()]
    assert kinds == ["sweep", "start", "epoch", "end", "sweep"]


def test_a_copy_and_a_retried_trial_show_in_the_table(new_sweep: NewSweep, trial_events: TrialEvents) -> None:
    paths = new_sweep("copies")
    with Recorder(paths, Objective(), ["lr"], {}) as recorder:
        recorder.record_many(trial_events(0, {"lr": 0.1}, 2, "COMPLETED"))
        recorder.record(
            TrialEnded(time=9.0, trial=1, attempt=0, state="COMPLETED", copy_of=0, params={"lr": 0.1}, reason="same")
        )
        recorder.record(TrialStarted(time=10.0, trial=2, attempt=1, seed=1, params={"lr": 0.2}, name="base"))
    copied, waiting = rows(paths, "trials")[1:]
    assert (copied["copy_of"], copied["lr"], copied["best_val_accuracy"], copied["epochs"]) == (0, 0.1, 0.02, 0)
    assert (waiting["state"], waiting["name"], waiting["best_epoch"]) == ("RUNNING", "base", None)
