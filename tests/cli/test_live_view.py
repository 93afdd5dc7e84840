"""The live table of a run on a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from sweep_runner.cli import live
from sweep_runner.cli.common import Out
from sweep_runner.execution.messages import Message
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec
from tests.support.sweeps import SPEC, open_keeper
from trainables.contract import EpochReport

Shown = Callable[..., str]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What a terminal shows while two trials run on these hosts."""

    def show(*hosts: str) -> str:
        file = tmp_path / "sweep.yaml"
        file.write_text(yaml.safe_dump(SPEC))
        screen = io.StringIO()
        monkeypatch.setattr(
            live, "console", lambda: Console(file=screen, force_terminal=True, width=120, color_system=None)
        )
        monkeypatch.setattr(live, "_REFRESH_S", 0.0)
        with open_keeper(check_spec(load_spec(file)).spec, tmp_path / "small") as keeper:
            for host in hosts:
                assignment = keeper.next()
                assert assignment is not None
                report = EpochReport(1, {"val_accuracy": 0.5, "images_per_s": 70.0})
                keeper.on_message(
                    assignment.trial, Message(trial=assignment.trial, attempt=1, host=host, device="cpu", report=report)
                )
            view = live.View(Out(), "small", 6, 4)
            with view.open():
                view.tick(keeper, keeper._recorder.state)
        return screen.getvalue()

    return show


def test_it_shows_what_runs_and_how_far(shown: Shown) -> None:
    text = shown("node-1", "node-1")
    for words in ("small", "2 running", "best val_accuracy 0.5000", "140 images/s", "1/4", "lr="):
        assert words in text
    assert "node-1" not in text, "there is one machine"


def test_on_several_machines_it_tells_where(shown: Shown) -> None:
    text = shown("node-1", "node-2")
    assert "host" in text
    assert "node-1" in text
    assert "node-2" in text
