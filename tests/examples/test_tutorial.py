"""The tutorial works: its commands are run one after the other, on fewer trials and epochs."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from examples.write_digits import write_digits
from sweep_runner.cli.main import main
from tests.support.documents import ROOT, commands
from tests.support.sweeps import sweep

SMALLER = ("--set", "search.trials=4", "--set", "fixed.epochs=2", "--set", "dashboard=false")
OWN_PROCESS = ("run", "extend")  # those that start Ray
ELSEWHERE = ("app",)  # it serves until it is stopped: tests/app opens it
SHOWN = [shlex.split(line)[1:] for where, line, _ in commands() if where.startswith("tutorial.md:")]


def test_it_shows_the_whole_way() -> None:
    way = {"run", "top", "show", "app", "explain", "compare", "query", "report", "predict", "evaluate"}
    assert way | {"resume", "extend"} <= {line[0] for line in SHOWN}


@pytest.mark.ray
def test_its_commands_work_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "sweeps", tmp_path / "sweeps")
    write_digits(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SWEEP_RESULTS", raising=False)
    said: dict[str, str] = {}
    for line in SHOWN:
        command = " ".join(line)
        if line[0] in OWN_PROCESS:
            done = sweep(*line, *(SMALLER if line[0] == "run" else ()), cwd=tmp_path)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            said[line[0]] = done.stdout
        elif line[0] not in ELSEWHERE:
            capfd.readouterr()
            code = main(line)
            out, err = capfd.readouterr()
            assert code == 0, f"{command}\n{err}"
            said[line[0]] = out
    assert len(said["predict"].splitlines()) == 1 + 5
    assert (tmp_path / "quickstart.html").stat().st_size > 50_000
    assert (tmp_path / "figures" / "learning-curves.png").exists()
    capfd.readouterr()
    assert main(["top", "quickstart"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 1 + 4 + 2
