"""The leaderboard on a terminal: few columns, no broken words; and everything for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import click
import pytest

from sweep_runner.cli.main import main
from sweep_runner.results.events import EpochReported, ModelMeasured
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
    shown = {*header.split("\t")}
    assert {"name", "val_accuracy", "model", "optimizer", "learning_rate", "input_resolution"} <= shown
    assert {"host", "device"} <= shown


def test_what_is_the_same_in_all_rows_has_no_column(top: Top) -> None:
    text = top(120)
    header = next(line for line in text.splitlines() if line.startswith("rank "))
    assert header.split()[:4] == ["rank", "trial", "state", "val_accuracy"]
    assert header.split()[-3:] == ["optimizer", "learning_rate", "input_resolution"]
    assert "in all trials: model mobilenetv3_large_100\n" in text


def test_on_a_narrow_terminal_the_params_share_a_column(top: Top) -> None:
    text = top(70)
    assert all(len(line) <= 70 for line in text.splitlines())
    for word in ("COMPLETED", "optimizer", "sgd", "learning_rate", "0.00123", "224"):
        assert word in text.split(), "no word is broken"


def test_a_place_is_shown_where_trials_ran_on_several(
    top: Top, results: ResultsPaths, make_sweep: Callable[..., SweepPaths], capsys: pytest.CaptureFixture[str]
) -> None:
    header = next(line for line in top(120).splitlines() if line.startswith("rank "))
    assert not {"host", "device"} & {*header.split()}, "one machine, one device"
    elsewhere = EpochReported(
        time=1500.0, trial=0, attempt=1, epoch=9, metrics={"val_accuracy": 0.5}, host="node2", device="cpu"
    )
    make_sweep("spread", [{"lr": 0.1}, {"lr": 0.2}], events=[elsewhere])
    assert main(["top", "spread", "--results", str(results.root)]) == 0
    header, *lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert "host" in header
    assert "device" not in header
    assert any("node1" in line for line in lines)
    assert any("node2" in line for line in lines)


@pytest.mark.parametrize("command", [("top", "wide"), ("compare", "wide/0", "wide/1"), ("ls",)])
def test_what_is_piped_has_few_digits(
    command: tuple[str, ...],
    results: ResultsPaths,
    make_sweep: Callable[..., SweepPaths],
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_sweep("wide", [{"lr": 1 / 3}, {"lr": 2 / 3}])
    assert main([*command, "--results", str(results.root)]) == 0
    out = capsys.readouterr().out
    assert not re.search(r"\d\.\d{7,}", out)
    if command[0] != "ls":
        assert "0.333333" in out


def test_a_query_keeps_every_digit(
    results: ResultsPaths, make_sweep: Callable[..., SweepPaths], capsys: pytest.CaptureFixture[str]
) -> None:
    make_sweep("wide", [{"lr": 1 / 3}])
    assert main(["query", "select lr from trials", "--results", str(results.root)]) == 0
    assert "0.3333333333333333" in capsys.readouterr().out


def test_ordered_by_latency_the_rank_stays_that_of_the_objective(
    results: ResultsPaths, make_sweep: Callable[..., SweepPaths], capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(trials: tuple[int, ...], latency_ms: float) -> ModelMeasured:
        facts = {"onnx_latency_ms": latency_ms, "onnx_bytes": 1000 * latency_ms}
        return ModelMeasured(
            time=9.0, architecture=f"{latency_ms}", facts=facts, machine="some processor, 2 CPUs", trials=trials
        )

    make_sweep("fast", [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}], events=[measured((0,), 5.0), measured((1,), 2.5)])

    def order(*options: str) -> list[dict[str, str]]:
        assert main(["top", "fast", "--results", str(results.root), *options]) == 0
        captured = capsys.readouterr()
        assert "onnx_latency_ms: one image, one thread, median; on some processor, 2 CPUs" in captured.err
        if "--by" in options:
            assert "1 of 3 trials have no onnx_" in captured.err
        header, *lines = (line.split("\t") for line in captured.out.splitlines())
        return [dict(zip(header, line, strict=True)) for line in lines]

    usual = {row["trial"]: row["rank"] for row in order()}
    by_latency = order("--by", "latency")
    assert [row["trial"] for row in by_latency] == ["1", "0", "2"]
    assert {row["trial"]: row["rank"] for row in by_latency} == usual
    assert [row["onnx_latency_ms"].removesuffix(".0") for row in by_latency] == ["2.5", "5", ""]
    assert [row["onnx_bytes"] for row in order("--by", "size")] == ["2500", "5000", ""]
