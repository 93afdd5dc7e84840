"""The process beside the driver: what it does, what it raises, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sweep_runner.execution.evaluation.assistant import Assistant, AssistantDied, PrepareTask, finalize_with, prepare
from sweep_runner.execution.evaluation.finalize import FinalTask
from trainables.contract import Preparation
from trainables.errors import DataError

MODULE = '''
import os, time
from pydantic import BaseModel
from trainables.contract import Preparation
from trainables.errors import DataError
from trainables.synthetic import Synthetic

class Data(BaseModel):
    what: str = ""

class Odd(Exception):
    """Cannot be pickled: it is made of two values, and knows one."""
    def __init__(self, one, two):
        super().__init__(one)

class Mine(Synthetic):
    data_class = Data
    def prepare(self, candidates, progress):
        print("not among the results")
        if self.data.what == "data":
            raise DataError("no images in there")
        if self.data.what == "odd":
            raise Odd("strange", 2)
        if self.data.what == "sleep":
            progress("sleeping", 0, 1)
            time.sleep(600)
        progress("counting", 1, 2)
        progress("counting", 2, 2)
        return Preparation(fingerprint=str(os.getpid()), summary={"candidates": str(dict(candidates))})
    def evaluate(self, config, checkpoint, split, num_threads=1):
        time.sleep(600)
'''


@pytest.fixture
def assistant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Assistant]:
    (tmp_path / "odd_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with Assistant() as assistant:
        yield assistant


def task(folder: Path, what: str = "") -> PrepareTask:
    return PrepareTask("odd_module:Mine", {"what": what}, str(folder), {"lr": [0.1]})


def prepared(assistant: Assistant, told: PrepareTask) -> tuple[Preparation, list[tuple[str, int, int]]]:
    seen: list[tuple[str, int, int]] = []
    assistant.begin(prepare, told)
    while not assistant.wait(60, lambda *news: seen.append(news)):
        pass
    preparation: Preparation = assistant.answer()
    return preparation, seen


def test_it_prepares_elsewhere_and_tells_how_far_it_is(
    assistant: Assistant, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, seen = prepared(assistant, task(tmp_path))
    assert seen == [("counting", 1, 2), ("counting", 2, 2)]
    assert first.summary == {"candidates": "{'lr': [0.1]}"}
    assert int(first.fingerprint) != os.getpid()
    second, _ = prepared(assistant, task(tmp_path))
    assert second.fingerprint == first.fingerprint, "one process does all"
    assert "not among the results" not in capfd.readouterr().out


def test_what_is_raised_there_is_raised_here(assistant: Assistant, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images in there"):
        prepared(assistant, task(tmp_path, "data"))
    with pytest.raises(RuntimeError, match="Odd: strange") as raised:
        prepared(assistant, task(tmp_path, "odd"))
    assert "odd_module.py" in str(raised.value.__cause__), "where it happened can be found"
    prepared(assistant, task(tmp_path))


def test_a_process_that_dies_is_told_and_replaced(assistant: Assistant, tmp_path: Path) -> None:
    process = sleeping_process(assistant, tmp_path)
    process.kill()
    assert assistant.wait(60)
    with pytest.raises(AssistantDied, match=r"killed by SIGKILL\): the machine may be out of memory"):
        assistant.answer()
    preparation, _ = prepared(assistant, task(tmp_path))
    assert int(preparation.fingerprint) != process.pid


def sleeping_process(assistant: Assistant, folder: Path) -> psutil.Process:
    told: list[object] = []
    assistant.begin(prepare, task(folder, "sleep"))
    while not told:
        assistant.wait(0.1, lambda *news: told.append(news))
    (process,) = psutil.Process().children()
    return process


def test_it_ends_with_the_driver(assistant: Assistant, tmp_path: Path) -> None:
    """Killed with SIGKILL, in the middle of something."""
    script = (
        "import sys, odd_module\n"
        "from sweep_runner.execution.evaluation.assistant import Assistant, PrepareTask, prepare\n"
        "assistant = Assistant()\n"
        "assistant.begin(prepare, PrepareTask('odd_module:Mine', {'what': 'sleep'}, sys.argv[1], {}))\n"
        "assistant.wait(600, lambda *news: print('asleep', flush=True))\n"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    driver = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == b"asleep\n"
    (child,) = psutil.Process(driver.pid).children()
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    child.wait(timeout=30)


def test_a_stop_ends_an_evaluation_in_the_middle(assistant: Assistant, tmp_path: Path) -> None:
    values = {"data_folder": str(tmp_path), "checkpoint": str(tmp_path), "staging": str(tmp_path)}
    final = FinalTask(
        trainable="odd_module:Mine", data={}, config={}, splits=("val",), export=False, info={}, num_threads=1, **values
    )
    began = time.monotonic()
    results = finalize_with(assistant, [final, final], lambda: time.monotonic() - began > 1.0)
    assert [result.error for result in results] == ["the final evaluation failed: stopped"] * 2
