"""Searches are judged on recorded curves: a proposal must get the curve of a setting that is like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.curves.replay import Course, epochs_until
from benchmarks.curves.sources import Recorded


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """Two settings of one network: a usual learning rate at 16 px, and one thirty times as high at 32 px."""
    rows: list[dict[str, Any]] = []
    for trial, (lr, resolution, reached) in enumerate([(1e-3, 16, 0.6), (3e-2, 32, 0.1)]):
        for epoch in (1, 2):
            settings = {"model": "net", "optimizer": "adamw", "lr": lr, "input_resolution": resolution}
            seen = {"val_accuracy": reached * epoch / 2, "unseen_accuracy": reached * epoch / 2 - 0.01}
            rows.append({"part": "small", "trial": trial, "epoch": epoch, **settings, **seen})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "small-scratch.parquet")
    return Recorded("small-scratch", tmp_path)


def test_a_proposal_gets_the_curve_of_a_like_learning_rate(recorded: Recorded) -> None:
    asked = {"model": "net", "optimizer": "adamw", "lr": 1.3e-3, "input_resolution": 32}
    assert recorded.observed(recorded.curve_of(asked), 2, seed=0) == pytest.approx(0.6)
    assert recorded.best == pytest.approx(0.59)
    assert recorded.best_seen == pytest.approx(0.6)


def test_what_a_search_costs_until_it_has_seen_a_value() -> None:
    course = Course(rows=[(0, 1, 0.3), (1, 1, 0.5), (0, 2, 0.6)])
    assert epochs_until(course, 0.5) == 2
    assert epochs_until(course, 0.7) is None
