"""Runs a sweep in a process of its own, shows what it tells, and passes an interrupt on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep_runner.errors import Problem, RequestError, SweepError
from sweep_runner.python.show import Screen
from sweep_runner.spec.loader import dump_spec, opening_comment
from sweep_runner.spec.plan import Plan
from trainables import notebook

_TAIL = 2_000  # characters of what a process wrote before it ended without a word


@dataclass(frozen=True)
class Request:
    """What the process is to do.

    Attributes:
        plan: the checked sweep.
        results: the results folder.
        resume: go on with the sweep that is there.
        fresh: put a sweep that is there aside.
        changed: what of the sweep is not as it was, in words.
    """

    plan: Plan
    results: Path
    resume: bool
    fresh: bool
    changed: Sequence[str] = ()


def run(request: Request, screen: Screen) -> None:
    """Runs the sweep to its end.

    Raises:
        RequestError: it was refused.
        SweepError: it failed.
        KeyboardInterrupt: it was stopped, and can be resumed.
    """
    with tempfile.TemporaryDirectory(prefix="sweep-python-") as folder, screen:
        place = Path(folder)
        with (place / "output.txt").open("wb") as output:
            process, reading = _start(request, place, output.fileno())
        try:
            last = _follow(process, reading, screen)
        finally:
            _end(process)
        if last.get("kind") == "ended":
            return
        if last.get("kind") == "interrupted":
            raise KeyboardInterrupt(_stopped(request, str(last["text"])))
        if last.get("kind") == "refused":
            problems = [Problem(**problem) for problem in last["problems"]]
            raise RequestError(problems) if process.returncode == 2 else SweepError("\n".join(map(str, problems)))
        if process.returncode == -signal.SIGINT or process.returncode == 130:
            raise KeyboardInterrupt(_stopped(request, "stopped at once"))
        said = (place / "output.txt").read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
        raise SweepError(f"the sweep's process ended with {process.returncode}:\n{said}")


def _start(request: Request, folder: Path, output: int) -> tuple[subprocess.Popen[bytes], int]:
    spec = folder / "sweep.yaml"
    text = opening_comment(request.plan.loaded.path) + dump_spec(request.plan.spec)
    spec.write_text(text, encoding="utf-8")
    asked = {
        "spec": str(spec),
        "results": str(request.results),
        "resume": request.resume,
        "fresh": request.fresh,
        "changed": list(request.changed),
    }
    (folder / "request.json").write_text(json.dumps(asked), encoding="utf-8")
    environment = dict(os.environ)
    if request.plan.spec.trainable.startswith(notebook.PREFIX):
        notebook.write_pickle(request.plan.spec.trainable, folder)
        environment[notebook.FOLDER] = str(folder)
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "sweep_runner.python.driver", str(folder / "request.json"), str(writing)]
    try:
        # In a session of its own: an interrupt of the notebook goes to all of its processes, and twice ends a sweep.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closes when this process ends, however it does
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
            env=environment,
        )
    finally:
        os.close(writing)
    return process, reading


def _follow(process: subprocess.Popen[bytes], reading: int, screen: Screen) -> dict[str, Any]:
    """Shows what the process tells until it ends; the last that it told of its end."""
    last: dict[str, Any] = {}
    with open(reading, encoding="utf-8") as lines:
        while True:
            try:
                for line in lines:
                    event = json.loads(line)
                    if event["kind"] in ("ended", "interrupted", "refused"):
                        last = event
                    screen.show(event)
                return last
            except KeyboardInterrupt:
                # The first asks the sweep to stop, which takes seconds; a second ends it at once.
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Waits for the process, which has nothing to tell any more."""
    while True:
        try:
            process.wait()
            break
        except KeyboardInterrupt:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
    if process.stdin is not None:
        process.stdin.close()


def _stopped(request: Request, text: str) -> str:
    name = request.plan.spec.name
    return f"{text.partition('; ')[0]}. Continue with run_sweep(..., resume=True); results so far: Sweep({name!r})"


def overrides_of(sections: dict[str, Any]) -> Iterator[str]:
    """Keyword arguments as `--set` has them: `search={"trials": 4}` → `search.trials=4`; `name="x"` → `name="x"`."""
    for section, value in sections.items():
        if isinstance(value, dict):
            for key, item in value.items():
                yield f"{section}.{key}={json.dumps(plain(item))}"
        else:
            yield f"{section}={json.dumps(plain(value))}"


def plain(value: Any) -> Any:
    """A value as a sweep file could hold it: paths as text, tuples as lists, NumPy's numbers as Python's."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if callable(item := getattr(value, "item", None)):
        return plain(item())
    raise RequestError(
        f"{value!r:.80} is a {type(value).__name__}: a sweep holds text, numbers, true, false, lists and mappings"
    )
