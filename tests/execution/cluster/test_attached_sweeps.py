"""Sweeps on a running cluster of two machines: what arrives there, what is refused before, and a machine that dies."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nodes import Lab, events
from tests.support.sweeps import recorded

WriteSpec = Callable[..., Path]

MINE = """
import os, time
from pydantic import BaseModel, ConfigDict
from trainables.contract import EpochReport, NoData, Trainable

class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    what: int
    epoch_s: float = 1.0

class Mine(Trainable[Config, NoData]):
    config_class = Config
    metrics = {"val_accuracy": "max"}

    def train(self, config, handle):
        first = handle.resumed.epoch + 1 if handle.resumed else 1
        for epoch in range(first, 5):
            time.sleep(config.epoch_s)
            print("greeting", os.environ["GREETING"], "in", os.getcwd())
            handle.report(EpochReport(epoch, {"val_accuracy": config.what + epoch / 10}), save=lambda folder: None)

    def data_here(self):
        return os.environ.get("SEEN", "the usual")
"""
"""A trainable of the user's, in a folder that no node's Python looks into."""


def own_trainable(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "mine.py").write_text(MINE)
    return {
        "trainable": "mine:Mine",
        "fixed": {},
        "space": {"what": [1, 2, 3, 4]},
        "objective": {"metric": "val_accuracy", "mode": "max"},
        "search": {"sampler": "grid", "trials": 4},
        "resources": {"max_failures": 0},
        "cluster": {"env": {"py_modules": [str(tmp_path / "driver" / "mine.py")], "env_vars": {"GREETING": "hello"}}},
    }


@pytest.mark.ray
def test_a_machine_that_dies_costs_its_trial_nothing(two_nodes: Lab, write_spec: WriteSpec, tmp_path: Path) -> None:
    file = write_spec(**own_trainable(tmp_path))
    driver = two_nodes.begin_sweep(
        "run", file, "--address", "auto", "--results", tmp_path / "r", cwd=tmp_path / "driver"
    )
    root = tmp_path / "r" / "small"
    driver.until(lambda: {event["trial"] for event in events(root, kind="epoch", epoch=2)} >= {0, 1}, "two trials run")
    two_nodes.machines["second"].kill()
    done = driver.end()
    assert done.returncode == 0, done.stderr
    stderr = done.stderr
    address = two_nodes.machines["second"].address
    rows, ends = recorded(root)
    assert sorted(rows) == [(trial, epoch) for trial in range(4) for epoch in range(1, 5)]
    assert {end["state"] for end in ends.values()} == {"COMPLETED"}, "though max_failures is 0"
    (failure,) = events(root, kind="failure")
    assert f"its node {address}" in failure["reason"]
    assert f"node {address}" in stderr, "the user is told"
    # It went on from its checkpoint, on the other machine.
    again = events(root, kind="epoch", trial=failure["trial"], attempt=2)
    assert again[0]["epoch"] >= 3
    second = (root / "trials" / str(failure["trial"]) / "attempt-2" / "log.txt").read_text()
    assert second.count("greeting") == len(again), "no epoch that was reported is trained again"
    log = (root / "trials" / "0" / "attempt-1" / "log.txt").read_text()
    assert "greeting hello" in log, "variables of cluster.env arrive"
    assert "2 nodes" in stderr
    assert two_nodes.ask("print(json.dumps([node['Alive'] for node in ray.nodes()].count(True)))") == 1


@pytest.mark.ray
@pytest.mark.cluster
def test_what_a_driver_leaves_behind(own_lab: Lab, write_spec: WriteSpec, tmp_path: Path) -> None:
    """Nothing, however it ends; and the cluster stays."""
    own_lab.start()
    file = write_spec(fixed={"epochs": 500, "epoch_s": 0.5}, search={"sampler": "random", "trials": 2})
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        verb = ("run", file) if number == signal.SIGINT else ("resume", "small")
        driver = own_lab.begin_sweep(*verb, "--address", own_lab.address, cwd=tmp_path)
        attempt = 1 if number == signal.SIGINT else 2
        driver.until(lambda: events(tmp_path / "results" / "small", kind="epoch", attempt=attempt), "a trial runs")  # noqa: B023
        driver.process.send_signal(number)
        assert driver.end(60).returncode == code
        left = "import time\ndeadline = time.monotonic() + 20\n"
        left += "from ray._private import state\n"
        left += "def left():\n"
        left += "    groups = [g for g in ray.util.placement_group_table().values() if g['state'] != 'REMOVED']\n"
        left += "    return [a for a in state.actors().values() if a['State'] != 'DEAD'] + groups\n"
        left += "while left() and time.monotonic() < deadline: time.sleep(0.2)\n"
        left += "print(json.dumps(len(left())))"
        assert own_lab.ask(left) == 0
