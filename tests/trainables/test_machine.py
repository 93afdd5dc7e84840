"""What is measured while others have the CPUs is known for that."""

from __future__ import annotations

from collections import namedtuple

import psutil
import pytest

from trainables.machine import LOADED, OtherWork, machine_name


@pytest.mark.parametrize(
    ("busy", "own", "much"),
    [
        pytest.param(1.0, 1.0, False, id="only this process"),
        pytest.param(1.3, 1.0, False, id="a little"),
        pytest.param(3.5, 1.0, True, id="others have most of the CPUs"),
    ],
)
def test_work_of_others_is_told_from_ones_own(
    monkeypatch: pytest.MonkeyPatch, busy: float, own: float, much: bool
) -> None:
    """On four CPUs, within a second."""
    at = {"busy": 100.0, "own": 5.0, "clock": 50.0}
    times = namedtuple("times", ("user", "idle", "iowait"))
    monkeypatch.setattr(psutil, "cpu_times", lambda: times(at["busy"], 7.0, 1.0))
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr("time.process_time", lambda: at["own"])
    monkeypatch.setattr("time.monotonic", lambda: at["clock"])
    others = OtherWork()
    at |= {"busy": 100.0 + busy, "own": 5.0 + own, "clock": 51.0}
    assert others.is_much is much


def test_the_machines_name_says_so() -> None:
    assert machine_name(loaded=True) == machine_name() + LOADED
