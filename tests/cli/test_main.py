"""The `sweep` command as a whole: help, mistyped commands, and how errors end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest

from sweep_runner import __version__
from sweep_runner.cli.main import COMMANDS, main, sweep
from sweep_runner.errors import Interrupted, Problem, RequestError, SweepError
from trainables.errors import DataError, Diverged


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[BaseException], int]]:
    """Runs a command that raises, and returns the exit code of `sweep`."""

    def run(error: BaseException) -> int:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setattr(type(sweep), "get_command", lambda *_: command)
        return main(["ls"])

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: sweep {name}" in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, (_, line) in COMMANDS.items():
        assert name in text
        assert line in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sweep {__version__}\n"


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["check", "--help"], ["schema", "--help"], ["chek"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from sweep_runner.cli.main import main; main(sys.argv[1:]); "
        "heavy = {'pydantic', 'torch', 'ray', 'optuna', 'duckdb', 'pyarrow', 'numpy', 'yaml'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_mistyped_command_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chekc"]) == 2
    assert "No such command 'chekc'. Did you mean 'check'?" in capsys.readouterr().err
    assert main(["xyzzy"]) == 2
    assert "Commands: run, resume" in capsys.readouterr().err


def test_a_mistyped_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--jsn", "f.yaml"]) == 2
    assert "--json" in capsys.readouterr().err


def test_each_problem_of_a_request_is_told(fails: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    problems = [Problem("first [red]", where="f.yaml:3", hint="do this"), Problem("second")]
    assert fails(RequestError(problems)) == 2
    text = capsys.readouterr()
    assert text.err == "- f.yaml:3: first [red]\n    do this\n- second\n2 problems.\n"
    assert text.out == ""


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (SweepError("it went wrong"), 1, "error: it went wrong\n"),
        (RequestError("no such sweep", hint="sweep ls"), 2, "error: no such sweep\n    sweep ls\n"),
        (Interrupted("stopped; go on with: sweep resume x"), 130, "stopped; go on with: sweep resume x\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (DataError("no such folder"), 2, "error: no such folder\n"),
        (Diverged("the loss is nan"), 1, "error: the loss is nan\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/r/x"), 1, "error: /r/x: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/r"), 1, "error: /r: Permission denied\n    Check who"),
        (click.UsageError("one of them"), 2, "Error: one of them"),
        (click.exceptions.Exit(1), 1, ""),
    ],
)
def test_errors_end_in_their_exit_code_without_a_traceback(
    fails: Callable[..., int], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, told: str
) -> None:
    assert fails(error) == code
    text = capsys.readouterr().err.lstrip("\n")
    assert told in text
    assert "Traceback" not in text


def test_our_own_bugs_keep_their_traceback(fails: Callable[..., int]) -> None:
    with pytest.raises(ZeroDivisionError):
        fails(ZeroDivisionError())


def test_a_reader_that_goes_away_is_no_noise() -> None:
    script = f"{sys.executable} -m sweep_runner.cli.main schema | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in ("141", "0")  # 0 if everything fitted into the pipe
