"""Quality against cost: against what, and which trials are joined."""

from __future__ import annotations

from typing import Any

from sweep_runner.report.charts.costs import size_trade_off, trade_off
from sweep_runner.report.charts.plot import Shown
from sweep_runner.results.leaderboard import Leaderboard, SweepRow, TrialRow
from tests.support.drawn import marks


def board(rows: list[dict[str, Any]], goals: tuple[tuple[str, str], ...] = ()) -> Leaderboard:
    ranked = tuple(
        TrialRow(
            rank=number + 1, trial=number, name=None, state="COMPLETED", reason=None, value=row.pop("value"),
            metrics={}, params={}, row=row,
        )
        for number, row in enumerate(rows)
    )  # fmt: skip
    return Leaderboard(SweepRow("s", "COMPLETED", {}), "val_accuracy", "max", (), ranked, (), goals)


def joined(shown: Shown) -> list[int]:
    """The trials on the line, from its left."""
    front = marks(shown)["dot second"]
    return sorted(front, key=lambda trial: front[trial])


def test_latency_and_size_where_they_were_measured() -> None:
    rows = [
        {"value": 0.9, "onnx_latency_ms": 9.0, "onnx_bytes": 5, "num_parameters": 1, "duration_s": 1.0},
        {"value": 0.8, "onnx_latency_ms": 10.0, "onnx_bytes": 4, "num_parameters": 2, "duration_s": 2.0},
        {"value": 0.7, "onnx_latency_ms": 2.0, "onnx_bytes": 6, "num_parameters": 3, "duration_s": 3.0},
    ]
    found = board(rows)
    latency, size = trade_off(found), size_trade_off(found)
    assert latency is not None
    assert size is not None
    assert latency.name != size.name
    assert joined(latency) == [2, 0]
    assert joined(size) == [1, 0]


def test_parameters_or_time_where_latency_was_not() -> None:
    rows = [
        {"value": 0.9, "num_parameters": 4, "duration_s": 1.0},
        {"value": 0.8, "num_parameters": 2, "duration_s": 9.0},
    ]
    found = trade_off(board([dict(row) for row in rows]))
    assert found is not None
    assert joined(found) == [1, 0]
    same = trade_off(board([{**row, "num_parameters": 4} for row in rows]))
    assert same is not None
    assert joined(same) == [0]
    assert size_trade_off(board([dict(row) for row in rows])) is None


def test_of_several_objectives_the_line_is_the_front_of_all() -> None:
    """Trial 1 is beaten in the two that are drawn, and good by the third."""
    rows = [
        {"value": 0.9, "onnx_latency_ms": 5.0, "onnx_bytes": 9, "pareto_front": True},
        {"value": 0.8, "onnx_latency_ms": 6.0, "onnx_bytes": 1, "pareto_front": True},
        {"value": 0.7, "onnx_latency_ms": 7.0, "onnx_bytes": 9, "pareto_front": False},
    ]
    found = trade_off(board(rows, (("onnx_latency_ms", "min"), ("onnx_bytes", "min"))))
    assert found is not None
    assert joined(found) == [0, 1]
    assert "val_accuracy, onnx_latency_ms, onnx_bytes" in found.about
