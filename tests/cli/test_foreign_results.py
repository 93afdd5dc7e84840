"""Results that somebody else made: looked at, never run, and without a say over the terminal."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
import yaml

from sweep_runner.cli import common
from sweep_runner.cli.main import main
from sweep_runner.cli.tables import print_table, printable
from sweep_runner.results.paths import SweepPaths
from sweep_runner.spec.model import SweepSpec
from tests.support.cli import Refused
from tests.support.evaluated import write_evaluated_sweep
from trainables.checkpoints import attempt_folders, latest_checkpoint

TITLE = "\x1b]0;owned\x07"
CLEARED = "\x9b2J"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_steers_a_terminal_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printable(f"{TITLE}a\tb\nc{CLEARED}\u202e\udcff ü") == "\\x1b]0;owned\\x07a\tb\nc\\x9b2J\\u202e\\udcff ü"
    screen = Terminal()
    print_table([f"name{TITLE}", "value"], [[f"evil{TITLE}{CLEARED}", 1.5]], title=f"of {TITLE}", stream=screen)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    common.Out().warn(f"trial 0 FAILED: {TITLE}{CLEARED}")
    common.Out().result(TITLE)
    shown = screen.getvalue()
    assert "owned" in shown
    assert "\x1b]" not in shown
    assert "\x07" not in shown
    assert "\x9b" not in shown


def test_a_report_runs_no_module_that_the_results_name(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_evaluated_sweep(here / "results", ["a", "b"], epochs=2, baselines=[], num_others=1, examples=20)
    (here / "foreign_module.py").write_text("import pathlib\npathlib.Path('was-run').touch()\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for changes in ({"trainable": "foreign_module:T"}, {"data": {"dataset": "foreign_module:D", "root": "."}}):
        _change_spec(paths, changes)
        assert main(["report", paths.name]) == 0
        said = capsys.readouterr().err
        assert "the results name foreign_module, and what results name is not run" in said
        assert not (here / "was-run").exists()
    assert main(["report", paths.name, "--own-modules"]) == 0
    assert (here / "was-run").exists()
    sys.modules.pop("foreign_module", None)


def _change_spec(paths: SweepPaths, changes: dict[str, object]) -> None:
    spec = yaml.safe_load(paths.spec.read_text()) if paths.spec.exists() else SweepSpec(name=paths.name).model_dump()
    paths.spec.write_text(yaml.safe_dump({**spec, **changes}))


def test_a_results_folder_whose_name_is_no_text_is_refused(refused: Refused, here: Path) -> None:
    folder = os.fsencode(here) + b"/r\xe9sultats"
    os.mkdir(folder)  # noqa: PTH102 - bytes
    for command in (["ls"], ["top", "a"], ["query", "select 1"]):
        assert "r\\udce9sultats has a name that is not UTF-8" in refused(*command, "--results", os.fsdecode(folder))


def test_a_copy_beside_an_attempt_is_left_alone(tmp_path: Path) -> None:
    for attempt in ("attempt-10", "attempt-2", "attempt-2.bak", "attempt-"):
        (tmp_path / attempt / "checkpoints" / "epoch-00001.bak").mkdir(parents=True)
    assert [path.name for path in attempt_folders(tmp_path)] == ["attempt-2", "attempt-10"]
    assert latest_checkpoint(tmp_path) is None


def test_the_explorer_asks_for_no_address(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """Streamlit asks at its first start for an email address, and waits."""
    pytest.importorskip("streamlit")
    import subprocess

    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command) or _Ended())
    (here / "results").mkdir()
    assert main(["app", "--no-browser"]) == 0
    (command,) = commands
    assert command[command.index("--server.showEmailPrompt") + 1] == "false"


class _Ended:
    returncode = 0
