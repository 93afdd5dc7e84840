"""The live table of a run on a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from rich.console import Console

from sweep_runner.cli import live
from sweep_runner.cli.common import Out
from sweep_runner.execution.driver.progress import fitting
from sweep_runner.execution.worker.messages import Message
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec
from tests.support.sweeps import SPEC, open_keeper
from trainables.contract import EpochReport

Shown = Callable[..., str]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What a terminal shows while two trials run on these hosts."""

    def show(*hosts: str, width: int = 120) -> str:
        file = tmp_path / "sweep.yaml"
        file.write_text(yaml.safe_dump(SPEC))
        screen = io.StringIO()
        monkeypatch.setattr(
            live, "console", lambda: Console(file=screen, force_terminal=True, width=width, color_system=None)
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
    for words in ("small", "2 running", "best val_accuracy 0.5000", "140 images/s", "1/4", "lr "):
        assert words in text
    assert "node-1" not in text, "there is one machine"


def test_eighty_columns_hold_what_matters_most(shown: Shown) -> None:
    lines = [line.rstrip() for line in click.unstyle(shown("node-1", "node-2", width=80)).splitlines()]
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    for words in ("small  0/6 trials  0:00 elapsed", "best val_accuracy 0.5000 (trial 0)", "2 running"):
        assert words in text
    header = next(line for line in lines if line.lstrip().startswith("trial "))
    assert header.split()[:5] == ["trial", "epoch", "val_accuracy", "best", "for"]
    assert any(line.split()[:2] == ["0", "1/4"] for line in lines)


def test_what_does_not_fit_goes_in_order() -> None:
    columns = ("trial", "name", "epoch", "val_accuracy", "best", "for", "images/s", "host", "params")
    row = ("12", "usual-resnet18", "3/10", "0.8123", "0.8200", "1:02", "120", "node-1", "lr 0.00123, model resnet18")
    assert fitting(columns, [row], 120)[0] == [*columns]
    assert fitting(columns, [row], 80)[0] == [name for name in columns if name not in ("images/s", "host")]
    narrow, (cells,) = fitting(columns, [row], 44)
    assert narrow[:5] == ["trial", "epoch", "val_accuracy", "best", "for"]
    assert len("  ".join(cells)) <= 44


def test_params_that_do_not_fit_are_shown_as_values() -> None:
    columns = ("trial", "epoch", "params")
    rows = [("1", "3/10", "model simple_cnn3, optimizer sgd, momentum 0.9"), ("2", "", "model mlp6, optimizer adam")]
    brief = ("model · optimizer · momentum", "simple_cnn3 · sgd · 0.9", "mlp6 · adam · –")
    assert fitting(columns, rows, 80, brief) == ([*columns], [list(row) for row in rows])
    names, cells = fitting(columns, rows, 44, brief)
    assert names == ["trial", "epoch", "model · optimizer · momentum"]
    assert [row[-1] for row in cells] == list(brief[1:])
    assert fitting(columns, rows, 30, brief)[1][0][-1] == "simple_cnn3 · s…"


def test_on_several_machines_it_tells_where(shown: Shown) -> None:
    text = shown("node-1", "node-2")
    assert "host" in text
    assert "node-1" in text
    assert "node-2" in text
