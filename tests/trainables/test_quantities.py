"""Sizes as people read them."""

from __future__ import annotations

import pytest

from trainables.quantities import size_text


@pytest.mark.parametrize(
    ("num_bytes", "told"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1 kB"),
        (93_600_000, "93.6 MB"),
        (999_400_000, "999 MB"),
        (999_600_000, "1 GB"),
        (1_128_000_000, "1.13 GB"),
        (60_700_000_000, "60.7 GB"),
    ],
)
def test_a_size_has_three_digits_and_the_unit_that_suits_it(num_bytes: float, told: str) -> None:
    assert size_text(num_bytes) == told
