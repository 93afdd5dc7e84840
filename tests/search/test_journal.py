"""The study's file after crashes and on a full disk."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweep_runner.errors import SweepError
from sweep_runner.search.study import Study
from sweep_runner.spec.space import FloatRange


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    """Writes beyond this size fail after a part of them, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_plain_optuna_reads_the_file(make_spec, open_study, drive, tmp_path) -> None:
    study = open_study(make_spec("tpe", 8, pruner={"kind": "successive_halving"}))
    drive(study)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    plain = optuna.load_study(study_name=None, storage=storage)
    assert plain.direction == optuna.study.StudyDirection.MAXIMIZE
    assert plain.metric_names == ["val_accuracy"]
    assert [trial.number for trial in plain.trials] == list(range(8))
    assert plain.trials[0].user_attrs["name"] == "small"
    for ours, theirs in zip(study.trials(), plain.trials, strict=True):
        assert theirs.intermediate_values == ours.intermediate
        assert theirs.params.keys() == ours.params.keys()
        assert theirs.value == ours.value
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.journal"]


def test_cut_at_every_byte_of_the_last_line(make_spec, open_study, tmp_path) -> None:
    spec = make_spec("random", 6, space={"x": FloatRange(low=0, high=1)})
    study = open_study(spec)
    for _ in range(3):
        proposal = study.ask()
        study.report(proposal.number, 1, 0.5)
        study.tell(proposal.number, "COMPLETED", 0.5)
    study.close()
    whole = (tmp_path / "study.journal").read_bytes()
    last_line = whole[:-1].rfind(b"\n") + 1
    for cut in range(last_line, len(whole)):
        path = tmp_path / f"cut-{cut}"
        path.write_bytes(whole[:cut])
        torn = open_study(spec, path)
        assert [trial.state for trial in torn.trials()[:2]] == ["COMPLETED"] * 2
        # Without its newline alone the line is whole by its checksum, and stays.
        assert torn.trials()[2].state == ("COMPLETED" if cut == len(whole) - 1 else "RUNNING")
        torn.tell(2, "COMPLETED", 0.5)
        # Optuna's own file backend breaks at the second trial after the cut, for ever.
        for number in (3, 4, 5):
            assert torn.ask().number == number
        torn.close()
        assert [trial.number for trial in open_study(spec, path).trials()] == list(range(6))


def test_a_line_that_is_no_record_is_named(make_spec, open_study, tmp_path) -> None:
    spec = make_spec()
    open_study(spec).close()
    path = tmp_path / "study.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\0\0\0 not json\n", *lines[2:]]))
    with pytest.raises(SweepError, match=r"study\.journal is damaged: line 3 is not JSON"):
        open_study(spec)
    path.write_bytes(b'{"some": "other file"}\n')
    with pytest.raises(SweepError, match="not an Optuna journal"):
        open_study(spec)
    with pytest.raises(SweepError, match="cannot open"):
        open_study(spec, tmp_path / "no" / "folder")


def test_a_lock_left_by_another_optuna_does_not_matter(make_spec, open_study, drive, tmp_path) -> None:
    (tmp_path / "study.journal.lock").symlink_to(tmp_path / "study.journal")
    study = open_study(make_spec(trials=4))
    drive(study)
    assert study.num_finished == 4


def test_relative_path(make_spec, open_study, drive, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = open_study(make_spec(trials=4), Path("here.journal"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    drive(study)
    assert study.num_finished == 4
    assert (tmp_path / "here.journal").stat().st_size > 1000


def _report_until_full(study: Study, number: int) -> SweepError:
    for epoch in range(2, 6):
        try:
            study.report(number, epoch, 0.5)
        except SweepError as error:
            return error
    raise AssertionError("the disk never filled up")


@pytest.mark.parametrize("room", [0, 1, 60, 200])
def test_append_that_fails_is_undone(room, make_spec, open_study, drive, tmp_path) -> None:
    spec = make_spec("random", 8)
    path = tmp_path / "study.journal"
    study = open_study(spec)
    proposal = study.ask()
    study.report(proposal.number, 1, 0.25)
    before = path.read_bytes()
    with file_size_limit(len(before) + room):
        error = _report_until_full(study, proposal.number)
    assert str(error).startswith(f"cannot write {path}: ")
    assert path.read_bytes().startswith(before)
    assert path.read_bytes().endswith(b"\n")
    # With room again, this very study goes on, and so does a new one.
    study.report(proposal.number, 5, 0.5)
    study.tell(proposal.number, "COMPLETED", 0.5)
    study.close()
    drive(again := open_study(spec))
    assert again.num_finished == 8


def test_proposal_cut_off_by_a_full_disk(make_spec, open_study, drive, tmp_path) -> None:
    spec = make_spec("random", 8)
    undisturbed = open_study(spec, tmp_path / "whole")
    drive(undisturbed)
    path = tmp_path / "study.journal"
    failed = 0
    for room in range(0, 1500, 150):
        path.unlink(missing_ok=True)
        study = open_study(spec)
        study.ask(), study.ask()
        try:
            with file_size_limit(path.stat().st_size + room):
                study.ask()
        except SweepError:
            failed += 1
        study.close()
        drive(again := open_study(spec))
        assert again.trials() == undisturbed.trials()
    assert failed > 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_disk_that_fills_up(small_disk: Path, make_spec, open_study, drive: Callable[..., None], tmp_path) -> None:
    spec = make_spec("random", 60)
    path = small_disk / "study.journal"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    study = open_study(spec, path)
    with pytest.raises(SweepError, match="No space left on device"):
        drive(study)
    study.close()
    finished = [trial for trial in study.trials() if trial.state == "COMPLETED"]
    assert finished
    ballast.unlink()
    enough = make_spec("random", 16)
    again = open_study(enough, path)
    assert [trial for trial in again.trials() if trial.state == "COMPLETED"] == finished
    drive(again)
    undisturbed = open_study(enough, tmp_path / "whole")
    drive(undisturbed)
    assert again.trials()[:16] == undisturbed.trials()
