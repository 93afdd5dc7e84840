"""What a trainable may report, and to whom it goes: nothing is taken that the tables cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.contract import EpochReport
from trainables.errors import ContractBroken
from trainables.local import LocalHandle
from trainables.reports import shortened


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("big", 10**309, "an integer of 1,027 bits.*more than a float holds"),
        ("big", -(10**5000), "an integer of 16,610 bits.*more than a float holds"),
        ("num_parameters", 2**63, "2⁶³ or more cannot be stored"),
        ("peak_memory_bytes", 1e30, "2⁶³ or more cannot be stored"),
        ("caf\udce9", 1.0, "a name is text in UTF-8"),
        ("", 1.0, "SQL could not name it"),
        ("a\0b", 1.0, "SQL could not name it"),
        (5, 1.0, "a metric named 5.*a name is text"),
        ("loss", "1.0", "not a number"),
        ("loss", True, "not a number"),
        ("loss", np.float32(1), "not a number"),
    ],
    ids=range(11),
)
def test_what_the_tables_cannot_hold_is_refused(tmp_path: Path, name: Any, value: Any, said: str) -> None:
    handle = LocalHandle(tmp_path)
    with pytest.raises(ContractBroken, match=said):
        handle.report(EpochReport(1, {"val_accuracy": 0.5, name: value}))
    assert handle.reports == []


def test_numbers_of_other_kinds_become_plain_ones(tmp_path: Path) -> None:
    handle = LocalHandle(tmp_path)
    metrics = {
        "val_accuracy": np.float64(0.5),
        "count": 10**300,
        "num_parameters": 7,
        "peak_memory_bytes": float("nan"),
    }
    handle.report(EpochReport(np.int64(1), metrics))  # type: ignore[arg-type]
    (report,) = handle.reports
    assert type(report.epoch) is int
    assert [type(value) for value in report.metrics.values()] == [float, float, int, float]
    assert report.metrics["count"] == 1e300


def test_a_handle_takes_nothing_after_its_end(tmp_path: Path) -> None:
    handle = LocalHandle(tmp_path)
    handle.report(EpochReport(1, {"val_accuracy": 0.5}))
    handle.close()
    with pytest.raises(ContractBroken, match="epoch 2 came after `train` had ended"):
        handle.report(EpochReport(2, {"val_accuracy": 0.9}), save=lambda folder: None)
    assert [report.epoch for report in handle.reports] == [1]
    assert LocalHandle(tmp_path, attempt=2).resumed is None


def test_a_reason_can_be_stored_whatever_it_holds() -> None:
    assert shortened("cannot read caf\udce9") == "cannot read caf\\udce9"
    assert len(shortened("x" * 3_000_000)) < 2_100
    assert "3,000,000 characters" in shortened("x" * 3_000_000)
