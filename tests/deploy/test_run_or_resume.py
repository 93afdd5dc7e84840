"""`deploy/run-or-resume.sh`: the command of a job that may start again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.documents import ROOT
from tests.support.sweeps import SPEC

SCRIPT = ROOT / "deploy" / "run-or-resume.sh"


def command_of(folder: Path, *words: str) -> tuple[int, str]:
    """What the script would do: the `sweep` that it finds says its words, but for `check`, which is the real one."""
    stand_in = folder / "bin" / "sweep"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text(
        f'#!/bin/sh\nif [ "$1" = check ]; then exec {sys.executable} -m sweep_runner "$@"; fi\nprintf "<%s>" "$@"\n'
    )
    stand_in.chmod(0o755)
    path = os.pathsep.join([str(stand_in.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [str(SCRIPT), *words],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout or done.stderr


def test_a_sweep_that_is_there_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SPEC))
    options = ("--set", "search.trials=3", "--set=name=my-own", "--address", "auto")
    tail = "<--results><out><--set><search.trials=3><--set=name=my-own><--address><auto>"
    assert command_of(tmp_path, "s.yaml", "out", *options) == (0, f"<run><s.yaml>{tail}")
    (tmp_path / "out" / "my-own").mkdir(parents=True)
    (tmp_path / "out" / "my-own" / "sweep.yaml").touch()
    assert command_of(tmp_path, "s.yaml", "out", *options) == (0, f"<resume><my-own><--file><s.yaml>{tail}")


def test_a_wrong_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: s\nserch: {}\n")
    code, told = command_of(tmp_path, "s.yaml", "out")
    assert (code, "serch" in told) == (2, True)
    assert command_of(tmp_path, "s.yaml")[0] == 2
    code, told = command_of(tmp_path, "s.yaml", "s3://bucket/out")
    assert (code, "is not a folder" in told) == (2, True)
