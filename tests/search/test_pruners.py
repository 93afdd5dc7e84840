"""Decisions against Optuna's own, against the papers' promise, and against themselves when asked again."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from pydantic import TypeAdapter

from sweep_runner.errors import RequestError
from sweep_runner.search.pruners import bracket_of, decide, resolve
from sweep_runner.spec import strategies
from sweep_runner.spec.strategies import PRUNERS, Pruner

nan = math.nan
EVERY_PRUNER: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "promotion", "min_epochs": 3},
    {"kind": "successive_halving"},
    {"kind": "hyperband", "max_epochs": 9},
    {"kind": "median", "startup_trials": 2},
    {"kind": "percentile", "startup_trials": 2, "warmup_epochs": 1, "interval_epochs": 2},
    {"kind": "threshold", "lower": 0.2},
    {"kind": "patient", "patience": 1},
    {"kind": "patient", "patience": 1, "inner": {"kind": "median", "startup_trials": 1}},
]

NEVER_STOP = ("none", "promotion")


def options_of(values: dict[str, Any]) -> Any:
    return TypeAdapter(Pruner).validate_python(values)


def ids(values: dict[str, Any]) -> str:
    return "-".join(str(value["kind"]) for value in (values, values.get("inner")) if value)


def test_the_suite_has_every_pruner_of_the_table() -> None:
    assert set(PRUNERS) == {type(options_of(values)) for values in EVERY_PRUNER}


class Peer:
    """One Optuna study with its own pruner, and the same values for ours."""

    def __init__(self, pruner: optuna.pruners.BasePruner, mode: str) -> None:
        self.study = optuna.create_study(direction="maximize" if mode == "max" else "minimize", pruner=pruner)
        self.values: dict[int, dict[int, float]] = {}
        self.completed: set[int] = set()

    def start(self) -> optuna.Trial:
        trial = self.study.ask()
        self.values[trial.number] = {}
        return trial

    def report(self, trial: optuna.Trial, epoch: int, value: float) -> bool:
        trial.report(value, epoch)
        self.values[trial.number][epoch] = value
        return trial.should_prune()

    def end(self, trial: optuna.Trial, pruned: bool) -> None:
        if pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, 0.0)
            self.completed.add(trial.number)


def peers(seed: int) -> list[tuple[optuna.pruners.BasePruner, Any]]:
    draw = random.Random(seed)
    startup, warmup, interval = draw.randrange(5), draw.randrange(4), draw.randrange(1, 4)
    percent, minimum = draw.choice([10.0, 25.0, 50.0, 80.0]), draw.randrange(1, 4)
    # Optuna counts steps from 0 and we count epochs from 1.
    common = {"n_startup_trials": startup, "n_warmup_steps": warmup + 1, "interval_steps": interval}
    ours = {"startup_trials": startup, "warmup_epochs": warmup, "interval_epochs": interval}
    median = {"kind": "median", **ours, "min_trials": minimum}
    optunas_median = optuna.pruners.MedianPruner(**common, n_min_trials=minimum)
    patience, delta = draw.randrange(3), draw.choice([0.0, 0.1])
    return [
        (optunas_median, median),
        (
            optuna.pruners.PercentilePruner(percent, **common, n_min_trials=minimum),
            {"kind": "percentile", "percentile": percent, **ours, "min_trials": minimum},
        ),
        (
            optuna.pruners.ThresholdPruner(0.2, 0.9, n_warmup_steps=warmup + 1, interval_steps=interval),
            {"kind": "threshold", "lower": 0.2, "upper": 0.9, "warmup_epochs": warmup, "interval_epochs": interval},
        ),
        (
            optuna.pruners.PatientPruner(None, patience, delta),
            {"kind": "patient", "patience": patience, "min_delta": delta},
        ),
        (
            optuna.pruners.PatientPruner(optunas_median, patience, delta),
            {"kind": "patient", "patience": patience, "min_delta": delta, "inner": median},
        ),
        (
            optuna.pruners.SuccessiveHalvingPruner(1 + seed % 2, 2 + seed % 3, warmup % 2),
            {
                "kind": "successive_halving",
                "min_epochs": 1 + seed % 2,
                "reduction_factor": 2 + seed % 3,
                "min_early_stopping_rate": warmup % 2,
                "recheck": False,
            },
        ),
    ]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("which", range(6), ids=["median", "percentile", "threshold", "patient", "patient+", "sha"])
def test_agrees_with_optuna(which, mode) -> None:
    """Several trials at a time, random values with ties, everything in random order: the same decisions."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    decisions: Counter[bool] = Counter()
    for seed in range(25):
        theirs, ours = peers(seed)[which]
        options = options_of(ours)
        peer = Peer(theirs, mode)
        draw = random.Random(seed)
        live: list[tuple[optuna.Trial, int]] = []
        for _ in range(120):
            if len(live) < 4:
                live.append((peer.start(), 0))
            trial, epoch = live.pop(draw.randrange(len(live)))
            epoch += 1
            expected = peer.report(trial, epoch, round(draw.random(), 1 + seed % 2))
            found = decide(options, mode, peer.values, trial.number, epoch, peer.completed)
            assert (found is not None) == expected, (seed, trial.number, epoch, found)
            decisions[expected] += 1
            if expected or epoch == 9:
                peer.end(trial, expected)
            else:
                live.append((trial, epoch))
    assert min(decisions[True], decisions[False]) > 20


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60, unique=True),
    st.integers(2, 5),
    st.integers(0, 2),
    st.sampled_from(["max", "min"]),
)
def test_successive_halving_promotes_the_best_share(values, eta, rung, mode) -> None:
    epoch = eta**rung
    options = options_of({"kind": "successive_halving", "reduction_factor": eta})
    history = {number: {epoch: value} for number, value in enumerate(values)}
    kept = [number for number in history if decide(options, mode, history, number, epoch) is None]
    best = sorted(history, key=lambda number: history[number][epoch], reverse=mode == "max")
    assert sorted(kept) == sorted(best[: max(1, len(values) // eta)])


def test_successive_halving_speaks_of_the_rung() -> None:
    options = options_of({"kind": "successive_halving"})
    history = {number: {1: 0.0, 2: 0.0, 3: 0.6 + number * 0.03} for number in range(9)}
    assert decide(options, "max", history, 5, 3) == (
        "rung at epoch 3: 0.75 is not among the best third of 9 trials (needs 0.78)"
    )
    assert decide(options, "max", history, 6, 3) is None
    assert decide(options, "max", history, 5, 2) is None  # between two rungs
    few = {0: {1: 0.5}, 1: {1: 0.4}}
    assert decide(options, "max", few, 1, 1) == "rung at epoch 1: 0.4 is not among the best of 2 (needs 0.5)"
    assert decide(options, "min", few, 1, 1) is None


def test_who_passed_a_rung_early_makes_room_for_better_ones() -> None:
    """The first trials meet no rivals at their rungs, and would run to their end however bad they are."""
    options = options_of({"kind": "successive_halving"})
    alone = {0: {1: 0.1}}
    assert decide(options, "max", alone, 0, 1) is None
    later = {0: {1: 0.1, 2: 0.1}, 1: {1: 0.5}, 2: {1: 0.4}, 3: {1: 0.3}}
    assert decide(options, "max", later, 0, 2) == (
        "rung at epoch 1: 0.1 is no longer among the best third of 4 trials (needs 0.5)"
    )
    assert decide(options, "max", {**later, 0: {1: 0.6, 2: 0.1}}, 0, 2) is None, "only the rung's own value counts"
    higher = {0: {1: 0.9, 2: 0.9, 3: 0.2, 4: 0.2}, 1: {1: 0.8, 3: 0.3}, 2: {1: 0.7}}
    assert "rung at epoch 3: 0.2 is no longer among the best of 2" in str(decide(options, "max", higher, 0, 4))
    once = options_of({"kind": "successive_halving", "recheck": False})
    assert decide(once, "max", later, 0, 2) is None


def test_a_trial_that_skips_the_rungs_epoch_is_judged_at_its_next_report() -> None:
    options = options_of({"kind": "successive_halving", "min_epochs": 2})
    history = {0: {1: 0.9, 4: 0.9}, 1: {1: 0.1, 3: 0.2}}
    assert "rung at epoch 2" in str(decide(options, "max", history, 1, 3))
    assert decide(options, "max", {**history, 1: {1: 0.1, 3: 0.95}}, 1, 3) is None


@pytest.mark.parametrize("values", [v for v in EVERY_PRUNER if v["kind"] not in (*NEVER_STOP, "patient")], ids=ids)
@pytest.mark.parametrize("mode", ["max", "min"])
def test_not_a_number_is_the_worst_value(values, mode) -> None:
    options = options_of(values)
    good = {number: dict.fromkeys(range(1, 10), 0.5) for number in range(4)}
    bad = {**good, 9: dict.fromkeys(range(1, 10), nan)}
    reasons = [decide(options, mode, bad, 9, epoch, range(4)) for epoch in range(1, 10)]
    assert any(reason and "number" in reason for reason in reasons)
    # And nobody is stopped because others are not a number.
    others = {number: dict.fromkeys(range(1, 10), nan) for number in range(4)}
    for epoch in range(1, 10):
        assert decide(options, mode, {**others, 9: dict.fromkeys(range(1, 10), 0.5)}, 9, epoch, range(4)) is None


def test_patient_after_not_a_number() -> None:
    options = options_of({"kind": "patient", "patience": 1})
    assert decide(options, "max", {0: {1: 0.5, 2: nan, 3: nan}}, 0, 3) == "no improvement since epoch 1: nan after 0.5"
    assert decide(options, "max", {0: {1: nan, 2: 0.1, 3: 0.2}}, 0, 3) is None


def test_reasons_give_value_and_rule() -> None:
    history = {number: {1: 0.5 + number / 10} for number in range(5)} | {9: {1: 0.1}}
    completed = range(5)
    for values, expected in (
        ({"kind": "median"}, "epoch 1: best so far 0.1 is worse than the median 0.7 of 5 completed trials"),
        (
            {"kind": "percentile"},
            "epoch 1: best so far 0.1 is worse than the best 25 % (from 0.8) of 5 completed trials",
        ),
        ({"kind": "threshold", "lower": 0.2}, "epoch 1: 0.1 is below the threshold 0.2"),
        ({"kind": "threshold", "upper": 0.05}, "epoch 1: 0.1 is above the threshold 0.05"),
    ):
        assert decide(options_of(values), "max", history, 9, 1, completed) == expected


def test_hyperband_fills_its_brackets_in_proportion() -> None:
    options = strategies.Hyperband(kind="hyperband", min_epochs=1, max_epochs=27, reduction_factor=3)
    counts = Counter(bracket_of(options, number) for number in range(4000))
    # n = 27, 12, 6, 4 of 49, the sizes in the paper's example (R = 27 there has s_max + 1 = 4 brackets).
    for bracket, share in enumerate((27, 12, 6, 4)):
        assert counts[bracket] / 4000 == pytest.approx(share / 49, abs=0.02)
    # 3⁵ epochs are six brackets: log(243, 3) is just below 5 in floating point.
    many = strategies.Hyperband(kind="hyperband", min_epochs=1, max_epochs=243, reduction_factor=3)
    assert {bracket_of(many, number) for number in range(4000)} == set(range(6))


def test_hyperband_compares_within_a_bracket() -> None:
    options = strategies.Hyperband(kind="hyperband", min_epochs=1, max_epochs=9, reduction_factor=3)
    brackets = {number: bracket_of(options, number) for number in range(60)}
    history = {number: {1: number / 100} for number in brackets}
    late = [number for number, bracket in brackets.items() if bracket == 1]
    assert all(decide(options, "max", history, number, 1) is None for number in late)  # their first rung is epoch 3
    first = [number for number, bracket in brackets.items() if bracket == 0]
    kept = [number for number in first if decide(options, "max", history, number, 1) is None]
    assert kept == first[-(len(first) // 3) :]
    assert str(decide(options, "max", history, first[0], 1)).startswith("bracket 0, rung at epoch 1: ")


def test_hyperband_takes_the_epochs_from_the_sweep(make_spec) -> None:
    hyperband = {"kind": "hyperband"}
    fixed = make_spec(pruner=hyperband, fixed={"augment": "light", "epochs": 27})
    assert resolve(fixed).max_epochs == 27
    patient = make_spec(pruner={"kind": "patient", "patience": 2, "inner": hyperband})
    assert resolve(patient, default_epochs=9).inner.max_epochs == 9
    with pytest.raises(RequestError, match="maximum number of epochs"):
        resolve(make_spec(pruner=hyperband))
    with pytest.raises(RequestError, match="exceeds the maximum number of epochs, 3"):
        resolve(make_spec(pruner={"kind": "hyperband", "min_epochs": 9}), default_epochs=3)


@pytest.mark.parametrize("values", EVERY_PRUNER, ids=ids)
def test_decisions_are_replayed_from_the_rows(values, make_spec, open_study, tmp_path) -> None:
    """Trials in parallel, reopened at every third report: asking again says the same and writes nothing,
    and the rows alone confirm every decision afterwards."""
    spec = make_spec("random", 30, pruner=values)
    path = tmp_path / "study.journal"
    study = open_study(spec)
    draw = random.Random(0)
    rows: list[tuple[int, int, float, str | None, frozenset[int]]] = []
    live: dict[int, int] = {}
    while True:
        while len(live) < 4 and (proposal := study.ask()) is not None:
            live[proposal.number] = 0
        if not live:
            break
        number = draw.choice(sorted(live))
        live[number] += 1
        epoch, value = live[number], draw.choice([draw.random(), draw.random(), nan if draw.random() < 0.1 else 0.5])
        study.report(number, epoch, value)
        before = path.read_bytes()
        reason = study.should_prune(number, epoch)
        assert study.should_prune(number, epoch) == reason
        assert path.read_bytes() == before
        if len(rows) % 3 == 0:
            study.close()
            study = open_study(spec)
            assert study.should_prune(number, epoch) == reason
        completed = frozenset(trial.number for trial in study.trials() if trial.state == "COMPLETED")
        rows.append((number, epoch, value, reason, completed))
        if reason or epoch == 9:
            study.tell(number, "PRUNED" if reason else "COMPLETED", None if reason else 0.5)
            del live[number]
    replayed: dict[int, dict[int, float]] = {}
    for number, epoch, value, reason, completed in rows:
        replayed.setdefault(number, {})[epoch] = value
        assert decide(options_of(values), "max", replayed, number, epoch, completed) == reason
    states = Counter(trial.state for trial in study.trials())
    assert sum(states.values()) == 30
    assert (states["PRUNED"] > 0) == (values["kind"] not in NEVER_STOP)
