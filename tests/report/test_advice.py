"""What to do next: each rule speaks on its evidence, and is silent without it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sweep_runner.cli.main import main
from sweep_runner.report.advice import of_data, of_search
from sweep_runner.report.advice.evidence import Advice, Evidence
from sweep_runner.report.advice.rules import RULES, advise
from sweep_runner.report.plot_data import Curve
from sweep_runner.results.answer import Answer, ranking
from sweep_runner.results.findings import Findings
from sweep_runner.results.leaderboard import Leaderboard, SweepRow, TrialRow
from sweep_runner.spec.model import SweepSpec
from tests.support.evaluated import write_evaluated_sweep

LR = {"lr": {"low": 1e-4, "high": 1e-2, "log": True}}


def row(trial: int, value: float, **more: Any) -> TrialRow:
    """Of a completed trial of 12 epochs, unless told otherwise."""
    facts = {"epochs": more.pop("epochs", 12), "best_epoch": more.pop("best_epoch", 6)}
    given: dict[str, Any] = {"name": None, "state": "COMPLETED", "reason": None, "metrics": {}, "params": {}, **more}
    return TrialRow(rank=trial + 1, trial=trial, value=value, row=facts, **given)


def evidence(
    rows: Sequence[TrialRow],
    space: Mapping[str, Any] = LR,
    curves: Mapping[int, Sequence[float]] | None = None,
    on_val: pa.Table | None = None,
    **spec: Any,
) -> Evidence:
    board = Leaderboard(SweepRow("one", "COMPLETED", {}), "val_accuracy", "max", tuple(space), tuple(rows), ())
    listed = {name: {"values": tuple(each)} if isinstance(each, list) else each for name, each in space.items()}
    values = {"name": "one", "space": listed, "fixed": {"epochs": 12}, **spec}
    drawn = {
        trial: Curve(trial, f"trial {trial}", tuple(range(1, len(each) + 1)), {"val_accuracy": tuple(each)}, 1)
        for trial, each in (curves or {}).items()
    }
    return Evidence(board, SweepSpec.model_validate(values), drawn, on_val, "one", "one.yaml")


def predictions(rows: Sequence[tuple[str, str, float]], classes: Sequence[str] = ("a", "b", "c")) -> pa.Table:
    """A row for each (label, said, probability of what is said); the rest of it on the classes after."""
    columns: dict[str, list[float]] = {f"p_{name}": [] for name in classes}
    for _, said, sure in rows:
        others = [name for name in classes if name != said]
        for name in classes:
            columns[f"p_{name}"].append(sure if name == said else (1 - sure if name == others[-1] else 0.0))
    return pa.table(
        {
            "example": [f"{number}.jpg" for number in range(len(rows))],
            "group": [f"{number}.jpg" for number in range(len(rows))],
            "labels": [[label] for label, _, _ in rows],
            "predicted": [[said] for _, said, _ in rows],
            **columns,
        }
    )


def only(found: Any) -> Advice:
    (advice,) = list(found)
    return advice


# Search ------------------------------------------------------------------------------------------------------


def at(values: Sequence[Any], name: str = "lr") -> list[TrialRow]:
    """Trials, best first, with these values of a parameter."""
    return [row(number, 0.9 - number / 100, params={name: value}) for number, value in enumerate(values)]


def test_a_best_learning_rate_at_the_edge_of_its_range() -> None:
    high = only(of_search.edge_of_range(evidence(at([9e-3, 8e-3, 1e-3, 1e-3, 5e-4, 2e-4, 1e-4, 1e-4]))))
    assert "lr 0.009 of the best trial is at the upper end of its range (0.0001 to 0.01)" in high.evidence
    assert "the best 2 of 8 trials have 0.008 to 0.009" in high.evidence
    assert high.command == "sweep extend one --trials 10 --set space.lr.high=0.03"
    low = only(of_search.edge_of_range(evidence(at([1.1e-4, 1.5e-4, 1e-3, 1e-3, 5e-3, 8e-3, 8e-3, 9e-3]))))
    assert "lower end" in low.evidence
    assert "space.lr.low=3.33e-05" in low.command


@pytest.mark.parametrize(
    ("space", "rows"),
    [
        pytest.param(LR, at([1e-3, 9e-3, 9e-3, 9e-3, 9e-3, 9e-3, 9e-3, 9e-3]), id="the best one is inside"),
        pytest.param(LR, at([9e-3, 2e-4, 1e-4, 1e-4, 5e-4, 2e-4, 1e-4, 1e-4]), id="one lucky trial at the edge"),
        pytest.param(LR, at([9e-3, 9e-3, 9e-3]), id="too few trials"),
        pytest.param({"model": ["a", "b", "c"]}, at(["a"] * 8, "model"), id="words have no edge"),
        pytest.param({"batch_size": [16, 32]}, at([32] * 8, "batch_size"), id="one of two values always is one"),
        pytest.param(
            {"dropout": {"low": 0.0, "high": 0.5}}, at([0.0] * 8, "dropout"), id="nothing lies beyond no dropout"
        ),
        pytest.param(
            {"dropout": {"low": 0.1, "high": 0.9}}, at([0.9] * 8, "dropout"), id="the trainable takes no more"
        ),
    ],
)
def test_no_edge(space: Mapping[str, Any], rows: list[TrialRow]) -> None:
    assert not list(of_search.edge_of_range(evidence(rows, space)))


def test_a_list_of_numbers_has_an_edge_too() -> None:
    rows = at([64, 64, 32, 16, 16, 16, 16, 16], "batch_size")
    found = only(of_search.edge_of_range(evidence(rows, {"batch_size": [64, 16, 32]})))
    assert found.command.endswith("--set 'space.batch_size=[16, 32, 64, 128]'")


RISING = [0.1, 0.4, 0.5, 0.55, 0.6, 0.64, 0.68, 0.72, 0.75, 0.78, 0.8, 0.82]
SETTLED = [0.1, 0.5, 0.7, 0.8, 0.81, 0.815, 0.816, 0.817, 0.8172, 0.8173, 0.8174, 0.8175]


def test_a_best_epoch_that_is_the_last_while_the_curve_still_rises() -> None:
    found = only(of_search.best_epoch_is_last(evidence([row(0, 0.82, best_epoch=12)], curves={0: RISING})))
    assert "went from 0.72 (best of the first 8 epochs) to 0.82 (epoch 12)" in found.evidence
    assert found.command == "sweep run one.yaml --set name=one-longer --set fixed.epochs=24"


def test_no_advice_on_epochs_where_the_curve_has_settled_or_the_trial_was_stopped() -> None:
    assert not list(of_search.best_epoch_is_last(evidence([row(0, 0.8, best_epoch=12)], curves={0: SETTLED})))
    assert not list(of_search.best_epoch_is_last(evidence([row(0, 0.8, best_epoch=6)], curves={0: RISING})))
    paused = row(0, 0.8, best_epoch=12, state="PAUSED")
    assert not list(of_search.best_epoch_is_last(evidence([paused], curves={0: RISING})))
    space = {"epochs": {"low": 4, "high": 12}}
    assert not list(of_search.best_epoch_is_last(evidence([row(0, 0.8, best_epoch=12)], space, curves={0: RISING})))


def test_train_far_above_val() -> None:
    val = predictions([("a", "a", 0.9)] * 80 + [("a", "b", 0.6)] * 20)
    found = only(
        of_search.train_above_val(
            evidence([row(0, 0.8, metrics={"train_accuracy": 0.99})], on_val=val, fixed={"weight_decay": 0.1})
        )
    )
    assert "right on 0.990 of train and 0.800 of val (of 100 examples)" in found.evidence
    assert "augment, dropout" in found.action
    assert "weight_decay" not in found.action, "it is set already"
    head = evidence([row(0, 0.8, metrics={"train_accuracy": 0.99})], on_val=val, fixed={"finetune": "head"})
    found = only(of_search.train_above_val(head))
    assert "weight_decay, dropout, label_smoothing" in found.action, "its features are of images as they are"


def test_a_gap_that_few_examples_make_is_none() -> None:
    close = evidence([row(0, 0.8, metrics={"train_accuracy": 0.85})])
    assert not list(of_search.train_above_val(close))
    few = predictions([("a", "a", 0.9)] * 8 + [("a", "b", 0.6)] * 2)  # ± 0.25
    assert not list(of_search.train_above_val(evidence([row(0, 0.8, metrics={"train_accuracy": 0.99})], on_val=few)))
    assert not list(of_search.train_above_val(evidence([row(0, 0.8)]))), "train accuracy was not reported"


def stopped(at_first: int, later: int, state: str = "PRUNED") -> list[TrialRow]:
    rows = [row(number, 0.9 - number / 100) for number in range(later)]
    return rows + [row(later + k, 0.3, epochs=2, state=state) for k in range(at_first)]


HALVING = {"pruner": {"kind": "successive_halving", "reduction_factor": 3, "min_epochs": 2}}


def test_more_trials_end_at_the_first_rung_than_the_pruner_is_made_for() -> None:
    found = only(of_search.pruned_at_first_rung(evidence(stopped(18, 2), **HALVING)))
    assert "18 of 20 trials stopped after 2 epochs, where the pruner's reduction_factor 3 is made to stop 67%" in (
        found.evidence
    )
    assert found.command == "sweep extend one --trials 10 --set pruner.min_epochs=4"


def test_a_first_rung_that_says_little_of_the_end() -> None:
    rows = stopped(18, 10)
    backwards = {number: [0.1, 0.2 + number / 100, 0.9 - number / 100] for number in range(10)}
    found = only(of_search.pruned_at_first_rung(evidence(rows, curves=backwards, **HALVING)))
    assert "rank correlation -1.00" in found.evidence
    alike = {number: [0.1, 0.5 - number / 100, 0.9 - number / 100] for number in range(10)}
    assert not list(of_search.pruned_at_first_rung(evidence(rows, curves=alike, **HALVING)))
    few = {number: curve for number, curve in backwards.items() if number < 9}
    assert not list(of_search.pruned_at_first_rung(evidence(rows, curves=few, **HALVING))), "the order of few is chance"


def test_a_pruner_that_does_what_it_is_made_for_needs_no_advice() -> None:
    assert not list(of_search.pruned_at_first_rung(evidence(stopped(13, 7), **HALVING)))
    assert not list(of_search.pruned_at_first_rung(evidence(stopped(5, 1), **HALVING))), "too few trials"
    assert not list(of_search.pruned_at_first_rung(evidence(stopped(18, 2)))), "there is no pruner"


# Data --------------------------------------------------------------------------------------------------------


def test_val_too_small() -> None:
    val = predictions([("a", "a", 0.9)] * 49 + [("a", "b", 0.6)] * 7)
    rows = [row(0, 0.875), row(1, 0.86), row(2, 0.80), row(3, 0.5)]
    found = only(of_data.val_too_small(evidence(rows, on_val=val)))
    assert "2 of 3 other trials" in found.evidence
    assert "0.875 (49 of 56; 95 %: 0.764 to 0.938)" in found.evidence
    assert not list(of_data.val_too_small(evidence([row(0, 0.875), row(1, 0.5), row(2, 0.4)], on_val=val)))
    assert not list(of_data.val_too_small(evidence(rows))), "the best trial was not evaluated"


def test_val_is_too_small_where_those_that_were_compared_cannot_be_told_apart() -> None:
    seen = evidence([row(0, 0.875), row(1, 0.86), row(2, 0.5), row(3, 0.4)])

    def answered(alike: tuple[int, ...]) -> list[Advice]:
        ranked = ranking((each.trial, each.row["best_epoch"]) for each in seen.ranked)
        answer = Answer(winner=0, ranked=ranked, compared=(0, 1, 2, 3), alike=alike, enough=900, chosen=0)
        values = {"answer": json.dumps(answer.to_json())}
        board = replace(seen.board, sweep=replace(seen.board.sweep, values=values))
        return list(of_data.val_too_small(replace(seen, board=board)))

    found = only(answered((0, 1)))
    assert found.evidence == "2 of 4 compared trials do not differ significantly"
    assert found.action == (
        "more examples for val, or folds (data.split.folds): to separate the best two takes about 900"
    )
    assert answered((0,)) == []


def test_one_class_has_the_errors() -> None:
    right = [("a", "a", 0.9)] * 40 + [("b", "b", 0.9)] * 40 + [("c", "c", 0.9)] * 10
    wrong = [("c", "a", 0.6)] * 8 + [("c", "b", 0.6)] * 2 + [("a", "b", 0.6)] * 3
    found = only(of_data.one_class_has_the_errors(evidence([row(0, 0.87)], on_val=predictions(right + wrong))))
    assert "10 of 13 errors on val are of class c, which 20 of 103 examples have" in found.evidence
    assert "most often predicted as a: 8" in found.evidence


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param([("c", "a", 0.6)] * 4, id="few errors"),
        pytest.param([("c", "a", 0.6)] * 5 + [("a", "b", 0.6)] * 5 + [("b", "c", 0.6)] * 5, id="each has its share"),
        pytest.param([("a", "b", 0.6)] * 12, id="the class is as large as its errors"),
    ],
)
def test_errors_that_are_spread(wrong: list[tuple[str, str, float]]) -> None:
    right = [("a", "a", 0.9)] * 60 + [("b", "b", 0.9)] * 20 + [("c", "c", 0.9)] * 10
    assert not list(of_data.one_class_has_the_errors(evidence([row(0, 0.8)], on_val=predictions(right + wrong))))


def test_suspicious_labels() -> None:
    sure = [("a", "a", 0.99)] * 60
    val = predictions([*sure, *[("b", "a", 0.995)] * 3])
    found = only(of_data.suspicious_labels(evidence([row(0, 0.9)], on_val=val)))
    assert "3 of 63 val examples" in found.evidence
    assert "labelled b, said a" in found.evidence
    assert found.command == "sweep data check one.yaml --html data.html"
    # A model that is always sure and often wrong says nothing of labels.
    overconfident = predictions([*sure, *[("b", "a", 0.995)] * 20])
    assert not list(of_data.suspicious_labels(evidence([row(0, 0.9)], on_val=overconfident)))
    unsure = predictions([*sure, *[("b", "a", 0.7)] * 3])
    assert not list(of_data.suspicious_labels(evidence([row(0, 0.9)], on_val=unsure)))


def test_a_search_that_its_time_ended_early() -> None:
    seen = evidence([row(0, 0.6), row(1, 0.5)], search={"trials": 10})
    assert not list(of_search.hardly_ran(seen)), "nothing ended it"
    ended = SweepRow("one", "COMPLETED", {"stopped_by": "after"})
    cut = replace(seen, board=replace(seen.board, sweep=ended))
    found = only(of_search.hardly_ran(cut))
    assert found.evidence == "2 of 10 trials had begun when search.stop.after ended the search"
    assert found.command == "sweep extend one --trials 8"
    many = evidence([row(number, 0.5) for number in range(25)], search={"trials": 2000})
    assert not list(of_search.hardly_ran(replace(many, board=replace(many.board, sweep=ended)))), "25 say something"


def test_a_model_that_says_little_more_than_a_constant_answer() -> None:
    table = predictions([("a", "a", 0.9)] * 60 + [("b", "a", 0.6)] * 30 + [("c", "a", 0.6)] * 10)
    found = only(of_data.hardly_above_constant(evidence([row(0, 0.65)], on_val=table)))
    assert "val_accuracy is 0.650, and always answering a would have 0.600" in found.evidence
    assert not list(of_data.hardly_above_constant(evidence([row(0, 0.75)], on_val=table)))
    both = table.set_column(table.column_names.index("labels"), "labels", pa.array([["a", "b"]] * 95 + [["a"]] * 5))
    labels = evidence([row(0, 0.7)], on_val=both)
    labels = replace(labels, board=replace(labels.board, objective="val_map"))
    found = only(of_data.hardly_above_constant(labels))
    assert "one and the same answer to every image would have 0.650" in found.evidence
    assert "nearly every image has a 100 of 100, b 95 of 100" in found.evidence
    assert "data.view: crops" in found.action


def test_near_duplicates_that_nobody_looked_for() -> None:
    good = predictions([("a", "a", 0.9)] * 97 + [("a", "b", 0.6)] * 3)
    photos = {"data": {"dataset": "image_folder", "root": "/photos"}}
    found = only(of_data.near_duplicates(evidence([row(0, 0.97)], on_val=good, **photos)))
    assert "0.970 (97 of 100" in found.evidence
    grouped = {"data": {**photos["data"], "split": {"group_by": "near_duplicates"}}}
    assert not list(of_data.near_duplicates(evidence([row(0, 0.97)], on_val=good, **grouped)))
    looked = evidence([row(0, 0.97)], on_val=good, **photos)
    assert not list(of_data.near_duplicates(replace(looked, found=Findings(details={"near_duplicates": []}))))
    digits = {"data": {"dataset": "digits"}}
    assert not list(of_data.near_duplicates(evidence([row(0, 0.97)], on_val=good, **digits)))
    poor = predictions([("a", "a", 0.9)] * 60 + [("a", "b", 0.6)] * 40)
    assert not list(of_data.near_duplicates(evidence([row(0, 0.6)], on_val=poor, **photos)))


# All of them -------------------------------------------------------------------------------------------------


def test_a_sweep_that_lacks_what_a_rule_looks_at_is_no_error() -> None:
    bare = evidence([row(0, 0.5)])
    for seen in (bare, replace(bare, spec=None)):
        assert advise(seen) == []
    assert len(set(RULES)) == len(RULES)


def test_advice_is_in_the_report_and_in_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_evaluated_sweep(tmp_path, ("football", "baseball", "golf"))
    options = ("--results", str(tmp_path))
    assert main(["explain", "balls", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)["advice"]
    assert "best epoch is the last" in {each["rule"] for each in found}
    assert main(["explain", "balls", *options]) == 0
    said = capsys.readouterr().out
    assert all(each["evidence"] in said for each in found)
    assert main(["report", "balls", *options]) == 0
    page = Path(capsys.readouterr().out.strip()).read_text()
    assert "What to do next" in page
    assert "The best epoch of the best trial is its last" in page
