"""Options and output that all commands share."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
import pytest

from sweep_runner.cli.common import Out, common_options
from sweep_runner.cli.tables import print_table
from sweep_runner.results.paths import ResultsPaths


def seen(*args: str) -> tuple[ResultsPaths, Out]:
    @click.command()
    @common_options
    def command(results: ResultsPaths, out: Out) -> tuple[ResultsPaths, Out]:
        return results, out

    found: tuple[ResultsPaths, Out] = command.main(list(args), standalone_mode=False)
    return found


def test_the_results_folder_comes_from_option_environment_or_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEP_RESULTS", raising=False)
    assert seen()[0].root == tmp_path / "results"
    monkeypatch.setenv("SWEEP_RESULTS", "/mnt/all")
    assert seen()[0].root == Path("/mnt/all")
    assert seen("--results", "mine")[0].root == tmp_path / "mine"


def test_quiet_keeps_warnings_and_results_only(capsys: pytest.CaptureFixture[str]) -> None:
    out = seen("--quiet", "--verbose")[1]
    out.say("words")
    out.detail("more words")
    out.warn("careful")
    out.result("42")
    text = capsys.readouterr()
    assert text.err == "warning: careful\n"
    assert text.out == "42\n"


def test_verbose_says_details(capsys: pytest.CaptureFixture[str]) -> None:
    seen("-v")[1].detail("[more] words")
    assert capsys.readouterr().err == "[more] words\n"


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    Out().json({"a": [1, float("nan")], "b": Path("/x"), "c": (True, None)})
    assert json.loads(capsys.readouterr().out) == {"a": [1, None], "b": "/x", "c": [True, None]}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_tables_are_tab_separated_for_programs_and_aligned_for_people() -> None:
    rows = [["a\tb", 0.123456789], [None, 12.0]]
    plain = io.StringIO()
    print_table(["name", "value"], rows, stream=plain)
    assert plain.getvalue() == "name\tvalue\na b\t0.123457\n\t12\n"
    terminal = Terminal()
    print_table(["name", "value"], rows, stream=terminal, title="T")
    assert "0.1235" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue() or "name" in terminal.getvalue()


def test_on_a_narrow_screen_headers_are_folded_before_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    columns = ["trial", "validation_accuracy", "input_resolution", "model"]
    screen = Terminal()
    print_table(columns, [[7, 0.98269, 224, "simple_cnn3"]], stream=screen)
    lines = click.unstyle(screen.getvalue()).splitlines()
    assert [line for line in lines if "7" in line and "0.9827" in line and "224" in line and "simple_cnn3" in line]
    assert all(len(line) <= 40 for line in lines)
    assert len(lines) > 2
