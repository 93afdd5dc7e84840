"""A sweep file, or the code, that changed between a run and its resume, as a user sees it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweep_runner.cli.main import main
from sweep_runner.execution.driver import preparing
from sweep_runner.execution.worker.messages import Message
from sweep_runner.results.environment import add_run, capture_environment
from sweep_runner.results.events import SweepChanged
from sweep_runner.results.log import EventLog
from sweep_runner.results.lookup import find_sweep
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import dump_spec, load_resolved, load_spec
from tests.support.sweeps import log_of, open_keeper, sweep
from trainables.contract import EpochReport

WriteSpec = Callable[..., Path]


@pytest.fixture
def begun(write_spec: WriteSpec, tmp_path: Path) -> Path:
    """The folder of a sweep of which two trials have ended and one runs; its file is `sweep.yaml` beside `results`."""
    spec = check_spec(load_spec(write_spec(search={"sampler": "tpe", "trials": 6}))).spec
    root = tmp_path / "results" / "small"
    root.parent.mkdir()
    with open_keeper(spec, root) as keeper:
        for number in range(2):
            assignment = keeper.next()
            assert assignment is not None
            report = EpochReport(1, {"val_accuracy": 0.5 + number / 10})
            keeper.on_message(number, Message(trial=number, attempt=1, report=report))
            keeper.on_message(number, Message(trial=number, attempt=1, outcome="completed"))
        keeper.next()
    (root / "sweep.yaml").write_text(dump_spec(spec))
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (["fixed.epochs=9"], ["fixed.epochs: 4 → 9"]),
        (["search.seed=4", "search.sampler=random"], ["search.seed: 0 → 4", 'search.sampler: "tpe" → "random"']),
        (["objective={metric: val_loss}"], ['objective.metric: "val_accuracy" → "val_loss"', 'mode: "max" → "min"']),
        (["space.lr.low=0.99"], ["space.lr.low: 0.0001 → 0.99 (trial 0 with "]),
        (["space.momentum=[0.8, 0.9]"], ["space.momentum: (not there) → ", "(trials 0, 1, 2 without it)"]),
        (["baselines.late={lr: 0.5}", "search.trials=3"], ["baselines.late: (not there) → ", "trials is 3: raise"]),
        (["name=other"], ["name: small → other"]),
    ],
)
def test_what_may_not_change_is_refused_and_nothing_is_touched(
    begun: Path, changes: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(begun)
    settings = [word for change in changes for word in ("--set", change)]
    assert main(["resume", "small", "--results", str(begun.parent), *settings]) == 2
    told = capsys.readouterr().err
    for line in lines:
        assert line in told, told
    assert "Traceback" not in told
    # (The lock names nobody any more.)
    assert {name: text for name, text in contents(begun).items() if name != "lock"} == before
    if changes != ["name=other"]:
        assert "under another name" in told


def test_extend_refuses_the_same(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["extend", "small", "--trials", "1", "--set", "fixed.epochs=9", "--results", str(begun.parent)]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "changed:" not in told, "what is refused is told once"
    assert "error: fixed.epochs: 4 → 9" in told


def test_a_file_of_another_name_is_another_sweep(
    begun: Path, write_spec: WriteSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_spec(name="tall")
    assert main(["resume", "small", "--file", str(file), "--results", str(begun.parent)]) == 2
    told = capsys.readouterr().err
    assert f"{file}:1: name: small → tall" in told
    assert "--set name=small" in told


def test_other_data_is_refused_with_what_the_file_says_of_it(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep of a trainable that reads data; here its digest is what its data section says."""
    (tmp_path / "reads.py").write_text(
        "from pydantic import BaseModel\n"
        "from trainables.contract import Preparation\n"
        "from trainables.synthetic import Synthetic\n"
        "class Data(BaseModel):\n"
        "    which: str = 'one'\n"
        "    weights: str = '00ff'\n"
        "class Reads(Synthetic):\n"
        "    data_class = Data\n"
        "    def prepare(self, candidates, progress):\n"
        "        return Preparation(fingerprint=self.data.which, digests={'weights of net': self.data.weights})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = load_resolved(begun / "sweep.yaml").spec
    reads = spec.model_copy(update={"trainable": "reads:Reads", "data": {"which": "one"}})
    root = begun.parent / "reads"
    with open_keeper(reads, root):
        pass
    (root / "sweep.yaml").write_text(dump_spec(reads))
    with EventLog.open(root / "log.jsonl") as log:
        digests = {"weights of net": "00ff", "weights of another": "1234"}
        log.append(SweepChanged(time=1.0, state="RUNNING", data_fingerprint="one", digests=digests))
    before = contents(root)
    # However long reading takes on a busy machine, Ray is not to start in this process.
    monkeypatch.setattr(preparing, "_LISTING_S", 600.0)
    assert main(["resume", "reads", "--set", "data.which=two", "--results", str(begun.parent)]) == 2
    told = capsys.readouterr().err
    assert 'data.which: "one" → "two"' in told
    assert "fingerprint one → two" in told
    # In a process of its own, because Ray can be started once in each.
    arguments = ("resume", "reads", "--set", "data.weights=00fe", "--results", begun.parent)
    refused = sweep(*arguments, cwd=tmp_path, PYTHONPATH=os.pathsep.join([str(Path.cwd()), str(tmp_path)]))
    assert refused.returncode == 2
    told = " ".join(refused.stderr.split())
    assert "the weights of net differ from those at the start of the sweep (digest 00ff → 00fe)" in told
    for name in ("sweep.yaml", "study.journal", "log.jsonl"):
        assert contents(root)[name] == before[name]


def environment(**changes: Any) -> dict[str, Any]:
    versions = {"torch": "2.15.0", "optuna": "5.0.0"}
    return {"python": "3.11.9", "git_commit": "a" * 40, "git_changes": None, "versions": versions, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"git_commit": "b" * 40}, ["git commit aaaaaaaaaa → bbbbbbbbbb"]),
        ({"git_commit": None}, ["git commit aaaaaaaaaa → none"]),
        ({"git_changes": "1234"}, ["uncommitted changes of the code"]),
        ({"python": "3.12.1"}, ["python 3.11.9 → 3.12.1"]),
        (
            {"versions": {"torch": "2.16.0", "ray": "3"}},
            ["torch 2.15.0 → 2.16.0", "optuna 5.0.0 → none", "ray none → 3"],
        ),
    ],
)
def test_other_code_is_told_and_every_environment_kept(
    changes: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "environment.json"
    first = environment(command="sweep run x.yaml")
    document, told = add_run(path, first)
    assert (document, told) == (first, [])
    path.write_text(json.dumps(document))
    second = environment(command="sweep resume x", **changes)
    document, told = add_run(path, second)
    assert (document, told) == ({**first, "later_runs": [second]}, words)
    path.write_text(json.dumps(document))
    third = environment(command="sweep extend x", **changes)
    assert add_run(path, third) == ({**first, "later_runs": [second, third]}, [])


def test_a_damaged_environment_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_text('{"python": "3.')
    assert add_run(path, environment()) == (environment(), [])
    assert [file.name for file in tmp_path.iterdir()] == ["environment.json.damaged"]


def test_the_capture_tells_changed_code_from_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = tmp_path / "code.py"
    code.write_text("x = 1\n")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "c"]):
        subprocess.run(["git", *command], check=True)
    assert capture_environment([])["git_changes"] is None
    code.write_text("x = 2\n")
    two = capture_environment([])["git_changes"]
    code.write_text("x = 3\n")
    three = capture_environment([])["git_changes"]
    assert two
    assert three
    assert two != three


@pytest.mark.ray
def test_extended_into_a_wider_space_and_resumed_from_an_edited_file(write_spec: WriteSpec, tmp_path: Path) -> None:
    write_spec(search={"sampler": "grid", "trials": 9}, space={"lr": [0.01, 0.1]}, fixed={"epochs": 2})
    first = sweep("run", "sweep.yaml", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    root = tmp_path / "results" / "small"
    ends = [event for event in log_of(root) if event["kind"] == "end"]
    environment_file = root / "environment.json"
    document = json.loads(environment_file.read_text())
    document["versions"]["torch"] = "1.0"
    environment_file.write_text(json.dumps(document))

    wider = ("--set", "space.lr=[0.01, 0.1, 0.5, 0.6]")
    more = sweep("extend", "small", "--trials", "1", *wider, "--json", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert json.loads(more.stdout)["trials"] == {"COMPLETED": 3}
    assert "changed: space.lr.values: [0.01, 0.1] → [0.01, 0.1, 0.5, 0.6]" in more.stderr
    (warning,) = [line for line in more.stderr.splitlines() if "code or versions differ from the previous run" in line]
    assert "torch 1.0 → " in warning

    write_spec(
        search={"sampler": "grid", "trials": 9},
        space={"lr": [0.01, 0.1, 0.5, 0.6], "optimizer": ["adam"]},
        baselines={"late": {"lr": 0.6}},
        fixed={"epochs": 2},
    )
    refused = sweep("resume", "small", "--file", "sweep.yaml", cwd=tmp_path)
    assert refused.returncode == 2
    assert "space.optimizer: (not there)" in refused.stderr

    write_spec(
        search={"sampler": "grid", "trials": 9},
        space={"lr": [0.01, 0.1, 0.5, 0.6]},
        baselines={"late": {"lr": 0.6}},
        fixed={"epochs": 2},
    )
    last = sweep("resume", "small", "--file", "sweep.yaml", cwd=tmp_path)
    assert last.returncode == 0, last.stderr

    rows = {row["trial"]: row for row in pq.read_table(root / "tables" / "trials").to_pylist()}
    assert len(rows) == 5
    assert {rows[number]["lr"] for number in (0, 1)} == {0.01, 0.1}
    assert [row["name"] for row in rows.values()] == [None, None, None, "late", None]
    assert {row["lr"] for row in rows.values()} == {0.01, 0.1, 0.5, 0.6}
    after = [event for event in log_of(root) if event["kind"] == "end"]
    assert after[:2] == ends
    assert len(json.loads(environment_file.read_text())["later_runs"]) == 2
    assert find_sweep(ResultsPaths(root.parent), "small").spec == root / "sweep.yaml"
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(root / "study.journal"))))
    assert len(study.trials) == 5
