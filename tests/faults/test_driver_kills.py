"""The driver is killed again and again, at random and at chosen moments, and resumed each time until it is done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sweep_runner.execution.keeper.books import trial_seed
from sweep_runner.results.paths import SweepPaths
from sweep_runner.search.promotion import Competition, Group, group_of
from sweep_runner.search.pruners import decide, resolve
from sweep_runner.search.study import Study
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec
from sweep_runner.spec.model import SweepSpec
from sweep_runner.spec.strategies import Promotion
from tests.support.faults import Driver
from tests.support.sweeps import log_of, recorded, sweep
from trainables.synthetic import SyntheticConfig, curve

pytestmark = pytest.mark.ray

WriteSpec = Callable[..., Path]

HALVING = {"kind": "successive_halving", "min_epochs": 1, "reduction_factor": 2}
PROMOTION = {"kind": "promotion", "min_epochs": 1, "reduction_factor": 2}
EPOCHS = {"epochs": 4, "epoch_s": 0.15}


def kill_until_done(file: Path, results: Path, num_kills: int, moments: random.Random) -> int:
    """Runs a sweep whose driver is killed so often; how often it was (fewer, if it was done before)."""
    root = results / "small"
    command: list[str | Path] = ["run", file]
    for number in range(num_kills):
        lines = _num_lines(root)
        driver = Driver(*command, "--results", results, cwd=file.parent)
        if moments.random() < 0.15:
            time.sleep(moments.uniform(0.5, 5))  # while it starts, or starts Ray
        else:
            some_more = lines + moments.randint(1, 10)
            while _num_lines(root) < some_more and driver.process.poll() is None:
                time.sleep(0.001)
            time.sleep(moments.choice([0.0, 0.001, 0.01, 0.1, 0.5]))
        if driver.process.poll() is not None:
            code, _, err = driver.end()
            assert code == 0, err
            return number
        driver.kill()
        if (root / "sweep.yaml").exists():
            command = ["resume", "small"]
        if moments.random() < 0.3:
            # What a power cut leaves besides: the beginning of a line that nobody was told is written.
            for name, torn in (("log.jsonl", b'{"kind":"epo'), ("study.journal", b'{"op_code":6,"wor')):
                if (root / name).exists():
                    with (root / name).open("ab") as file_to_tear:
                        file_to_tear.write(torn)
    done = sweep(*command, "--results", results, cwd=file.parent)
    assert done.returncode == 0, done.stderr
    return num_kills


def _num_lines(root: Path) -> int:
    log = root / "log.jsonl"
    return len(log.read_bytes().splitlines()) if log.exists() else 0


def rows_and_ends(root: Path, spec: SweepSpec) -> tuple[dict[tuple[int, int], float], dict[int, dict[str, Any]]]:
    """What the log holds, after the checks that hold for every sweep: each row and end once, tables the same."""
    rows, ends = recorded(root)
    assert sorted(ends) == list(range(spec.search.trials))
    for (trial, epoch), value in rows.items():
        config = SyntheticConfig.model_validate(spec.config_of(ends[trial]["params"]))
        assert value == curve(config, epoch, trial_seed(spec.search.seed, trial)), f"trial {trial}, epoch {epoch}"
    for trial, end in ends.items():
        last = max((epoch for number, epoch in rows if number == trial), default=0)
        assert {epoch for number, epoch in rows if number == trial} == set(range(1, last + 1)), "an epoch is missing"
        assert end["state"] == ("COMPLETED" if last == EPOCHS["epochs"] else "PRUNED") or end["copy_of"] is not None
    table = pq.read_table(root / "tables" / "epochs").to_pylist()
    assert {(row["trial"], row["epoch"]): row["val_accuracy"] for row in table} == rows
    assert len(table) == len(rows)
    states = {row["trial"]: row["state"] for row in pq.read_table(root / "tables" / "trials").to_pylist()}
    assert states == {trial: end["state"] for trial, end in ends.items()}
    return rows, ends


def undisturbed_params(spec: SweepSpec, folder: Path) -> dict[int, dict[str, Any]]:
    """What the sampler proposes when nothing happens."""
    folder.mkdir()
    found = {}
    with Study.open(SweepPaths(folder).study, spec) as study:
        while (proposal := study.ask()) is not None:
            found[proposal.number] = dict(proposal.params)
            study.report(proposal.number, 1, 0.5)
            study.tell(proposal.number, "COMPLETED", 0.5)
    return found


def check_decisions(root: Path, spec: SweepSpec) -> int:
    """Replays every pruning decision from the rows of the log, in their order; how many trials were stopped."""
    pruner = resolve(spec)
    values: dict[int, dict[int, float]] = {}
    completed: list[int] = []
    stopped: dict[int, int] = {}
    for event in log_of(root):
        trial = event.get("trial")
        if event["kind"] == "epoch":
            assert trial not in stopped, f"trial {trial} went on after it should have been stopped"
            values.setdefault(trial, {})[event["epoch"]] = event["metrics"]["val_accuracy"]
            if event["epoch"] < EPOCHS["epochs"]:
                reason = decide(pruner, spec.objective.mode, values, trial, event["epoch"], completed)
                if reason:
                    stopped[trial] = event["epoch"]
        elif event["kind"] == "end":
            assert (event["state"] == "PRUNED") == (trial in stopped)
            if event["state"] == "COMPLETED":
                completed.append(trial)
    return len(stopped)


def check_repeatable(spec: SweepSpec, root: Path, tmp_path: Path) -> None:
    rows, ends = rows_and_ends(root, spec)
    assert {trial: end["params"] for trial, end in ends.items()} == undisturbed_params(spec, tmp_path / "undisturbed")
    assert len(rows) == spec.search.trials * EPOCHS["epochs"]


def test_killed_at_random_it_ends_as_if_undisturbed(write_spec: WriteSpec, tmp_path: Path) -> None:
    file = write_spec(fixed=EPOCHS, search={"sampler": "random", "trials": 10, "seed": 3})
    spec = check_spec(load_spec(file)).spec
    assert kill_until_done(file, tmp_path / "results", 3, random.Random(1)) >= 2
    check_repeatable(spec, tmp_path / "results" / "small", tmp_path)


def test_killed_at_random_pruning_stays_consistent(write_spec: WriteSpec, tmp_path: Path) -> None:
    file = write_spec(fixed=EPOCHS, search={"sampler": "tpe", "trials": 14, "seed": 3}, pruner=HALVING)
    spec = check_spec(load_spec(file)).spec
    assert kill_until_done(file, tmp_path / "results", 2, random.Random(2)) == 2
    root = tmp_path / "results" / "small"
    rows_and_ends(root, spec)
    assert check_decisions(root, spec) > 0


def test_killed_at_random_paused_trials_go_on_where_they_were(write_spec: WriteSpec, tmp_path: Path) -> None:
    file = write_spec(fixed=EPOCHS, search={"sampler": "random", "trials": 18, "seed": 4}, pruner=PROMOTION)
    spec = check_spec(load_spec(file)).spec
    assert kill_until_done(file, tmp_path / "results", 2, random.Random(5)) == 2
    root = tmp_path / "results" / "small"
    rows, _ = recorded(root)
    for trial in range(spec.search.trials):
        epochs = [epoch for number, epoch in rows if number == trial]
        assert epochs == list(range(1, len(epochs) + 1)), "an epoch is missing, or was trained again"
    table = pq.read_table(root / "tables" / "trials").to_pylist()
    full = {row["trial"] for row in table if row["epochs"] == EPOCHS["epochs"]}
    assert {row["trial"] for row in table if row["state"] == "COMPLETED"} == full
    assert check_pauses(root, spec) > 0


def check_pauses(root: Path, spec: SweepSpec) -> int:
    """Replays from the log who paused and who went on; how many went on after a pause."""
    options = resolve(spec)
    assert isinstance(options, Promotion)
    values: dict[int, dict[int, float]] = {}
    groups: dict[int, Group] = {}
    competition = Competition(options, spec.objective.mode, values, groups)
    paused: set[int] = set()
    num_promoted = 0
    for event in log_of(root):
        trial = event.get("trial")
        if event["kind"] == "epoch":
            assert trial not in paused, f"trial {trial} reported while it was paused"
            values.setdefault(trial, {})[event["epoch"]] = event["metrics"]["val_accuracy"]
        elif event["kind"] == "start":
            groups[trial] = group_of(options, {**spec.fixed, **event["params"]})
            if trial in paused:
                assert competition.promoted(paused) == trial
                paused.remove(trial)
                num_promoted += 1
        elif event["kind"] == "pause":
            assert competition.pauses(trial, event["epoch"]) == event["reason"]
            paused.add(trial)
    return num_promoted


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["random", "grid", "qmc", "tpe", "cma-es"])
def test_killed_fifty_times(write_spec: WriteSpec, tmp_path: Path, sampler: str) -> None:
    """Ten kills each for five samplers; grid has no pruner, the learning ones have."""
    repeatable = sampler in ("random", "grid", "qmc")
    options = {"points": 40} if sampler == "grid" else {}
    file = write_spec(
        fixed=EPOCHS,
        search={"sampler": sampler, "trials": 40, "seed": 3, "options": options},
        pruner={"kind": "none"} if repeatable else HALVING,
    )
    spec = check_spec(load_spec(file)).spec
    assert kill_until_done(file, tmp_path / "results", 10, random.Random(sampler)) >= 8
    root = tmp_path / "results" / "small"
    if repeatable:
        check_repeatable(spec, root, tmp_path)
    else:
        rows_and_ends(root, spec)
        assert check_decisions(root, spec) > 0


def test_killed_inside_each_kind_of_write(write_own: Callable[..., Path], tmp_path: Path) -> None:
    """In the middle of a checkpoint, of a table, of the final evaluation, of the export, and just after."""
    file = write_own("Slow", ["a", "bb", "ccc"], fixed={"epochs": 3, "epoch_s": 0.2})
    root = tmp_path / "results" / "small"
    moments: list[tuple[str, str]] = [
        ("a checkpoint", "trials/*/attempt-*/checkpoints/.partial-*/a"),
        ("a table", "tables/*/.*.partial"),
        ("the final evaluation", ".final-*/predictions-test.parquet"),
        ("the export", ".final-*/package/model.part"),
        ("after the export", "best/model.json"),
    ]
    command: list[str | Path] = ["run", file]
    for what, pattern in moments:
        driver = Driver(*command, cwd=tmp_path)
        driver.wait_for(lambda pattern=pattern: any(root.glob(pattern)))
        driver.kill()
        assert root.is_dir(), what
        command = ["resume", "small"]
    done = sweep("resume", "small", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    trials = {row["what"]: row for row in pq.read_table(root / "tables" / "trials").to_pylist()}
    assert {what: (row["state"], row["epochs"]) for what, row in trials.items()} == dict.fromkeys(
        ("a", "bb", "ccc"), ("COMPLETED", 3)
    )
    events = log_of(root)
    final = [(event["trial"], event["split"]) for event in events if event["kind"] == "final"]
    # Every trial that kept a checkpoint is evaluated on val, so that they can be compared; the best one on test.
    assert sorted(final) == sorted(
        [(trials["ccc"]["trial"], "test"), *((row["trial"], "val") for row in trials.values())]
    )
    rows = pq.read_table(root / "tables" / "predictions").to_pylist()
    assert sorted((row["trial"], row["split"], row["example"]) for row in rows) == sorted(
        (trial, split, example) for trial, split in final for example in "xy"
    )
    assert {path.name for path in (root / "best").iterdir()} == {"model.onnx", "model.json"}
    hidden = [path for path in root.rglob(".*") if not path.is_relative_to(root / "trials")]
    assert not hidden, "something half-written is left"
