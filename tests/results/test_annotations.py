"""Stars and notes of trials: kept in the sweep's folder, shown wherever trials are."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sweep_runner.cli.main import main, sweep
from sweep_runner.errors import RequestError
from sweep_runner.results.annotations import MAX_LETTERS, annotate, annotation_file, read_annotations
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.query import run_query
from tests.support.evaluated import write_evaluated_sweep


@pytest.fixture
def results(tmp_path: Path) -> ResultsPaths:
    write_evaluated_sweep(tmp_path, ("cat", "dog"), baselines=("adam-max",), num_others=2, examples=20)
    return ResultsPaths(tmp_path)


def _silent(text: str) -> None:
    raise AssertionError(text)


def _run(results: ResultsPaths, *arguments: str) -> Result:
    ran = CliRunner().invoke(sweep, [*arguments, "--results", str(results.root)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran


def test_a_note_and_a_star_are_seen_wherever_trials_are(results: ResultsPaths) -> None:
    _run(results, "note", "balls", "adam-max", "the", "known one")
    _run(results, "star", "balls/best")
    assert _run(results, "note", "balls", "0").stdout == "the known one\n"
    shown = json.loads(_run(results, "top", "balls", "--json").stdout)["trials"]
    assert {row["trial"]: (row["starred"], row["note"]) for row in shown} == {
        0: (False, "the known one"), 1: (False, ""), 2: (True, ""),
    }  # fmt: skip
    head, *lines = _run(results, "top", "balls").stdout.splitlines()
    assert head.split("\t")[-1] == "note"
    assert [line.split("\t")[-1] for line in lines] == ["★", "", "the known one"]
    assert "★" in _run(results, "show", "balls").stdout
    assert "the known one" in _run(results, "show", "balls", "0").stdout
    joined = "select trials.trial, note from trials join annotations using (sweep, trial) where note <> ''"
    assert run_query(results, joined).to_pylist() == [{"trial": 0, "note": "the known one"}]
    _run(results, "star", "balls/best", "--remove")
    _run(results, "note", "balls/adam-max", "--remove")
    assert read_annotations(results.sweep("balls"), _silent) == {}
    assert "note" not in _run(results, "top", "balls").stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["note", "balls", "7", "no such trial"], "no trial 7"),
        (["note", "balls"], "no trial is named"),
        (["star", "balls"], "no trial is named"),
        (["note", "balls/1", "text", "--remove"], "contradict"),
        (["star", "nothing/1"], "nothing"),
    ],
)
def test_what_cannot_be_noted_is_refused(
    results: ResultsPaths, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main([*arguments, "--results", str(results.root)]) == 2
    assert told in capsys.readouterr().err
    assert not results.sweep("balls").annotations.exists()


def test_a_note_that_is_no_short_text_is_refused(results: ResultsPaths) -> None:
    with pytest.raises(RequestError, match=f"the most are {MAX_LETTERS}"):
        annotate(results, "balls", 0, note="x" * (MAX_LETTERS + 1))
    with pytest.raises(RequestError, match="control"):
        annotate(results, "balls", 0, note="\x1b[31mred")
    assert annotate(results, "balls", 0, note=" two\n lines ").note == "two lines"


def test_star_and_note_of_two_people_at_once_are_both_kept(results: ResultsPaths) -> None:
    people = [threading.Thread(target=annotate, args=(results, "balls", 1), kwargs={"note": "mine"}) for _ in range(4)]
    people += [threading.Thread(target=annotate, args=(results, "balls", 1), kwargs={"starred": True})]
    for person in people:
        person.start()
    for person in people:
        person.join()
    (kept,) = read_annotations(results.sweep("balls"), _silent).values()
    assert (kept.starred, kept.note) == (True, "mine")


def test_a_damaged_note_is_told_and_left_out_and_can_be_written_again(results: ResultsPaths) -> None:
    paths, said = results.sweep("balls"), []
    annotate(results, "balls", 1, note="whole")
    annotate(results, "balls", 2, note="to be damaged")
    annotation_file(paths, 2).write_bytes(b'{"starred": tr')
    assert [one.note for one in read_annotations(paths, said.append).values()] == ["whole"]
    assert len(said) == 1
    assert "trial 2" in said[0]
    annotate(results, "balls", 2, starred=True)
    assert read_annotations(paths, _silent)[2].starred
