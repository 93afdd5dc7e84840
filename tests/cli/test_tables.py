"""How result tables are laid out on terminals of different widths."""

from __future__ import annotations

import io
import itertools

import click
import pytest

from sweep_runner.cli.tables import print_table

COLUMNS = ["rank", "trial", "state", "val_accuracy", "learning_rate", "input_resolution", "model"]
ROWS = [
    [1, 7, "COMPLETED", 0.98269, 0.000123456, 224, "mobilenetv3_large_100"],
    [2, 12, "PRUNED", 0.5, 0.1, 96, "resnet50 with a longer story about it"],
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(width: int, monkeypatch: pytest.MonkeyPatch, columns: list[str], rows: list[list[object]]) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    screen = Terminal()
    print_table(columns, rows, stream=screen)
    return click.unstyle(screen.getvalue()).splitlines()


def test_a_wide_terminal_has_one_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    header, first, second = lines(160, monkeypatch, COLUMNS, ROWS)
    assert header.split() == COLUMNS
    assert first.split() == ["1", "7", "COMPLETED", "0.9827", "0.000123", "224", "mobilenetv3_large_100"]
    assert "0.5000" in second, "metrics have as many decimals as each other"


def test_headers_are_broken_between_words_first(monkeypatch: pytest.MonkeyPatch) -> None:
    table = lines(100, monkeypatch, COLUMNS, ROWS)
    *header, _, _ = table
    assert len(header) == 2
    assert {word for line in header for word in line.split()} >= {"learning_", "rate", "input_", "resolution"}


def test_then_cells_are_wrapped_at_their_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = lines(80, monkeypatch, COLUMNS, ROWS)
    assert all(len(line.rstrip()) <= 80 for line in table)
    assert any(line.split()[-1] == "mobilenetv3_large_100" for line in table if line.strip())
    words = [word for line in table for word in line.split()]
    for word in ("longer", "story", "COMPLETED", "0.000123"):
        assert word in words, "no word is broken"


def test_a_long_cell_is_wrapped_before_a_header_is_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    words = " · ".join(["tf_efficientnet_lite0"] * 6)
    shown = lines(90, monkeypatch, ["rank", "trial", "95 %", "params"], [[1, 0, "0.722 to 0.875", words]])
    assert shown[0].split() == ["rank", "trial", "95", "%", "params"]
    assert "0.722 to 0.875" in shown[1], "of two cells that could be wrapped the long one is"


def test_what_is_far_too_wide_has_a_line_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [f"metric_{number}" for number in range(50)]
    table = lines(80, monkeypatch, columns, [[number / 7 for number in range(50)], [None] * 49 + [1.0]])
    assert table[0] == "row 1 of 2"
    assert table[1].split() == ["metric_0", "0"]
    assert [line.split()[0] for line in itertools.islice(table, 1, 51)] == columns
    assert table[51:] == ["row 2 of 2", "  metric_49  1.0"], "empty cells are left out"


def test_no_rows_and_no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(80, monkeypatch, ["a", "b"], []) == ["a  b"]
    assert "".join(lines(80, monkeypatch, [], [])).strip() == ""
