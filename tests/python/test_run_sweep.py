"""`run_sweep` and `Sweep` as a program meets them; the sweeps themselves run in tests/examples/test_notebook.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from sweep_runner import Sweep, run_sweep
from sweep_runner.cli.main import main
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.python import session
from sweep_runner.python.session import Request
from sweep_runner.python.show import Lines, Notebook, screen
from sweep_runner.spec.check import load_plan
from trainables import notebook
from trainables.contract import Trainable, TrialHandle
from trainables.errors import TrainableError
from trainables.loading import NoSuchTrainable, load_trainable
from trainables.local import LocalHandle

CURVES: Mapping[str, Any] = {
    "name": "curves",
    "trainable": "synthetic",
    "fixed": {"epochs": 2},
    "space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}},
    "objective": {"metric": "val_accuracy"},
    "search": {"trials": 2},
}


def climb(lr: float = 0.1, epochs: int = 3, name: str = "x") -> Iterator[Mapping[str, float]]:
    for epoch in range(epochs):
        yield {"val_score": lr * (epoch + 1)}


def pretend(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Runs this program instead of the sweep's process; it writes events with `tell`."""
    head = "import json, os, signal, sys, time\npipe = os.fdopen(int(sys.argv[1]), 'w', buffering=1)\n"
    head += "tell = lambda **event: print(json.dumps(event), file=pipe)\n"

    def start(request: Request, folder: Path, output: int) -> tuple[subprocess.Popen[bytes], int]:
        reading, writing = os.pipe()
        command = [sys.executable, "-c", head + program, str(writing)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, pass_fds=(writing,), start_new_session=True
        )
        os.close(writing)
        return process, reading

    monkeypatch.setattr(session, "_start", start)


def test_a_mapping_is_checked_as_a_file_is(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has no hyperparameter 'lrr'"):
        run_sweep({**CURVES, "space": {"lrr": [1, 2]}}, results=tmp_path)
    with pytest.raises(RequestError, match=r"search\.trials"):
        run_sweep(CURVES, results=tmp_path, search={"trials": 0})
    with pytest.raises(RequestError, match="no argument 'trials'"):
        run_sweep(CURVES, results=tmp_path, trials=3)
    with pytest.raises(RequestError, match="no such file"):
        run_sweep(tmp_path / "missing.yaml", results=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_overrides_are_of_single_keys() -> None:
    sections = {"name": "b", "search": {"trials": 3}, "space": {"lr": (0.1, np.float32(0.5))}}
    plan = load_plan(dict(CURVES), list(session.overrides_of(sections)))
    assert (plan.spec.name, plan.spec.search.trials, plan.spec.fixed) == ("b", 3, {"epochs": 2})
    assert plan.spec.space["lr"].describe() == "one of 0.1, 0.5"


def test_the_end_of_the_process_is_the_end_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(
        monkeypatch, "tell(kind='refused', problems=[{'message': 'too many', 'where': '', 'hint': ''}]); sys.exit(2)"
    )
    with pytest.raises(RequestError, match="too many"):
        run_sweep(CURVES, results=tmp_path)
    pretend(monkeypatch, "tell(kind='step', text='x'); sys.exit('it broke')")
    with pytest.raises(SweepError, match="ended with 1:\nit broke"):
        run_sweep(CURVES, results=tmp_path)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, as in a terminal; tests in the background inherit that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_stops_the_sweep_politely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
def stop(*_):
    tell(kind='interrupted', text='stopped by SIGINT; nothing is lost')
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
tell(kind='step', text='training')
time.sleep(60)
"""
    pretend(monkeypatch, program)

    class Impatient(Lines):
        def show(self, event: Mapping[str, Any]) -> None:
            if event["kind"] == "step":
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    plan = load_plan(dict(CURVES))
    with pytest.raises(KeyboardInterrupt, match=r"stopped by SIGINT.*resume=True.*Sweep\('curves'\)"):
        session.run(Request(plan, tmp_path, False, False), Impatient(quiet=True))


def test_a_process_whose_notebook_is_gone_stops(tmp_path: Path) -> None:
    program = "import time; from sweep_runner.python.driver import listen; listen(); time.sleep(60)"
    # As a shell starts it in the background.
    quiet = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", quiet, sys.executable, "-c", program]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) in (1, 130, -signal.SIGINT)


# Trainables of a notebook ------------------------------------------------------------------------------


def test_the_arguments_of_a_function_are_hyperparameters(tmp_path: Path) -> None:
    name = notebook.hold(climb)
    found = load_trainable(name)
    assert name == "notebook:climb"
    assert {*found.config_class.model_fields} == {"lr", "epochs", "name"}
    handle = LocalHandle(tmp_path, seed=0, metric="val_score")
    found(found.data_class(), tmp_path).train(found.config_class(lr=0.5, epochs=2), handle)
    assert [report.metrics["val_score"] for report in handle.reports] == [0.5, 1.0]
    with pytest.raises(RequestError, match="has no hyperparameter 'momentum'"):
        run_sweep({"name": "x", "trainable": climb, "space": {"momentum": [1, 2]}}, results=tmp_path)


def test_a_function_may_take_the_handle(tmp_path: Path) -> None:
    def train(handle: TrialHandle, lr: float = 0.1) -> None:
        (handle.folder / "seen").write_text(str(lr))

    found = load_trainable(notebook.hold(train))
    handle = LocalHandle(tmp_path, seed=0, metric="val_score")
    found(found.data_class(), tmp_path).train(found.config_class(), handle)
    assert (handle.folder / "seen").read_text() == "0.1"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda lr=0.1: None, "can report nothing"),
        (lambda *values: (yield {}), "is not a hyperparameter"),
        (int, "not a subclass"),
        (3, "neither a function nor a class"),
    ],
)
def test_what_cannot_train_is_refused(tmp_path: Path, wrong: Any, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        run_sweep({"name": "x", "trainable": wrong, "space": {"lr": [1, 2]}}, results=tmp_path)


def test_other_processes_get_what_a_script_defines(tmp_path: Path) -> None:
    """Classes with configs of their own as well: a process that has never seen the script trains with them."""
    script = tmp_path / "script.py"
    script.write_text(
        """
import sys
from pathlib import Path
from pydantic import BaseModel, ConfigDict
from trainables import notebook
from trainables.contract import EpochReport, Trainable

class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    lr: float = 0.1

class Own(Trainable):
    config_class = Config
    def train(self, config, handle):
        handle.report(EpochReport(1, {"val_score": helper(config.lr)}))

def helper(value):
    return 2 * value

def plain(lr: float = 0.5):
    yield {"val_score": helper(lr)}

for found in (Own, plain):
    notebook.write_pickle(notebook.hold(found), Path(sys.argv[1]))
"""
    )
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    reader = """
import sys
from pathlib import Path
from trainables.loading import load_trainable
from trainables.local import LocalHandle
for name in ("Own", "plain"):
    found = load_trainable(f"notebook:{name}")
    handle = LocalHandle(Path(sys.argv[1]) / name, seed=0, metric="val_score")
    found(found.data_class(), Path(sys.argv[1])).train(found.config_class(), handle)
    print(handle.reports[0].metrics["val_score"])
"""
    environment = {**os.environ, notebook.FOLDER: str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", reader, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0.2", "1.0"]


def test_without_its_notebook_a_trainable_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(notebook.FOLDER, raising=False)
    with pytest.raises(NoSuchTrainable, match="a notebook held"):
        load_trainable("notebook:elsewhere")
    (tmp_path / "s.yaml").write_text("name: s\ntrainable: notebook:elsewhere\nspace: {lr: [1, 2]}\n")
    assert main(["check", str(tmp_path / "s.yaml")]) == 2
    assert "resume=True" in capsys.readouterr().err


def test_what_cannot_be_pickled_is_told() -> None:
    lock = threading.Lock()

    def train(lr: float = 0.1) -> Iterator[Mapping[str, float]]:
        with lock:
            yield {"val_score": lr}

    with pytest.raises(TrainableError, match="no open file, connection or lock"):
        notebook.write_pickle(notebook.hold(train), Path())


# What is shown -----------------------------------------------------------------------------------------


def test_names_are_escaped_in_a_notebook() -> None:
    shown = Notebook()
    shown.show({"kind": "warning", "text": "<script>alert(1)</script>"})
    rows = [["0", "1/2", "lr <b>"]]
    event = {"kind": "progress", "name": "<i>", "done": "0/2 trials", "best": "", "times": "0:01 elapsed", "alike": ""}
    shown.show({**event, "states": "1 running", "columns": ["trial", "epoch", "params"], "rows": rows})
    page = shown.page()
    assert "<script>" not in page
    assert "&lt;i&gt;" in page
    assert "lr &lt;b&gt;" in page
    assert page.count("<tr>") == 2


def test_a_script_gets_lines() -> None:
    assert isinstance(screen(quiet=False), Lines)


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Trainable[Strict, Any]):
    config_class = Strict

    def train(self, config: Strict, handle: TrialHandle) -> None: ...


def test_there_is_no_sweep_yet(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no sweep"):
        Sweep("x", tmp_path)
    assert json.dumps(session.plain({"a": (Path("x"), np.int64(3))})) == '{"a": ["x", 3]}'
    with pytest.raises(RequestError, match="is a object"):
        session.plain(object())
