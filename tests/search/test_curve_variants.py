"""Ways of searching that lost are kept so that their figures can be repeated: each runs, and does what it says."""

from __future__ import annotations

import pytest

from benchmarks.curves.replay import blended, luckiest, run
from benchmarks.curves.sources import Generated
from benchmarks.curves.variants import VARIANTS, AdaptiveRung, CarefulRung


@pytest.fixture(scope="module")
def finetune() -> Generated:
    return Generated("finetune")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_spends_its_budget_and_trains_no_epoch_twice(name: str, finetune: Generated) -> None:
    course = run(VARIANTS[name](finetune, 0), finetune, 0, 5)
    epochs: dict[int, list[int]] = {}
    for trial, epoch, _ in course.rows:
        epochs.setdefault(trial, []).append(epoch)
    assert sum(map(len, epochs.values())) == 5 * finetune.epochs
    assert all(each == list(range(1, len(each) + 1)) for each in epochs.values())


def test_an_early_rung_is_trusted_by_what_was_seen_there(finetune: Generated) -> None:
    at_rung = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    best_was_last = [0.2, 0.3, 0.4, 0.5, 0.6, 0.1]
    for search in (AdaptiveRung(finetune, 0), CarefulRung(finetune, 0)):
        assert search._trusts(at_rung, at_rung)
        assert not search._trusts(at_rung[:3], at_rung[:3]), "three trials say too little"
        assert not search._trusts(at_rung, best_was_last)


def test_the_blend_doubts_a_single_peak() -> None:
    values = {0: [0.5, 0.5, 0.8, 0.5], 1: [0.74, 0.75, 0.76, 0.75]}
    assert luckiest(values) == (0, 3)
    assert blended(values) == (1, 3)
