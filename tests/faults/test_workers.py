"""Workers that are killed, crash, raise, hang or eat the memory, and Tune itself dying: the sweep goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from tests.support.sweeps import log_of, sweep

WriteSpec = Callable[..., Path]


def trials_by(what: str, root: Path) -> dict[Any, dict[str, Any]]:
    return {row[what]: row for row in pq.read_table(root / "tables" / "trials").to_pylist()}


@pytest.mark.ray
def test_each_way_to_go_wrong_costs_attempts_of_its_trial_alone(write_own: Callable[..., Path], tmp_path: Path) -> None:
    """Workers that are lost, and reports that break the contract: in one sweep, so that Ray starts once."""
    twice = {"killed": "worker process died", "raises": "RuntimeError: the flux is off"}
    hopeless = {
        "exits-in-python": "called sys.exit(3)",
        "diverges": "loss is inf in step 3",
        "reports-nan": "score is nan",
        "reports-text": "'high' (str)",
        "reports-another-metric": "did not report the objective 'score'",
        "reports-an-epoch-again": "reported epoch 1 where epoch 2 was next",
    }
    for_ever = {**twice, **hopeless}
    once = {
        "crashes-once": "worker process died",
        "exits-once": "worker process died",
        "hangs-once": "no report for 14 s (resources.report_timeout_s)",
        "dawdles-once": "not done after 24 s (resources.trial_timeout_s)",
    }
    file = write_own(
        "Faulty",
        ["fine", *for_ever, *once],
        resources={"max_concurrent": 2, "max_failures": 1, "report_timeout_s": 14, "trial_timeout_s": 24},
    )
    done = sweep("run", file, "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["trials"] == {"COMPLETED": 5, "FAILED": 8}, "and nothing else on stdout"
    root = tmp_path / "results" / "small"
    trials = trials_by("what", root)
    failures = {event["trial"]: event["reason"] for event in log_of(root) if event["kind"] == "failure"}
    for what, reason in for_ever.items():
        assert trials[what]["state"] == "FAILED"
        assert reason in trials[what]["reason"]
        assert trials[what]["epochs"] == 1
        assert trials[what]["attempt"] == (2 if what in twice else 1), "more attempts only where they may help"
    for what, reason in once.items():
        assert (trials[what]["state"], trials[what]["attempt"], trials[what]["epochs"]) == ("COMPLETED", 2, 3)
        assert reason in failures[trials[what]["trial"]]
        # From the checkpoint of the last epoch, not from the start; and the log is of this attempt alone.
        second = root / "trials" / str(trials[what]["trial"]) / "attempt-2"
        assert {path.name for path in (second / "checkpoints").glob("*")} <= {"epoch-00002", "epoch-00003"}
        assert "epoch 3" in (second / "log.txt").read_text()
        assert "epoch 1" not in (second / "log.txt").read_text()
    assert (trials["fine"]["state"], trials["fine"]["attempt"]) == ("COMPLETED", 1)


def test_a_worker_that_the_memory_monitor_ends_is_a_lost_worker_to_tune() -> None:
    """The place where Tune dies of it otherwise. (Caused for real in the long test: it needs a machine to itself.)"""
    import ray
    from ray.air.execution._internal.actor_manager import RayActorManager

    from sweep_runner.execution.driver import tune_adapter

    told: list[Exception] = []
    manager = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)
    actor = SimpleNamespace(actor_id=1, _on_error=lambda actor, error: told.append(error))
    task = SimpleNamespace(_tracked_actor=actor, _on_error=lambda actor, error: told.append(error))
    killed = ray.exceptions.OutOfMemoryError("1 worker(s) were killed due to the node running low on memory")
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        tune_adapter._original_actor_task_failed(manager, task, killed)
    assert hasattr(RayActorManager, "_actor_task_failed"), "the place that is replaced is still called so"
    tune_adapter._actor_task_failed(manager, task, killed)
    assert len(told) == 2
    assert all("OutOfMemoryError" in str(error) for error in told)
    assert manager._failed_actor_ids == {1}


@pytest.mark.ray
@pytest.mark.long
def test_a_trial_that_eats_the_memory_fails_alone(write_own: Callable[..., Path], tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    if memory.available < 6e9:
        pytest.skip("needs 6 GB of free memory")
    threshold = 1 - (memory.available - 2.5e9) / memory.total
    done = sweep(
        "run",
        write_own("Faulty", ["eats-memory", "fine", "good", "well"]),
        cwd=tmp_path,
        RAY_memory_usage_threshold=f"{threshold:.3f}",
        RAY_memory_monitor_refresh_ms="100",
    )
    assert done.returncode == 1, done.stderr
    trials = trials_by("what", tmp_path / "results" / "small")
    assert trials["eats-memory"]["state"] == "FAILED"
    assert "Ray's memory monitor" in trials["eats-memory"]["reason"]
    assert [trials[what]["state"] for what in ("fine", "good", "well")] == ["COMPLETED"] * 3


DYING = """
    import sys
    from sweep_runner.execution.ray_runtime.session import ray_session
    import contextlib, sweep_runner.execution.driver.run as place

    deaths = int(sys.argv.pop(1))

    @contextlib.contextmanager
    def session(*arguments):
        with ray_session(*arguments) as made:
            from sweep_runner.execution.driver.tune_adapter import KeeperSearcher
            suggest, calls = KeeperSearcher.suggest, []

            def dying(self, trial_id):
                calls.append(trial_id)
                if len(calls) % 4 == 0 and len(calls) <= 4 * deaths:
                    raise RuntimeError("Tune has a bad day")
                return suggest(self, trial_id)

            KeeperSearcher.suggest = dying
            yield made

    place.ray_session = session
    from sweep_runner.cli.main import main
    sys.exit(main())
"""


def _with_dying_tune(deaths: int, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(DYING), str(deaths), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=400)


@pytest.mark.ray
@pytest.mark.long
def test_tune_that_dies_again_and_again_is_given_up(write_spec: WriteSpec, tmp_path: Path) -> None:
    file = write_spec(search={"sampler": "random", "trials": 8, "seed": 3})
    gave_up = _with_dying_tune(100, "run", file, cwd=tmp_path)
    assert gave_up.returncode == 1
    assert "Ray Tune died 6 times, last with: Tune has a bad day" in " ".join(gave_up.stderr.split())
    assert "Traceback" not in gave_up.stderr
    assert sweep("resume", "small", cwd=tmp_path).returncode == 0


@pytest.mark.ray
def test_tune_dying_is_survived(write_spec: WriteSpec, tmp_path: Path) -> None:
    file = write_spec(search={"sampler": "random", "trials": 8, "seed": 3})
    done = _with_dying_tune(1, "run", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events = log_of(tmp_path / "results" / "small")
    rows = [(event["trial"], event["epoch"]) for event in events if event["kind"] == "epoch"]
    assert sorted(rows) == [(trial, epoch) for trial in range(8) for epoch in range(1, 5)]
    assert not [event for event in events if event["kind"] == "failure"], "no trial is blamed for it"
