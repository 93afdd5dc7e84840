"""Intervals for shares of right answers: Wilson's for single examples, wider ones for several of a picture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from trainables.intervals import share, wilson


@pytest.mark.parametrize(("right", "num"), [(0, 5), (5, 5), (49, 56), (1, 1000)])
def test_single_examples_have_wilsons_interval(right: int, num: int) -> None:
    found = share([1.0] * right + [0.0] * (num - right))
    expected = binomtest(right, num).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.num_examples == num


def test_it_reads_as_a_person_would_say_it() -> None:
    assert str(share([1.0] * 49 + [0.0] * 7)) == "0.875 (49 of 56; 95 %: 0.764 to 0.938)"
    crops = share([1.0, 1.0, 0.0, 0.0] * 10, [number // 2 for number in range(40)])
    assert "20 of 40 in 20 groups" in str(crops)
    assert "mean of 3 examples" in str(share([0.5, 1.0, 0.75]))


def test_crops_that_are_right_or_wrong_together_count_as_one() -> None:
    alike = share([1.0] * 40 + [0.0] * 40, [number // 4 for number in range(80)])
    assert (alike.low, alike.high) == pytest.approx(wilson(0.5, 19.0), abs=1e-9), "20 images, less one"
    assert share([1.0] * 8, [0, 0, 0, 0, 1, 1, 1, 1]).low == pytest.approx(wilson(1.0, 2.0)[0])


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    """60 photos of 1 to 6 crops whose chances differ by photo; the truth is the expected share."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        sizes = random.integers(1, 7, 60)
        photos = np.repeat(np.arange(60), sizes)
        chance = random.beta(4, 1, 60)
        right = (random.random(len(photos)) < chance[photos]).astype(float)
        found = share(right, photos.tolist())
        covered += found.low <= 0.8 <= found.high
    assert 0.925 <= covered / 600 <= 0.975
