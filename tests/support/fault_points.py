"""Kills a command at each fsync and rename that it makes, and goes on as a user would: nothing lost, nothing twice.

A fault point is such a call in this project's code, named by who makes it (`results.recorder:flush replace`); it is
taken over in the process that is to be killed, so that the project's code knows nothing of it and pays nothing for it.
Chosen by number, not by the clock: the same kills at each run. `python -m tests.support.fault_points --kills 200`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweep_runner.results.remote.address import COPIES_VARIABLE
from tests.support.s3 import BUCKET, S3Server, s3_server

NAME = "small"
SPEC: dict[str, Any] = {
    "name": NAME,
    "trainable": "tests.support.fault_story:Story",
    "fixed": {"epochs": 3},
    "space": {"lr": {"low": 0.1, "high": 1.0}},
    "baselines": {"plain": {"lr": 0.5}},
    "objective": {"metric": "score", "mode": "max"},
    "search": {"sampler": "random", "trials": 4, "seed": 3},
    "resources": {"max_failures": 1},
    "keep": {"best": 2},
    "dashboard": False,
    "metrics": False,
}
_IMPORTED_AHEAD = (
    "duckdb",
    "pyarrow.parquet",
    "sweep_runner.cli.data",
    "sweep_runner.cli.init",
    "sweep_runner.cli.main",
    "sweep_runner.cli.model",
    "sweep_runner.cli.report",
    "sweep_runner.cli.run",
    "sweep_runner.report.page",
    "sweep_runner.results.query",
    "sweep_runner.search.samplers",
    "tests.support.fault_story",
    "trainables.image.trainable",
)
"""Once, for all the children."""
_POINTS = ("fsync", "fdatasync", "replace", "rename")


@dataclass(frozen=True)
class Step:
    """A command that is killed.

    Attributes:
        name: of the step.
        start: commands that lead to where it begins; `broken` and `mended` make and remove what trial 1 fails for.
        command: that is killed.
        again: what a user does after that, in this order; what is refused by then (exit code 2) is done already.
        remote: the results are on object storage, which has lost all when the command begins.
    """

    name: str
    start: Sequence[Sequence[str]]
    command: Sequence[str]
    again: Sequence[Sequence[str]]
    remote: bool = False


RUN, RESUME = ("run", "sweep.yaml"), ("resume", NAME)
EXTEND = ("extend", NAME, "--trials", "2")
CHANGE = ("resume", NAME, "--set", "space.lr.high=2.0", "--set", "search.trials=6")
RETRY = ("retry", NAME)
EXPORT, REPORT = ("export", NAME, "--trial", "0"), ("report", NAME)
THERE = ("--results", f"s3://{BUCKET}/lab")
SYNC = ("sync", NAME, *THERE)
ROWS = ("query", "select trial, epoch, score from epochs order by all", "--format", "csv", *THERE)
INIT = ("init", "pictures", "--output", "new.yaml")

STEPS = (
    Step("run", (), RUN, (RUN, RESUME)),
    Step("extend", (RUN,), EXTEND, (RESUME, ("resume", NAME, "--set", "search.trials=6"))),
    Step("change", (RUN,), CHANGE, (CHANGE,)),
    Step("retry", (("broken",), RUN, ("mended",)), RETRY, (RESUME, RETRY)),
    Step("export", (RUN,), EXPORT, (EXPORT,)),
    Step("report", (RUN,), REPORT, (REPORT, RESUME)),
    Step("init", (), INIT, (INIT,)),
    Step("sync", ((*RUN, *THERE), ("behind",)), SYNC, (SYNC,), remote=True),
)


@dataclass(frozen=True)
class Kill:
    """Where a command ends: just before a fault point's call, or just after it."""

    number: int
    after: bool


def run(
    command: Sequence[str], folder: Path, kill: Kill | None = None, copies: str = "copies"
) -> tuple[int, str, list[str]]:
    """A command in a child of this process, which has imported everything; exit code, what it said, its points.

    Args:
        command: of `sweep`; or `broken` and `mended`, which make and remove what trial 1 fails for, or `behind`, after
            which a working copy counts as ahead of the storage.
        folder: where it runs.
        kill: where it is killed.
        copies: where working copies of remote results are, in the folder: another place is another machine.
    """
    said, points = folder / ".said", folder / ".points"
    points.write_text("")
    child = os.fork()
    if not child:
        code = 70
        with contextlib.suppress(BaseException):
            os.environ[COPIES_VARIABLE] = str(folder / copies)
            code = _in_child(command, folder, said, points, kill)
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.read_text(), points.read_text().splitlines()


def _in_child(command: Sequence[str], folder: Path, said: Path, points: Path, kill: Kill | None) -> int:
    from sweep_runner.cli.main import main
    from tests.support.fault_story import search_here

    os.chdir(folder)
    with said.open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w"), write_through=True) for n in (1, 2))
    if command == ("broken",):
        Path("broken").touch()
        return 0
    if command == ("mended",):
        Path("broken").unlink()
        return 0
    if command == ("behind",):
        (sweep,) = Path("copies").glob(f"*/{NAME}")
        (sweep / ".unsynced").touch()
        return 0
    from sweep_runner.cli import run as run_command
    from sweep_runner.execution.driver.run import Run

    Run._search = search_here  # type: ignore[method-assign]
    run_command._write_report = lambda *_: None  # type: ignore[assignment] - has a step of its own
    _take_over(points, kill)
    try:
        return main(list(command))
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - told, and the exit code says so
        traceback.print_exc()
        return 70


def _take_over(points: Path, kill: Kill | None) -> None:
    from sweep_runner import durable

    told = os.open(points, os.O_WRONLY | os.O_APPEND)
    number = 0

    def point(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def reached(*arguments: Any, **options: Any) -> Any:
            nonlocal number
            who = _who()
            if who is None:
                return call(*arguments, **options)
            number += 1
            os.write(told, f"{who} {name}\n".encode())
            if kill == Kill(number, after=False):
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **options)
            if kill == Kill(number, after=True):
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return reached

    for name in _POINTS:
        setattr(os, name, point(name, getattr(os, name)))
    durable._sync_content = os.fdatasync


def _who() -> str | None:
    """The function of this project that makes a call: what writes files for others is named after who asks it to."""
    frame: Any = sys._getframe(2)
    named = None
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(("sweep_runner.", "trainables.")):
            named = f"{module.partition('.')[2]}:{frame.f_code.co_name}"
            if module not in ("sweep_runner.durable", "sweep_runner.results.log"):
                return named
        frame = frame.f_back
    return named


def look(folder: Path) -> dict[str, Any]:
    """All that the commands have left: rows and ends of log, tables and study, each once; the package; the files."""
    from sweep_runner.api import open_results
    from sweep_runner.results.paths import SweepPaths
    from sweep_runner.search.study import Study
    from sweep_runner.spec.loader import load_resolved

    found: dict[str, Any] = {}
    if (folder / "new.yaml").exists():
        text = (folder / "new.yaml").read_text().replace(str(folder), ".")
        found["init"] = re.sub("#.*", "", text)  # the comments tell how long a batch took
    if not (folder / "results" / NAME).exists():
        return found
    paths = SweepPaths(folder / "results" / NAME)
    events = [json.loads(line) for line in paths.log.read_text().splitlines()]
    rows = Counter((event["trial"], event["epoch"]) for event in events if event["kind"] == "epoch")
    ends = [(event["trial"], event["state"], str(event["params"])) for event in events if event["kind"] == "end"]
    evaluated = Counter((event["trial"], event["split"]) for event in events if event["kind"] == "final")
    assert set(rows.values()) == {1}, f"an epoch is there twice: {rows}"
    assert not evaluated or set(evaluated.values()) == {1}, f"evaluated twice: {evaluated}"
    results = open_results(folder / "results")
    epochs = results.epochs(NAME).select(["trial", "epoch", "score"]).to_pylist()
    trials = results.trials(NAME).select(["trial", "state", "lr", "epochs"]).to_pylist()
    assert len(epochs) == len(rows), f"{len(epochs)} rows in the table, {len(rows)} in the log"
    spec = load_resolved(paths.spec).spec
    with Study.open(paths.study, spec) as study:
        of_study = sorted((trial.number, str(trial.state)) for trial in study.trials())
    left = [path.name for path in paths.root.rglob("*") if ".partial" in path.name or path.name.startswith(".final-")]
    left += [path.name for path in (paths.root / "exports").glob(".*")]
    assert not left, f"left behind: {left}"
    checkpoints = sorted(str(path.relative_to(paths.root)) for path in paths.trials.rglob("weights"))
    packages = sorted(path.parent.name for path in paths.root.rglob("model.onnx"))
    report = paths.root / "report.html"
    assert not report.exists() or report.read_text().rstrip().endswith("</html>"), "half a report"
    return found | {
        "rows": sorted(rows),
        "ends": sorted(ends),
        "evaluated": sorted(evaluated),
        "epochs": sorted(map(str, epochs)),
        "trials": sorted(map(str, trials)),
        "study": of_study,
        "kept": sorted({path.split("/")[1] for path in checkpoints}),
        "packages": packages,
        "report": report.exists(),
    }


def begin(folder: Path) -> None:
    """A working directory with a sweep file and a folder of pictures."""
    from PIL import Image

    (folder / "sweep.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    for name in ("cat", "dog"):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (number * 60, 0, 0)).save(folder / "pictures" / name / f"{number}.png")


def kill_all(kills: int, steps: Sequence[Step], tell: Callable[[str], None]) -> int:
    """Kills so many times, over all fault points of these steps; how many it were.

    Raises:
        AssertionError: something was lost, was there twice, or did not go on.
    """
    for module in _IMPORTED_AHEAD:
        importlib.import_module(module)
    needs_server = any(step.remote for step in steps)
    with (
        tempfile.TemporaryDirectory(prefix="points-") as temporary,
        s3_server() if needs_server else contextlib.nullcontext(S3Server()) as server,
    ):
        os.environ.update(server.environment if needs_server else {})
        plans = [_plan(step, Path(temporary) / step.name, server) for step in steps]
        chosen = _chosen(plans, kills)
        for plan in plans:
            tell(f"{plan.step.name}: {len(plan.points)} fault points in {len(set(plan.points))} places")
        for done, (plan, kill) in enumerate(chosen, start=1):
            _try(plan, kill, Path(temporary) / "try", server)
            if done % 20 == 0:
                tell(f"{done} of {len(chosen)} kills survived")
        for name, count in sorted(Counter(plan.points[kill.number - 1] for plan, kill in chosen).items()):
            tell(f"  {count:4d} {name}")
    return len(chosen)


@dataclass(frozen=True, eq=False)
class _Plan:
    """A step, where it begins, its points, and what it leaves when nobody disturbs it."""

    step: Step
    before: Path
    points: list[str]
    undisturbed: dict[str, Any]


def _chosen(plans: Sequence[_Plan], kills: int) -> list[tuple[_Plan, Kill]]:
    """One of each place of each step, and the others spread evenly over all points."""
    sides = (False, True)
    everywhere = [(plan, Kill(n + 1, after)) for plan in plans for n in range(len(plan.points)) for after in sides]
    places: dict[tuple[str, str], tuple[_Plan, Kill]] = {}
    for plan, kill in everywhere:
        places.setdefault((plan.step.name, plan.points[kill.number - 1]), (plan, kill))
    first = list(places.values())[:kills]
    number = min(kills, len(everywhere)) - len(first)
    rest = [one for one in everywhere if one not in first]
    return [*first, *(rest[place * len(rest) // number] for place in range(number))]


def _plan(step: Step, folder: Path, server: S3Server) -> _Plan:
    """Goes to where a step begins, and runs it once undisturbed."""
    before, whole = folder / "before", folder / "whole"
    before.mkdir(parents=True)
    begin(before)
    if step.remote:
        _empty(server)
    for command in step.start:
        code, said, _ = run(command, before)
        assert code in (0, 1), said
    shutil.copytree(before, whole, symlinks=True)
    there = _left(step, before) if step.remote else None
    if step.remote:
        _empty(server)
    code, said, points = run(step.command, whole)
    assert code == 0, f"{step.name}: {said}"
    assert there in (None, _left(step, whole)), "the storage has not what it had"
    return _Plan(step, before, points, _left(step, whole))


def _left(step: Step, folder: Path) -> dict[str, Any]:
    """What is there: in the folder, or on the storage as another machine sees it."""
    if not step.remote:
        return look(folder)
    code, said, _ = run(ROWS, folder, copies="another-machine")
    assert code == 0, said
    return {"rows on the storage": said}


def _empty(server: S3Server) -> None:
    server.remove_bucket()
    server.make_bucket()


def _try(plan: _Plan, kill: Kill, folder: Path, server: S3Server) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(plan.before, folder, symlinks=True)
    if plan.step.remote:
        _empty(server)
    where = f"{plan.step.name}, killed {'after' if kill.after else 'before'} point {kill.number}"
    code, said, points = run(plan.step.command, folder, kill)
    where = f"{where} ({points[-1] if points else 'none'})"
    assert code == -signal.SIGKILL, f"{where}: it ended by itself ({code}): {said}"
    told = ""
    for command in plan.step.again:
        code, said, _ = run(command, folder)
        told += f"\n$ sweep {' '.join(command)}\n{said}"
        assert code in (0, 1, 2), f"{where}: {told}"
        assert "Traceback" not in said, f"{where}: {told}"
    now = _left(plan.step, folder)
    for what, expected in plan.undisturbed.items():
        assert now.get(what) == expected, f"{where}: {what} are {now.get(what)}, not {expected}: {told}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--steps", nargs="*", default=[step.name for step in STEPS])
    given = parser.parse_args()
    steps = [step for step in STEPS if step.name in given.steps]
    number = kill_all(given.kills, steps, lambda text: print(text, flush=True))
    print(f"{number} kills: nothing lost, nothing twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
