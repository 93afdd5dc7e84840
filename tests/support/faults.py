"""Causing faults: sweeps of trainables that misbehave, drivers that are killed at a given moment."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.support.sweeps import sweep_command

MARK = "SWEEP_TEST_OF"
"""An environment variable by which a test knows the processes that its sweeps have started."""

TRAINABLES = '''
import ctypes
import json
import os
import signal
import time

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from trainables.contract import EpochReport, Evaluation, NoData, Trainable
from trainables.errors import Diverged


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    epochs: int = 3
    epoch_s: float = 0.0
    what: str = ""


class Base(Trainable[Config, NoData]):
    """Its score tells what it was and at which epoch: the same in every attempt."""

    config_class = Config

    def train(self, config, handle):
        first = handle.resumed.epoch + 1 if handle.resumed else 1
        for epoch in range(first, config.epochs + 1):
            time.sleep(config.epoch_s)
            self.epoch(config, handle, epoch)
            print("epoch", epoch)
            handle.report(EpochReport(epoch, {"score": len(config.what) + epoch / 10}), save=self.save)

    def epoch(self, config, handle, epoch):
        pass

    def save(self, folder):
        (folder / "state.json").write_text("{}")


class Faulty(Base):
    """Each trial ends badly in epoch 2, in its own way: for ever, or (what ends in "-once") in its first attempt."""

    def epoch(self, config, handle, epoch):
        what = config.what.removesuffix("-once")
        if what != config.what and handle.attempt > 1:
            return
        if what == "dawdles":
            time.sleep(8.5)
        if epoch != 2:
            return
        if what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "exits":
            os._exit(3)
        if what == "crashes":
            ctypes.string_at(0)
        if what == "raises":
            raise RuntimeError("the flux is off")
        if what == "hangs":
            time.sleep(600)
        if what == "exits-in-python":
            raise SystemExit(3)
        if what == "diverges":
            raise Diverged("loss is inf in step 3")
        if what == "reports-nan":
            handle.report(EpochReport(2, {"score": float("nan")}))
        if what == "reports-text":
            handle.report(EpochReport(2, {"score": "high"}))
        if what == "reports-another-metric":
            handle.report(EpochReport(2, {"other": 1.0}))
        if what == "reports-an-epoch-again":
            handle.report(EpochReport(1, {"score": 0.2}))
        if what == "eats-memory":
            eaten = []
            while True:
                eaten.append(bytearray(b"x") * (50 << 20))
                time.sleep(0.02)


class Large(Base):
    """A checkpoint takes 400 kB."""

    def save(self, folder):
        (folder / "weights").write_bytes(os.urandom(400_000))


class Slow(Base):
    """Writes checkpoints, evaluates and exports so slowly that one can kill it in the middle."""

    def save(self, folder):
        (folder / "a").write_bytes(b"a" * 1000)
        time.sleep(0.3)
        (folder / "b").write_bytes(b"b" * 1000)

    def evaluate(self, config, checkpoint, split, num_threads=1):
        assert (checkpoint / "b").read_bytes() == b"b" * 1000
        time.sleep(0.5)
        labels = {"example": ["x", "y"], "labels": [["yes"], ["no"]], "predicted": [["yes"], ["no"]]}
        rows = pa.table({"split": [split] * 2, **labels, "p_yes": [0.9, 0.2], "p_no": [0.1, 0.8]})
        classes = pa.table({"split": [split] * 2, "class": ["yes", "no"], "support": [1, 1]})
        return Evaluation({f"{split}_accuracy": 1.0}, 2, rows, classes)

    def export(self, config, checkpoint, folder, info, num_threads=1):
        (folder / "model.part").write_bytes(b"half")
        time.sleep(1.0)
        (folder / "model.part").rename(folder / "model.onnx")
        (folder / "model.json").write_text(json.dumps({"origin": dict(info)}))
        return {"agrees": True}
'''


class Driver:
    """A `sweep` command that runs beside the test.

    Args:
        arguments: of the command.
        cwd: where it runs.
    """

    def __init__(self, *arguments: str | Path, cwd: Path, **environment: str) -> None:
        self._out, self._err = (
            Path(tempfile.mkstemp(prefix=f"{name}-", dir=cwd)[1]) for name in ("driver-out", "driver-err")
        )
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                sweep_command(*arguments), cwd=cwd, stdout=out, stderr=err, env={**os.environ, **environment}
            )

    @property
    def said(self) -> str:
        """What it has written to stderr so far."""
        return self._err.read_text()

    def wait_for(self, what: Callable[[], object], timeout_s: float = 120) -> None:
        """Waits until something is so; it is an error when the command ends before, or it takes too long."""
        deadline = time.monotonic() + timeout_s
        while not what():
            assert self.process.poll() is None, f"it ended before that: {self.end()}"
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.002)

    def kill(self) -> None:
        """As the system does when memory is short: at once, without a last word."""
        self.process.kill()
        self.process.wait()

    def end(self, timeout_s: float = 60) -> tuple[int, str, str]:
        """Exit code, stdout, stderr, when it has ended."""
        code = self.process.wait(timeout=timeout_s)
        return code, self._out.read_text(), self.said


def left_behind(mark: str) -> list[psutil.Process]:
    """The processes of the sweeps that were started with this mark in their environment."""
    return [
        process
        for process in psutil.process_iter(["environ", "cmdline"])
        if (process.info["environ"] or {}).get(MARK) == mark and process.info["cmdline"]
    ]
