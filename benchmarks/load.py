"""Many trials in one sweep: does the driver grow, does it slow down, how many reports per second does it take?

`python -m benchmarks.load` drives keeper, study and recorder in this process, with workers that compute a formula;
`--ray` runs the same sweep through Ray. One sampler or pruner after the other: `--sampler random tpe`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import machine
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.worker.messages import Assignment, Message
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import SweepState
from sweep_runner.search.study import Study
from sweep_runner.spec.model import Resources, SweepSpec
from trainables.contract import EpochReport
from trainables.synthetic import SyntheticConfig, curve

_LOOK_EVERY_S = 0.5

SPACE: dict[str, Any] = {
    "lr": {"low": 1.0e-5, "high": 1.0, "log": True},
    "noise": {"low": 0.0, "high": 0.1},
    "optimizer": {"values": ("adam", "sgd")},
    "momentum": {"low": 0.0, "high": 0.99, "when": {"optimizer": ("sgd",)}},
}


@dataclass
class Course:
    """What was seen of a sweep, after each trial that ended.

    Attributes:
        ended_s: seconds since the start.
        cpu_s: seconds of CPU that the process has used: what does not depend on who else uses machine and disk.
        rss_bytes: of this process.
        deciding_s: of that, seconds in `Keeper.next`: the sampler, and the durable hand-out.
        num_reports: reports taken so far.
    """

    ended_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)
    deciding_s: float = 0.0
    decided_s: list[float] = field(default_factory=list)
    num_reports: int = 0

    def slices(self, name: str, count: int) -> tuple[float, float]:
        """Seconds that the first and the last trials took, by one of the lists, without the first trial of each."""
        seconds: list[float] = getattr(self, name)
        return seconds[count - 1] - seconds[0], seconds[-1] - seconds[-count]


def spec_of(sampler: str, trials: int, epochs: int, pruner: str = "none") -> SweepSpec:
    """A sweep of the synthetic trainable over four parameters, one of them conditional."""
    return SweepSpec.model_validate(
        {
            "name": "load",
            "trainable": "synthetic",
            "fixed": {"epochs": epochs},
            "space": SPACE,
            "search": {"sampler": sampler, "trials": trials},
            "pruner": {"kind": pruner},
            "dashboard": False,
        }
    )


@contextmanager
def open_keeper(spec: SweepSpec, root: Path, max_live: int = 2) -> Iterator[Keeper]:
    """A keeper with its study and recorder over a new folder."""
    root.mkdir(parents=True, exist_ok=True)
    paths = SweepPaths(root)

    with (
        Recorder.open(paths, spec.objective, list(spec.space), {}) as recorder,
        Study.open(paths.study, spec) as study,
    ):
        yield Keeper(spec, paths, study, recorder, max_live)


def drive(keeper: Keeper, course: Course) -> None:
    """Trains what the keeper hands out, the live trials in turn, until nothing is left."""
    process = psutil.Process()
    live: deque[tuple[Assignment, SyntheticConfig, int]] = deque()
    began = time.perf_counter()

    def fill() -> None:
        asked = time.perf_counter()
        while (assignment := keeper.next()) is not None:
            config = SyntheticConfig.model_validate(dict(assignment.config))
            live.append((assignment, config, assignment.recorded_epochs))
        course.deciding_s += time.perf_counter() - asked

    fill()
    while live:
        assignment, config, epoch = live.popleft()
        if epoch < config.epochs:
            accuracy = curve(config, epoch + 1, assignment.seed)
            metrics = {"val_accuracy": accuracy, "val_loss": 1 - accuracy, "lr": config.lr, "epoch_s": 0.01}
            message = Message(
                trial=assignment.trial, attempt=assignment.attempt, report=EpochReport(epoch + 1, metrics), host="here"
            )
            course.num_reports += 1
        else:
            message = Message(trial=assignment.trial, attempt=assignment.attempt, outcome="completed")
        if keeper.on_message(assignment.trial, Message.from_json(message.to_json())):
            live.append((assignment, config, epoch + 1))
            continue
        course.ended_s.append(time.perf_counter() - began)
        course.cpu_s.append(time.process_time())
        course.rss_bytes.append(process.memory_info().rss)
        course.decided_s.append(course.deciding_s)
        fill()


def measure(sampler: str, trials: int, epochs: int, pruner: str, folder: Path) -> Course:
    """Runs one sweep without Ray."""
    spec = spec_of(sampler, trials, epochs, pruner)
    course = Course()
    with open_keeper(spec, folder) as keeper:
        drive(keeper, course)
    return course


class _Watch:
    """An observer of a sweep with Ray that looks twice a second."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._process = psutil.Process()
        self._began = self._looked = 0.0

    def tick(self, keeper: Keeper, state: SweepState) -> None:
        now = time.perf_counter()
        self._began = self._began or now
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        ended = sum(trial.ended is not None for trial in state.trials.values())
        new = ended - len(self._course.ended_s)
        self._course.ended_s += [now - self._began] * new
        self._course.cpu_s += [time.process_time()] * new
        self._course.rss_bytes += [self._process.memory_info().rss] * new
        self._course.num_reports = sum(trial.epochs for trial in state.trials.values())

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def measure_with_ray(sampler: str, trials: int, epochs: int, pruner: str, folder: Path, max_live: int = 2) -> Course:
    """Runs one sweep as `sweep run` does."""
    from sweep_runner.execution.driver.sweep import start_sweep
    from sweep_runner.spec.check import check_spec
    from sweep_runner.spec.loader import dump_spec, load_resolved

    folder.mkdir(parents=True)
    file = folder / "load.yaml"
    spec = spec_of(sampler, trials, epochs, pruner)
    spec = spec.model_copy(update={"resources": Resources(max_concurrent=max_live)})
    file.write_text(dump_spec(spec))
    course = Course()
    start_sweep(check_spec(load_resolved(file)), SweepPaths(folder / "load"), _Watch(course))
    return course


def told(name: str, course: Course, count: int) -> str:
    """One course as a row of a Markdown table."""
    wall, cpu = course.slices("ended_s", count), course.slices("cpu_s", count)
    choosing = ""
    if course.decided_s:
        choosing = "{:.2f} → {:.2f} s".format(*course.slices("decided_s", count))
    rss = [course.rss_bytes[count - 1] / 2**20, course.rss_bytes[-1] / 2**20]
    return (
        f"| {name} | {len(course.ended_s)} | {course.num_reports} | {course.num_reports / course.ended_s[-1]:.0f} "
        f"| {wall[0]:.1f} → {wall[1]:.1f} s, **{wall[1] / wall[0]:.2f}×** "
        f"| {cpu[0]:.1f} → {cpu[1]:.1f} s, **{cpu[1] / cpu[0]:.2f}×** | {choosing} | {rss[0]:.0f} → {rss[1]:.0f} MiB |"
    )


HEADER = (
    "| sweep | trials | reports | reports per second | first → last {count} trials: time | CPU | of the time: choosing "
    "| memory after {count} → all |\n|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sampler", nargs="+", default=["random", "tpe"])
    parser.add_argument("--pruner", nargs="+", default=["none"])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10, help="reports per trial")
    parser.add_argument("--slice", type=int, default=200, help="trials at the start and at the end that are compared")
    parser.add_argument("--repeat", type=int, default=1, help="how often; the fastest by reports per second is shown")
    parser.add_argument(
        "--ray", action="store_true", help="with Ray, two trials at a time; once, for the first sampler"
    )
    parser.add_argument("--folder", type=Path, help="on which disk; by default a temporary one")
    chosen = parser.parse_args()
    if chosen.folder is not None:
        chosen.folder.mkdir(parents=True, exist_ok=True)
    print(f"{machine()}; {fsync_text(chosen.folder)}\n\n{HEADER.format(count=chosen.slice)}", flush=True)
    run = measure_with_ray if chosen.ray else measure
    for sampler in chosen.sampler[:1] if chosen.ray else chosen.sampler:
        for pruner in chosen.pruner:
            courses = []
            for _ in range(chosen.repeat):
                with tempfile.TemporaryDirectory(prefix="load-", dir=chosen.folder) as folder:
                    courses.append(
                        in_own_process(run, sampler, chosen.trials, chosen.epochs, pruner, Path(folder) / "sweep")
                    )
            best = max(courses, key=lambda course: course.num_reports / course.ended_s[-1])
            with_ray = ", with Ray" if chosen.ray else ""
            print(told(f"{sampler}, pruner {pruner}{with_ray}", best, chosen.slice), flush=True)


def in_own_process(run: Callable[..., Course], *arguments: Any) -> Course:
    """One measurement in a fresh process: memory starts from nothing, and Ray can be started again."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, *arguments).result()


def fsync_text(folder: Path | None, count: int = 200) -> str:
    """What waiting for this disk costs now."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        costs = []
        for _ in range(count):
            file.write(b"x" * 200)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            costs.append(time.perf_counter() - began)
    return f"an fsync takes {statistics.median(costs) * 1000:.2f} ms (median)"


if __name__ == "__main__":
    main()
