"""The benchmark of what `sweep init` writes goes on where it was, and ends within the minutes that it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import init_file


def _found(name: str, seed: int) -> dict[str, Any]:
    figures = {"metric": "accuracy", "num_examples": 120, "ours": 0.8, "peer": 0.7, "difference": [0.0, 0.2]}
    costs = {"ours_wall_s": 100.0, "peer_wall_s": 70.0, "ours_cpu_s": 150.0, "peer_cpu_s": 90.0}
    return {"set": name, "seed": seed, **figures, **costs}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was measured; each takes 180 s by a clock that nothing else moves."""
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr("benchmarks.init_file.time.monotonic", lambda: 180.0 * len(asked))

    def measure(name: str, seed: int, *others: Any) -> dict[str, Any]:
        asked.append((name, seed))
        return _found(name, seed)

    monkeypatch.setattr(init_file, "measure", measure)
    return asked


def test_a_row_that_would_not_end_in_time_is_not_begun(
    measured: list[tuple[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rows.jsonl"
    init_file.main(["flowers"], range(5), tmp_path, tmp_path, 2.0, output, within=10)
    assert measured == [("flowers", 0), ("flowers", 1), ("flowers", 2)]
    assert "2 of 5 rows were not begun" in capsys.readouterr().out


def test_rows_that_are_there_are_printed_and_not_measured_again(
    measured: list[tuple[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rows.jsonl"
    output.write_text("".join(json.dumps(_found("flowers", seed)) + "\n" for seed in (0, 1)))
    init_file.main(["flowers"], range(3), tmp_path, tmp_path, 2.0, output)
    assert measured == [("flowers", 2)]
    assert capsys.readouterr().out.count("| flowers |") == 3
