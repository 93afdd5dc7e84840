"""Paths at the end of a run can be typed as they stand, and are no longer than they need to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep_runner.results.display import from_here


def test_a_path_below_this_folder_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert from_here(tmp_path / "results" / "quickstart" / "report.html") == "results/quickstart/report.html"
    assert from_here(Path("results/x")) == "results/x"


def test_a_path_elsewhere_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert from_here(tmp_path / "results") == str(tmp_path / "results")
