"""What choosing does to a figure, on outcomes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.selection import FEWEST_GROUPS, alike, on_unseen


def test_the_best_of_many_alike_is_expected_to_fall_to_what_they_are_worth() -> None:
    scores = np.random.default_rng(0).random((60, 100)) < 0.8
    found = on_unseen(scores)
    assert found is not None
    assert found.seen > 0.86  # chance alone made one of 60 look good
    assert found.value == pytest.approx(0.8, abs=0.04)
    assert found.low < 0.8 < found.high


def test_a_clear_winner_is_expected_to_fall_by_nothing() -> None:
    random = np.random.default_rng(1)
    found = on_unseen(np.stack([random.random(200) < 0.9, random.random(200) < 0.4]))
    assert found is not None
    assert found.drop == pytest.approx(0.0, abs=1e-9)


def test_copies_of_one_example_are_no_more_evidence_than_it() -> None:
    single = np.random.default_rng(2).random((5, 60)) < 0.7
    one, four = on_unseen(single), on_unseen(np.repeat(single, 4, axis=1), np.repeat(np.arange(60), 4).tolist())
    assert one is not None
    assert four is not None
    assert four.high - four.low > 0.9 * (one.high - one.low)


def test_too_few_groups_tell_nothing() -> None:
    assert on_unseen(np.ones((3, 40)), [number % (FEWEST_GROUPS - 1) for number in range(40)]) is None


def test_those_near_the_best_stay_and_one_far_below_goes() -> None:
    random = np.random.default_rng(3)
    scores = np.stack([random.random(200) < share for share in (0.85, 0.84, 0.3)])
    assert alike(scores).members == (0, 1)


def test_a_small_difference_is_told_when_the_models_err_on_the_same_examples() -> None:
    """Paired: one is right wherever the other is, and on twelve examples more."""
    worse = np.random.default_rng(4).random(300) < 0.7
    better = worse.copy()
    better[np.flatnonzero(~worse)[:12]] = True
    assert alike(np.stack([worse, better])).members == (1,)


def test_looking_at_many_makes_one_harder_to_rule_out() -> None:
    random = np.random.default_rng(5)
    best, other = np.zeros(100, bool), np.zeros(100, bool)
    best[:86] = True
    other[5:84] = True
    many = random.random((60, 100)) < 0.8
    assert 1 not in alike(np.stack([best, other])).members
    assert 1 in alike(np.stack([best, other, *many])).members


def test_enough_is_told_for_the_best_two() -> None:
    few = np.zeros((2, 100))
    few[0, :80] = few[1, 5:80] = 1
    few[1, 95:98] = 1
    enough = alike(few).enough
    assert enough is not None
    assert enough > 100
    assert alike(np.ones((2, 50))).enough is None
