"""Tries training and export of a model once, in a process of its own, before anything depends on it.

A step on two images, a checkpoint, and that checkpoint loaded; or a translation into ONNX. A model that ends its
process, as faults in compiled code do, ends that process and no other.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

_CPU_SECONDS = 60
"""That one rehearsal may take: a second or two for most, more for the largest."""
_SECONDS = 600.0
"""After which one that waits for something is given up."""
_IDLE_S = 5.0
"""After which a process that is asked nothing ends: it holds 600 MB, and a sweep may follow the check."""
_ENDED_IDLE = 75
"""Its exit status then."""
_LATE = (0, -signal.SIGXCPU)
"""Exit statuses of a process that took too long."""
_COMMAND = (sys.executable, "-P", "-m", "trainables.image.checks.rehearsal", str(_IDLE_S))


@lru_cache(maxsize=1024)
def rehearse(name: str, pooling: str, resolution: int, channels: int) -> str | None:
    """Why a step, a checkpoint or its loading fails, None if none does.

    A rehearsal that takes too long tells nothing, which counts as no failure.
    """
    said = _ask("train", name, pooling, resolution, channels)
    if isinstance(said, int):
        return None if said in _LATE else f"a training step ends its process ({_ending(said)})"
    return said


@lru_cache(maxsize=1024)
def translate(name: str, resolution: int) -> bool | str | None:
    """Whether a new model has an ONNX translation: True, why it has none, or None when trying it takes too long."""
    said = _ask("export", name, "native", resolution, 3)
    if isinstance(said, int):
        return None if said in _LATE else f"the translation ends its process ({_ending(said)})"
    return said or True


def _ask(*question: str | int) -> str | int | None:
    """What the process answers; a number: it is gone, with this exit status, and the next question has a new one."""
    global _process
    if _process is None:
        _process = _Process()
    said = _process.ask(question, _SECONDS)
    if said == _ENDED_IDLE:
        _process = _Process()
        said = _process.ask(question, _SECONDS)
    if isinstance(said, int):
        _process = None
    return said


class _Process:
    """A Python that has torch and timm, and answers one question after the other."""

    def __init__(self) -> None:
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ask(self, question: Sequence[str | int], seconds: float) -> str | int | None:
        """Why it fails, None if it does not or if that takes too long; a number: how the process has ended."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        late = threading.Event()
        timer = threading.Timer(seconds, self._end, [late])
        timer.start()
        try:
            self._child.stdin.write(json.dumps(question) + "\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if answer:
            told: str | None = json.loads(answer)
            return told
        status = self._child.wait()
        return 0 if late.is_set() else status

    def _end(self, late: threading.Event) -> None:
        late.set()
        self._child.kill()


_process: _Process | None = None


def _ending(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _train(name: str, pooling: str, resolution: int, channels: int) -> None:
    """One step as training does it, a checkpoint, and that checkpoint loaded into another model."""
    import torch

    from trainables.image.models.factory import build_model
    from trainables.image.models.layout import channels_last
    from trainables.image.models.tryout import NUM_CLASSES, configured
    from trainables.image.training.checkpoint import load_state, load_trained, save_state
    from trainables.image.training.optim import make_optimizer

    config = configured(name, pooling, resolution, channels)
    model = channels_last(build_model(config, NUM_CLASSES)).train()
    optimizer = make_optimizer(config, model)
    images = torch.rand(2, channels, resolution, resolution).contiguous(memory_format=torch.channels_last)
    loss = torch.nn.functional.cross_entropy(model(images).float(), torch.tensor([0, 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    with TemporaryDirectory() as folder:
        save_state(Path(folder), model, optimizer)
        load_state(Path(folder), model, optimizer)
        with torch.inference_mode():
            load_trained(config, NUM_CLASSES, Path(folder))(images)


def _export(name: str, pooling: str, resolution: int, channels: int) -> None:
    """The model's package file, of random weights."""
    from trainables.image.deployment.onnx_graph import DeployedClassifier, write_onnx
    from trainables.image.models.factory import build_model, normalization
    from trainables.image.models.tryout import NUM_CLASSES, configured
    from trainables.image.package import ONNX_FILE, PackageFacts

    model = build_model(configured(name, pooling, resolution, channels), NUM_CLASSES).eval()
    facts = PackageFacts(tuple(map(str, range(NUM_CLASSES))), False, resolution, channels)
    with TemporaryDirectory() as folder:
        write_onnx(DeployedClassifier(model, *normalization(model), False).eval(), facts, Path(folder) / ONNX_FILE)


def _answer(what: str, name: str, pooling: str, resolution: int, channels: int) -> str | None:
    from trainables.image.compute.memory import is_out_of_memory
    from trainables.image.models.tryout import FAILURES, reason

    try:
        (_train if what == "train" else _export)(name, pooling, resolution, channels)
    except (*FAILURES, MemoryError) as error:
        # What does not fit here may fit where it is trained; of memory the check speaks for itself.
        return None if is_out_of_memory(error) else reason(error)
    return None


def main(idle_s: float) -> None:
    """Answers questions from stdin, a line each; ends when none has come for so long."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    while True:
        if not select.select([sys.stdin], [], [], idle_s)[0]:
            sys.exit(_ENDED_IDLE)
        line = sys.stdin.readline()
        if not line:
            return
        most = int(time.process_time()) + _CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
        print(json.dumps(_answer(*json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
