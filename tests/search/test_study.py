"""The study as the keeper uses it."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweep_runner.errors import RequestError
from sweep_runner.search.study import Proposal
from sweep_runner.spec.space import Choice, FloatRange, IntRange


def plain_optuna(path: Path) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))


def test_asks_until_the_planned_trials_exist_and_extends(make_spec, open_study, drive) -> None:
    study = open_study(make_spec(trials=5))
    drive(study)
    assert study.ask() is None
    assert (study.planned, study.num_finished, len(study.trials())) == (5, 5, 5)
    study.close()
    extended = open_study(make_spec(trials=9))
    assert extended.open_trials() == []
    assert extended.ask().number == 5
    fewer = open_study(make_spec(trials=3))
    assert fewer.ask() is None


def test_fewer_trials_than_baselines(make_spec, open_study, drive) -> None:
    study = open_study(make_spec(trials=1))
    drive(study)
    assert [trial.state for trial in study.trials()] == ["COMPLETED", "WAITING"]
    study.close()
    more = open_study(make_spec(trials=3))
    assert [more.ask().name, more.ask().name] == ["large", None]


def test_report_and_tell_are_idempotent(make_spec, open_study) -> None:
    study = open_study(make_spec())
    number = study.ask().number
    for value in (0.5, 0.9):
        study.report(number, 1, value)
    study.tell(number, "COMPLETED", 0.5)
    study.tell(number, "FAILED")
    study.report(number, 1, 0.1)
    trial = study.trials()[number]
    assert (trial.state, trial.value, trial.intermediate) == ("COMPLETED", 0.5, {1: 0.5})
    study.close()
    assert open_study(make_spec()).trials()[number] == trial


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_finite_number_fails_the_trial(value, make_spec, open_study, tmp_path) -> None:
    study = open_study(make_spec("tpe"))
    number = study.ask().number
    study.report(number, 1, value)
    study.tell(number, "COMPLETED", value)
    assert study.trials()[number].state == "FAILED"
    study.close()
    again = open_study(make_spec("tpe"))
    assert again.trials()[number].state == "FAILED"
    assert again.open_trials() == []
    assert plain_optuna(tmp_path / "study.journal").trials[number].state.name == "FAIL"


def test_every_end_state_survives_reopening(make_spec, open_study) -> None:
    study = open_study(make_spec())
    for state in ("COMPLETED", "PRUNED", "FAILED", "INFEASIBLE"):
        number = study.ask().number
        study.report(number, 1, 0.25)
        study.tell(number, state, 0.5)
    study.ask()
    before = study.trials()
    assert [trial.state for trial in before] == ["COMPLETED", "PRUNED", "FAILED", "INFEASIBLE", "RUNNING"]
    assert before[0].value == 0.5
    assert before[1].value == 0.25  # samplers go by the last report of a pruned trial
    study.close()
    again = open_study(make_spec())
    assert again.trials() == before
    assert again.num_finished == 4


def test_running_trials_are_handed_out_again(make_spec, open_study) -> None:
    study = open_study(make_spec("tpe"))
    asked = [study.ask() for _ in range(4)]
    study.tell(1, "FAILED")
    study.report(2, 1, 0.5)
    study.close()
    again = open_study(make_spec("tpe"))
    assert again.open_trials() == [asked[0], asked[2], asked[3]]
    assert again.trials()[2].intermediate == {1: 0.5}
    again.tell(0, "COMPLETED", 1.0)
    assert [proposal.number for proposal in again.open_trials()] == [2, 3]


def test_duplicates_name_the_first_trial(make_spec, open_study) -> None:
    spec = make_spec("random", 30, space={"x": IntRange(low=0, high=2), "y": Choice(values=(True, False))})
    study = open_study(spec)
    asked = [study.ask() for _ in range(30)]
    first: dict[tuple, int] = {}
    for proposal in asked:
        key = tuple(proposal.params.items())
        assert proposal.duplicate_of == first.get(key)
        first.setdefault(key, proposal.number)
    assert len(first) <= 6
    for proposal in asked[::2]:
        study.tell(proposal.number, "FAILED" if proposal.number % 4 else "COMPLETED", 1.0)
    study.close()
    again = open_study(spec)
    assert [trial.duplicate_of for trial in again.trials()] == [proposal.duplicate_of for proposal in asked]


def test_a_baseline_written_with_a_whole_number_is_the_same_configuration(make_spec, open_study) -> None:
    space = {"x": FloatRange(low=0, high=1, step=1), "n": Choice(values=(1.0, 2.0))}
    study = open_study(make_spec("grid", 9, space=space, baselines={"whole": {"x": 1, "n": 2}}, options={}))
    asked = []
    while (proposal := study.ask()) is not None:
        asked.append(proposal)
    assert len(asked) == 5
    assert asked[0] == Proposal(0, "whole", {"x": 1.0, "n": 2.0})
    assert [proposal.duplicate_of for proposal in asked].count(0) == 1


def test_reopened_trial_keeps_its_number_params_and_values(make_spec, open_study, tmp_path) -> None:
    study = open_study(make_spec("tpe", 6))
    failed = [study.ask() for _ in range(3)][2]
    study.report(2, 1, 0.25)
    study.tell(2, "FAILED")
    assert study.reopen(2) == failed
    assert study.reopen(2) == failed
    assert study.ask().number == 3
    study.close()
    again = open_study(make_spec("tpe", 6))
    assert [proposal.number for proposal in again.open_trials()] == [0, 1, 2, 3]
    assert again.trials()[2].intermediate == {1: 0.25}
    again.report(2, 1, 0.9)
    again.report(2, 2, 0.5)
    again.tell(2, "FAILED")
    again.reopen(2)
    again.tell(2, "COMPLETED", 0.5)
    assert [again.ask().number, again.ask().number, again.ask()] == [4, 5, None]
    record = again.trials()[2]
    assert (record.state, record.value, record.intermediate) == ("COMPLETED", 0.5, {1: 0.25, 2: 0.5})
    again.close()
    assert open_study(make_spec("tpe", 6)).trials()[2] == record
    # Optuna's own view has each try.
    tries = plain_optuna(tmp_path / "study.journal").trials
    assert [trial.state.name for trial in tries if trial.params == tries[2].params] == ["FAIL", "FAIL", "COMPLETE"]
    assert [trial.user_attrs.get("trial") for trial in tries] == [None, None, None, 2, None, 2, None, None]


def test_only_what_failed_is_reopened(make_spec, open_study) -> None:
    study = open_study(make_spec())
    study.tell(study.ask().number, "COMPLETED", 1.0)
    with pytest.raises(RequestError, match="trial 0 is COMPLETED: only a failed trial"):
        study.reopen(0)
    with pytest.raises(RequestError, match="no trial 7"):
        study.reopen(7)


def test_renamed_sweep_still_opens(make_spec, open_study, drive) -> None:
    study = open_study(make_spec(trials=3))
    drive(study)
    study.close()
    assert open_study(make_spec(trials=4, name="renamed")).num_finished == 3


def test_refused_before_a_file_is_made(make_spec, open_study, tmp_path) -> None:
    with pytest.raises(RequestError, match=r"space\.lr"):
        open_study(make_spec("grid", options={"points": None}))
    with pytest.raises(RequestError, match="hyperband"):
        open_study(make_spec(pruner={"kind": "hyperband"}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sampler", ["tpe", "cma-es", "nsga-ii", "qmc"])
def test_quiet(sampler, make_spec, open_study, drive, capfd, recwarn) -> None:
    options = {"cma-es": {"sigma0": 0.2}, "tpe": {"group": True}}.get(sampler, {})
    study = open_study(make_spec(sampler, 8, options=options))
    study.tell(study.ask().number, "INFEASIBLE")
    drive(study)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_pickles_in_a_foreign_journal_are_not_run(make_spec, open_study, drive, tmp_path) -> None:
    import json
    import pickle

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    spec = make_spec("cma-es", 40, options={"popsize": 4})
    study = open_study(make_spec("cma-es", 20, options={"popsize": 4}))
    drive(study)
    study.close()
    path = tmp_path / "study.journal"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    touched = 0
    for record in records:
        for key in record.get("system_attr", {}):
            if key == "cma:optimizer:0":
                record["system_attr"][key] = pickle.dumps(Evil()).hex()
                touched += 1
            elif key.startswith("cma:optimizer:"):
                record["system_attr"][key] = ""
    assert touched
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(Exception, match="no part of a CMA-ES state"):
        drive(open_study(spec))
    assert not (tmp_path / "owned").exists()
