"""Clusters that change under a running sweep: nodes that join, cannot be reached, are slow; a head that is gone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nodes import Lab, events
from tests.support.sweeps import recorded

WriteSpec = Callable[..., Path]
pytestmark = [pytest.mark.ray, pytest.mark.cluster]


def whole(root: Path, trials: int, epochs: int) -> None:
    """Each trial completed once, each (trial, epoch) there once."""
    rows, ends = recorded(root)
    assert sorted(rows) == [(trial, epoch) for trial in range(trials) for epoch in range(1, epochs + 1)]
    assert {end["state"] for end in ends.values()} == {"COMPLETED"}


def recovery(root: Path, killed: float) -> str:
    """Seconds from a fault until its trial reports again."""
    (failure,) = events(root, kind="failure")
    trial = failure["trial"]
    again = events(root, kind="epoch", trial=trial, attempt=2)[0]
    handed = events(root, kind="start", trial=trial, attempt=2)[0]
    return (
        f"noticed after {failure['time'] - killed:.1f} s, handed out again after {handed['time'] - killed:.1f} s, "
        f"reporting again after {again['time'] - killed:.1f} s"
    )


def last_report(root: Path) -> float:
    return float(events(root, kind="epoch")[-1]["time"])


def test_new_trials_go_to_a_node_that_joins(own_lab: Lab, write_spec: WriteSpec, tmp_path: Path) -> None:
    own_lab.start()
    file = write_spec(
        fixed={"epochs": 8, "epoch_s": 1.0}, search={"sampler": "random", "trials": 6}, resources={"cpus": 1}
    )
    driver = own_lab.begin_sweep("run", file, "--address", own_lab.address, cwd=tmp_path)
    root = tmp_path / "results" / "small"
    driver.until(lambda: events(root, kind="epoch"), "a trial runs")
    assert len(events(root, kind="start")) == 1
    own_lab.wait(own_lab.add("late").begin_ray())

    def at_a_time() -> int:
        return len(events(root, kind="start")) - len(events(root, kind="end"))

    driver.until(lambda: at_a_time() == 2, "a second trial at a time")
    done = driver.end(180)
    assert done.returncode == 0, done.stderr
    assert "1 trial at a time" in done.stderr
    assert f"node {own_lab.machines['late'].address}" in done.stderr
    assert "joined: 1 CPUs" in done.stderr
    whole(root, 6, 8)


@pytest.mark.parametrize("way", ["killed", "unplugged"])
def test_a_node_that_is_gone(own_lab: Lab, write_spec: WriteSpec, tmp_path: Path, way: str) -> None:
    """Killed, or behind a network that lost it; the sweep goes on with the other, and then with a new one."""
    own_lab.start("second", "third")
    file = write_spec(
        fixed={"epochs": 8, "epoch_s": 1.0},
        search={"sampler": "random", "trials": 6},
        resources={"max_failures": 0},
    )
    driver = own_lab.begin_sweep("run", file, "--address", own_lab.address, cwd=tmp_path)
    root = tmp_path / "results" / "small"
    driver.until(lambda: len(events(root, kind="epoch", epoch=3)) >= 3, "three trials run")
    second = own_lab.machines["second"]
    moment = last_report(root)
    second.kill() if way == "killed" else second.unplug()
    done = driver.end(200)
    assert done.returncode == 0, done.stderr
    whole(root, 6, 8)
    (failure,) = events(root, kind="failure")
    assert f"node {second.address}" in failure["reason"]
    print(f"{way}: {recovery(root, moment)}")


def test_no_room_at_all_is_said_and_waited_for(own_lab: Lab, write_spec: WriteSpec, tmp_path: Path) -> None:
    own_lab.start("second", head_cpus=0)
    file = write_spec(fixed={"epochs": 6, "epoch_s": 1.0}, search={"sampler": "random", "trials": 2})
    driver = own_lab.begin_sweep("run", file, "--address", own_lab.address, cwd=tmp_path)
    root = tmp_path / "results" / "small"
    driver.until(lambda: events(root, kind="epoch", epoch=2), "a trial runs")
    own_lab.machines["second"].kill()
    driver.until(
        lambda: "waiting for room: a worker needs 1 CPUs on one node; Available: 1 node with 0 CPUs" in driver.said,
        "said",
    )
    own_lab.wait(own_lab.add("third").begin_ray())
    done = driver.end(180)
    assert done.returncode == 0, done.stderr
    whole(root, 2, 6)


def test_a_slow_node_takes_its_time(own_lab: Lab, write_spec: WriteSpec, tmp_path: Path) -> None:
    """A node that stands still for longer than an epoch, and then goes on, loses nothing and is not given up."""
    own_lab.start("second")
    file = write_spec(fixed={"epochs": 6, "epoch_s": 1.0}, search={"sampler": "random", "trials": 2})
    driver = own_lab.begin_sweep("run", file, "--address", own_lab.address, cwd=tmp_path)
    root = tmp_path / "results" / "small"
    driver.until(lambda: len(events(root, kind="epoch", epoch=2)) == 2, "both trials run")
    second = own_lab.machines["second"]
    second.signal_workers(signal.SIGSTOP)
    driver.until(lambda: events(root, kind="end"), "the other one goes on")
    second.signal_workers(signal.SIGCONT)
    done = driver.end(120)
    assert done.returncode == 0, done.stderr
    whole(root, 2, 6)
    assert not events(root, kind="failure")


def test_a_head_that_is_gone_ends_the_sweep_and_a_new_cluster_goes_on(
    own_lab: Lab, write_spec: WriteSpec, tmp_path: Path
) -> None:
    own_lab.start("second")
    second = own_lab.machines["second"]
    file = write_spec(fixed={"epochs": 100, "epoch_s": 1.0}, search={"sampler": "random", "trials": 2})
    # On the other node: a driver beside the head would die with it.
    driver = own_lab.begin_sweep("run", file, "--address", own_lab.address, cwd=tmp_path, on=second)
    root = tmp_path / "results" / "small"
    driver.until(lambda: len(events(root, kind="epoch", epoch=2)) == 2, "both trials run")
    own_lab.head.kill()
    done = driver.end(150)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"the cluster's head at {own_lab.address} has not answered for" in done.stderr
    assert "sweep resume small --address HOST:PORT" in done.stderr
    second.kill()
    own_lab.wait(own_lab.head.begin_ray(head=True))
    words = ("--address", own_lab.address, "--set", "search.trials=1")
    before = len(events(root, kind="epoch", trial=0))
    again = own_lab.begin_sweep("resume", "small", *words, cwd=tmp_path)
    again.until(lambda: len(events(root, kind="epoch", trial=0)) > before, "it goes on")
    first = events(root, kind="epoch", trial=0, attempt=2)[0]["epoch"]
    assert first == before + 1, "from its last checkpoint"
    again.process.send_signal(signal.SIGINT)
    assert again.end(60).returncode == 130


def test_a_node_without_the_pixel_cache_decodes_its_own(own_lab: Lab, write_spec: WriteSpec, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    own_lab.wait(own_lab.head.begin_ray(head=True, cpus=0), own_lab.add("second").begin_ray(hides=cache))
    image = {"model": "mlp6", "color": "grayscale", "finetune": "scratch", "pretrained": False, "epochs": 2}
    file = write_spec(
        trainable="image_classifier",
        data={"dataset": "digits", "cache_dir": str(cache)},
        fixed={**image, "input_resolution": 16, "mixed_precision": "no"},
        space={"lr": [0.001, 0.01]},
        search={"sampler": "grid", "trials": 2},
    )
    done = own_lab.sweep("run", file, "--address", own_lab.address, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(cache.rglob("*")), "the driver has decoded"
    whole(tmp_path / "results" / "small", 2, 2)
    assert not events(tmp_path / "results" / "small", kind="failure")
