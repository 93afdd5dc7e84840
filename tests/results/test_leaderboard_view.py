"""The leaderboard on a terminal: few columns, no broken words; and everything for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
import pytest

from sweep_runner.cli.main import main
from sweep_runner.results.paths import ResultsPaths, SweepPaths

Top = Callable[[int | None], str]


@pytest.fixture
def top(
    results: ResultsPaths,
    make_sweep: Callable[..., SweepPaths],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Top:
    """What `sweep top` prints on a terminal of some width, or (None) for a program."""
    params: list[dict[str, Any]] = [
        {"model": "mobilenetv3_large_100", "optimizer": "adam", "learning_rate": 0.00123, "input_resolution": 96},
        {"model": "mobilenetv3_large_100", "optimizer": "sgd", "learning_rate": 0.1, "input_resolution": 224},
    ]
    make_sweep("wide", params)

    def run(width: int | None) -> str:
        if width is not None:
            monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
            monkeypatch.setenv("COLUMNS", str(width))
        assert main(["top", "wide", "--results", str(results.root)]) == 0
        captured = capsys.readouterr()
        return click.unstyle(captured.out + captured.err)

    return run


def test_programs_get_every_column(top: Top) -> None:
    header = next(line for line in top(None).splitlines() if line.startswith("rank\t"))
    assert {"name", "val_accuracy", "model", "optimizer", "learning_rate", "input_resolution"} <= {*header.split("\t")}


def test_what_is_the_same_in_all_rows_has_no_column(top: Top) -> None:
    text = top(120)
    header = next(line for line in text.splitlines() if line.startswith("rank "))
    assert header.split()[:4] == ["rank", "trial", "state", "val_accuracy"]
    assert header.split()[-3:] == ["optimizer", "learning_rate", "input_resolution"]
    assert "all of them: model mobilenetv3_large_100\n" in text


def test_on_a_narrow_terminal_the_params_share_a_column(top: Top) -> None:
    text = top(70)
    assert all(len(line) <= 70 for line in text.splitlines())
    assert "params" in text
    words = text.replace(",", "").split()
    for word in ("COMPLETED", "optimizer", "sgd", "learning_rate", "0.00123", "input_resolution", "224"):
        assert word in words, "no word is broken"
